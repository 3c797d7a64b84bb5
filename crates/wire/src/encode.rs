//! One description of an answer for both protocols: an action says its members once, and this writes them as JSON or as XML.

/// Which protocol a request speaks, and its answer with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JSON 1.0: the action in `X-Amz-Target`, input and output as objects.
    Json,
    /// The query protocol: form-encoded parameters in, XML out.
    Query,
}

/// Writes the members of an answer, one after the other.
pub(crate) struct Encoder {
    protocol: Protocol,
    buf: Vec<u8>,
    /// Whether the object that is open has a member already.
    some: bool,
}

/// What a list or a map is called: in JSON as a whole, in XML each element of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) json: &'static str,
    pub(crate) xml: &'static str,
}

impl Encoder {
    /// An encoder that goes on behind `begin`, which opens whatever encloses the members.
    pub(crate) fn continued(protocol: Protocol, begin: Vec<u8>) -> Self {
        Self { protocol, buf: begin, some: false }
    }

    /// What was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    fn key(&mut self, name: &str) {
        if std::mem::replace(&mut self.some, true) {
            self.buf.push(b',');
        }
        self.buf.push(b'"');
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.extend_from_slice(b"\":");
    }

    fn tag(&mut self, name: &str) {
        self.buf.push(b'<');
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.push(b'>');
    }

    fn end(&mut self, name: &str) {
        self.buf.extend_from_slice(b"</");
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.push(b'>');
    }

    /// A member that is written the same in both protocols, but for quotes.
    fn plain(&mut self, name: &str, quoted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        match self.protocol {
            Protocol::Json => {
                self.key(name);
                if quoted {
                    self.buf.push(b'"');
                }
                write(&mut self.buf);
                if quoted {
                    self.buf.push(b'"');
                }
            }
            Protocol::Query => {
                self.tag(name);
                write(&mut self.buf);
                self.end(name);
            }
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        let protocol = self.protocol;
        self.plain(name, true, |buf| escape(protocol, value, buf));
    }

    /// A text that needs no escapes: digits, hexadecimal digits, base64.
    pub(crate) fn ascii(&mut self, name: &str, value: &[u8]) {
        self.plain(name, true, |buf| buf.extend_from_slice(value));
    }

    /// Bytes, as base64.
    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) {
        self.plain(name, true, |buf| crate::base64::encode(value, buf));
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.plain(name, false, |buf| digits(value, buf));
    }

    /// Yes or no.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.plain(name, false, |buf| buf.extend_from_slice(if value { b"true" } else { b"false" }));
    }

    /// A list of texts.
    pub(crate) fn texts<'t>(&mut self, named: Named, values: impl IntoIterator<Item = &'t str>) {
        match self.protocol {
            Protocol::Json => {
                self.key(named.json);
                self.buf.push(b'[');
                for (index, value) in values.into_iter().enumerate() {
                    self.buf.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
                    escape(Protocol::Json, value, &mut self.buf);
                    self.buf.push(b'"');
                }
                self.buf.push(b']');
            }
            Protocol::Query => values.into_iter().for_each(|value| self.text(named.xml, value)),
        }
    }

    /// A list of objects; `each` writes the members of one.
    pub(crate) fn objects<T>(
        &mut self,
        named: Named,
        values: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        match self.protocol {
            Protocol::Json => {
                self.key(named.json);
                self.buf.push(b'[');
                for (index, value) in values.into_iter().enumerate() {
                    self.buf.extend_from_slice(if index > 0 { b",{" } else { b"{" });
                    self.some = false;
                    each(self, value);
                    self.buf.push(b'}');
                }
                self.buf.push(b']');
                self.some = true;
            }
            Protocol::Query => {
                for value in values {
                    self.tag(named.xml);
                    each(self, value);
                    self.end(named.xml);
                }
            }
        }
    }

    /// A map of texts. In XML each entry is an element with two members, called so.
    pub(crate) fn map<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        named: Named,
        (key_name, value_name): (&'static str, &'static str),
        entries: impl IntoIterator<Item = (K, V)>,
    ) {
        match self.protocol {
            Protocol::Json => {
                self.key(named.json);
                self.buf.push(b'{');
                self.some = false;
                for (key, value) in entries {
                    self.text_under(key.as_ref(), value.as_ref());
                }
                self.buf.push(b'}');
                self.some = true;
            }
            Protocol::Query => {
                for (key, value) in entries {
                    self.tag(named.xml);
                    self.text(key_name, key.as_ref());
                    self.text(value_name, value.as_ref());
                    self.end(named.xml);
                }
            }
        }
    }

    /// A map of objects: `each` writes the members of one.
    pub(crate) fn map_of_objects<'t, T>(
        &mut self,
        named: Named,
        (key_name, value_name): (&'static str, &'static str),
        entries: impl IntoIterator<Item = (&'t str, T)>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        match self.protocol {
            Protocol::Json => {
                self.key(named.json);
                self.buf.push(b'{');
                for (index, (key, value)) in entries.into_iter().enumerate() {
                    self.buf.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
                    escape(Protocol::Json, key, &mut self.buf);
                    self.buf.extend_from_slice(b"\":{");
                    self.some = false;
                    each(self, value);
                    self.buf.push(b'}');
                }
                self.buf.push(b'}');
                self.some = true;
            }
            Protocol::Query => {
                for (key, value) in entries {
                    self.tag(named.xml);
                    self.text(key_name, key);
                    self.tag(value_name);
                    each(self, value);
                    self.end(value_name);
                    self.end(named.xml);
                }
            }
        }
    }

    /// A JSON member whose name is a user's text.
    fn text_under(&mut self, key: &str, value: &str) {
        if std::mem::replace(&mut self.some, true) {
            self.buf.push(b',');
        }
        self.buf.push(b'"');
        escape(Protocol::Json, key, &mut self.buf);
        self.buf.extend_from_slice(b"\":\"");
        escape(Protocol::Json, value, &mut self.buf);
        self.buf.push(b'"');
    }
}

