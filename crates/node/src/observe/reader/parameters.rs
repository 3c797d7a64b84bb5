//! What a question says, in its address and in its form.

/// Names and values that are read; what is beyond that is passed over.
const MOST: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(address: &[u8], form: &[u8]) -> Self {
        let both = form_urlencoded::parse(form).chain(form_urlencoded::parse(address));
        Self(both.take(MOST).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first of this name, if it says anything.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}
