//! Answers of the query protocol, as SNS writes them: lists are `<member>`s, maps are `<entry>`s.

use crate::encode::{Protocol, escape};

/// Writes elements, one after the other.
#[derive(Debug, Default)]
pub(super) struct Xml(Vec<u8>);

impl Xml {
    pub(super) fn open(&mut self, name: &str) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
    }

    pub(super) fn close(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    /// What is XML already.
    pub(super) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// An element with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        escape(Protocol::Query, text, &mut self.0);
        self.close(name);
    }

    /// An element that encloses others.
    pub(super) fn within(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.open(name);
        write(self);
        self.close(name);
    }

    /// A list; `each` writes what is in one member.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.within(name, |xml| {
            for value in values {
                xml.within("member", |xml| each(xml, value));
            }
        });
    }

    /// A map of texts.
    pub(super) fn map<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) {
        self.within(name, |xml| {
            for (key, value) in entries {
                xml.within("entry", |xml| {
                    xml.text("key", key.as_ref());
                    xml.text("value", value.as_ref());
                });
            }
        });
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