/// Appends a number in decimal digits.
pub(crate) fn digits(mut value: u64, to: &mut Vec<u8>) {
    let mut text = [0u8; 20];
    let mut begin = text.len();
    loop {
        begin -= 1;
        text[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    to.extend_from_slice(&text[begin..]);
}

/// Appends `text` as the protocol wants it within quotes, or between tags.
pub(crate) fn escape(protocol: Protocol, text: &str, to: &mut Vec<u8>) {
    match protocol {
        Protocol::Json => escape_json(text, to),
        Protocol::Query => escape_xml(text, to),
    }
}

fn escape_json(text: &str, to: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // Without a branch for each byte, which is a few bytes at once; most texts end here.
    if !bytes.iter().fold(false, |odd, byte| odd | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')) {
        return to.extend_from_slice(bytes);
    }
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        to.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                to.extend_from_slice(b"\\u00");
                to.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    to.extend_from_slice(&bytes[written..]);
}

/// What XML 1.0 cannot carry at all becomes U+FFFD; a carriage return is a reference, for parsers would make a newline of it.
fn escape_xml(text: &str, to: &mut Vec<u8>) {
    let mut utf8 = [0u8; 4];
    for character in text.chars() {
        let piece: &[u8] = match character {
            '<' => b"&lt;",
            '>' => b"&gt;",
            '&' => b"&amp;",
            '"' => b"&quot;",
            '\r' => b"&#13;",
            '\t' | '\n' => character.encode_utf8(&mut utf8).as_bytes(),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}".as_bytes(),
            character => character.encode_utf8(&mut utf8).as_bytes(),
        };
        to.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(write: impl Fn(&mut Encoder)) -> [String; 2] {
        [Protocol::Json, Protocol::Query].map(|protocol| {
            let mut encoder = Encoder::continued(protocol, Vec::new());
            write(&mut encoder);
            String::from_utf8(encoder.into_bytes()).unwrap()
        })
    }

    #[test]
    fn one_description_becomes_json_and_xml() {
        let [json, xml] = both(|out| {
            out.text("Id", "a<\"b");
            out.number("Count", 120);
            out.boolean("Fault", true);
            out.bytes("Raw", b"foo");
            out.texts(Named { json: "QueueUrls", xml: "QueueUrl" }, ["x", "y"]);
            out.map(Named { json: "Tags", xml: "Tag" }, ("Key", "Value"), [("k", "v"), ("l", "")]);
            out.objects(Named { json: "Messages", xml: "Message" }, [1, 2], |out, number| {
                out.number("N", number);
            });
            let entries = [("n", "String")];
            out.map_of_objects(Named { json: "As", xml: "A" }, ("Name", "Value"), entries, |out, kind| {
                out.text("DataType", kind);
            });
        });
        assert_eq!(
            json,
            r#""Id":"a<\"b","Count":120,"Fault":true,"Raw":"Zm9v","QueueUrls":["x","y"],"Tags":{"k":"v","l":""},"Messages":[{"N":1},{"N":2}],"As":{"n":{"DataType":"String"}}"#
        );
        assert_eq!(
            xml,
            "<Id>a&lt;&quot;b</Id><Count>120</Count><Fault>true</Fault><Raw>Zm9v</Raw>\
             <QueueUrl>x</QueueUrl><QueueUrl>y</QueueUrl>\
             <Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value></Value></Tag>\
             <Message><N>1</N></Message><Message><N>2</N></Message>\
             <A><Name>n</Name><Value><DataType>String</DataType></Value></A>"
        );
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_replaced() {
        let [_, xml] = both(|out| out.text("A", "\r\n\t\u{1}\u{fffe}ä😀"));
        assert_eq!(xml, "<A>&#13;\n\t\u{fffd}\u{fffd}ä😀</A>");
    }

    proptest! {
        #[test]
        fn any_text_survives_json(text: String, number: u64) {
            let [json, _] = both(|out| {
                out.text("t", &text);
                out.number("n", number);
            });
            let read: serde_json::Value = serde_json::from_str(&format!("{{{json}}}")).unwrap();
            prop_assert_eq!(read["t"].as_str(), Some(&*text));
            prop_assert_eq!(read["n"].as_u64(), Some(number));
        }
    }
}
