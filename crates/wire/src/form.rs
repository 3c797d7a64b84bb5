//! Parameters of the query protocol: form-encoded, in the body or behind the `?`, with lists and maps flattened into names
//! with numbers (`Tag.1.Key`).

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Most parameters of one request.
pub(crate) const MOST_PARAMS: usize = 4096;

/// Parameters in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Text that is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadForm {
    #[error("a percent sign without two hexadecimal digits, or bytes that are not UTF-8")]
    Encoding,
    #[error("more than {MOST_PARAMS} parameters")]
    TooMany,
}

impl<'a> Params<'a> {
    /// Adds what stands in `form`.
    pub(crate) fn read(&mut self, form: &'a [u8]) -> Result<(), BadForm> {
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if self.0.len() == MOST_PARAMS {
                return Err(BadForm::TooMany);
            }
            let split = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(split + 1..).unwrap_or_default();
            self.0.push((decode(&pair[..split])?, decode(value)?));
        }
        Ok(())
    }

    /// The first value of that name.
    #[cfg(test)]
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// The first value of a name in a form, read no further than that.
pub(crate) fn first<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        decode(rest).ok()
    })
}

/// `+` is a space, `%41` an `A`.
fn decode(text: &[u8]) -> Result<Cow<'_, str>, BadForm> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| BadForm::Encoding);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    let hex =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).ok_or(BadForm::Encoding);
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hex(rest.next())?, hex(rest.next())?);
                (high << 4 | low) as u8
            }
            byte => *byte,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadForm::Encoding)
}

/// How a flattened name stands in the structured form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `X` → this member, text.
    Text,
    /// `X` → this member, an integer.
    Number,
    /// `X.1`, `X.2`, … → a list under this name.
    List(&'static str),
    /// `X.1.Name` with `X.1.Value` → an object under this name; the two are called as given.
    Map(&'static str, &'static str, &'static str),
}

/// Puts parameters back into the structure they were flattened from, so that one decoder reads both protocols.
/// `shape` knows the names. `None`: a parameter contradicts its shape (`X.Y` of a list, `Tag.1.Key.Z`).
pub(crate) fn unflatten(params: &Params<'_>, shape: &dyn Fn(&str) -> Shape) -> Option<Value> {
    let entries: Vec<Entry<'_>> =
        params.iter().map(|(name, value)| (name.split('.').collect(), value)).collect();
    if entries.iter().any(|(path, _)| path.len() > MOST_LEVELS) {
        return None;
    }
    object(entries, shape)
}

/// Deepest name: `SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringListValue.1`, and a little more.
const MOST_LEVELS: usize = 10;

/// What is left of a name, and its value.
type Entry<'a> = (Vec<&'a str>, &'a str);

fn object(mut entries: Vec<Entry<'_>>, shape: &dyn Fn(&str) -> Shape) -> Option<Value> {
    if entries.iter().any(|(path, _)| path.is_empty()) {
        return None; // a name that has a value and members
    }
    entries.sort_by(|(a, _), (b, _)| a[0].cmp(b[0])); // stable: of two equal names the first one stays first
    let mut members = Map::new();
    for group in group(&entries) {
        let (path, text) = &group[0];
        let (member, value) = match shape(path[0]) {
            Shape::Text | Shape::Number if path.len() > 1 => (path[0], object(below(group), shape)?),
            Shape::Text => (path[0], Value::from(*text)),
            // What is no number stays text, and the decoder says what it expected.
            Shape::Number => (path[0], text.parse::<i64>().map_or_else(|_| Value::from(*text), Value::from)),
            Shape::List(member) => (member, Value::Array(numbered(group, shape)?)),
            Shape::Map(member, key, value) => {
                let mut map = Map::new();
                for pair in numbered(group, shape)? {
                    let Value::Object(mut pair) = pair else { return None };
                    let Some(Value::String(key)) = pair.remove(key) else { return None };
                    map.insert(key, pair.remove(value)?);
                }
                (member, Value::Object(map))
            }
        };
        members.insert(member.to_owned(), value);
    }
    Some(Value::Object(members))
}

/// The elements of `X.1…`, `X.2…` in the order of their numbers.
fn numbered(group: &[Entry<'_>], shape: &dyn Fn(&str) -> Shape) -> Option<Vec<Value>> {
    let number = |path: &[&str]| path.first().and_then(|text| text.parse::<u32>().ok());
    let mut elements = below(group);
    if elements.iter().any(|(path, _)| number(path).is_none()) {
        return None;
    }
    elements.sort_by_key(|(path, _)| number(path));
    let mut values = Vec::new();
    for element in self::group(&elements) {
        let inner = below(element);
        values.push(match inner.iter().all(|(path, _)| path.is_empty()) {
            true => Value::from(element[0].1),
            false => object(inner, shape)?,
        });
    }
    Some(values)
}

/// Runs of entries that begin alike.
fn group<'e, 'a>(entries: &'e [Entry<'a>]) -> impl Iterator<Item = &'e [Entry<'a>]> {
    entries.chunk_by(|(a, _), (b, _)| a.first() == b.first())
}

/// The same entries, one level down.
fn below<'a>(entries: &[Entry<'a>]) -> Vec<Entry<'a>> {
    entries.iter().map(|(path, value)| (path[1..].to_vec(), *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(name: &str) -> Shape {
        match name {
            "DelaySeconds" => Shape::Number,
            "Entry" => Shape::List("Entries"),
            "Tag" => Shape::Map("Tags", "Key", "Value"),
            "MessageAttribute" => Shape::Map("MessageAttributes", "Name", "Value"),
            _ => Shape::Text,
        }
    }

    fn structured(form: &str) -> Option<String> {
        let mut params = Params::default();
        params.read(form.as_bytes()).ok()?;
        unflatten(&params, &shape).map(|value| value.to_string())
    }

    #[test]
    fn forms_are_decoded() {
        let mut params = Params::default();
        params.read(b"Action=SendMessage&MessageBody=a+b%26c%C3%A4&Empty=&Bare&&x=1").unwrap();
        assert_eq!(params.get("MessageBody"), Some("a b&cä"));
        assert_eq!((params.get("Empty"), params.get("Bare"), params.get("None")), (Some(""), Some(""), None));
        assert_eq!(first(b"a=1&Action=Get+Queue&Action=b", "Action").as_deref(), Some("Get Queue"));
        for wrong in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"\xff=1"] {
            assert_eq!(Params::default().read(wrong), Err(BadForm::Encoding));
        }
    }

    #[test]
    fn flattened_names_become_structure() {
        let form = "QueueUrl=u&DelaySeconds=5&Tag.2.Key=b&Tag.2.Value=2&Tag.1.Key=a&Tag.1.Value=1\
                    &Entry.10.Id=ten&Entry.2.Id=two&Entry.2.DelaySeconds=x\
                    &Entry.2.MessageAttribute.1.Name=n&Entry.2.MessageAttribute.1.Value.DataType=String";
        assert_eq!(
            structured(form).unwrap(),
            r#"{"DelaySeconds":5,"Entries":[{"DelaySeconds":"x","Id":"two","MessageAttributes":{"n":{"DataType":"String"}}},{"Id":"ten"}],"QueueUrl":"u","Tags":{"a":"1","b":"2"}}"#
        );
        for wrong in ["Tag.1.Key=a", "Tag.x.Key=a", "Entry=1", "Tag.1=a", "Entry.1=a&Entry.1.Id=b"] {
            assert_eq!(structured(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_form_panics(form in "[A-Za-z.0-9=&%+]{0,120}") {
            let _ = structured(&form);
        }

        #[test]
        fn no_flattened_name_panics(names in prop::collection::vec("(Tag|Entry|MessageAttribute|X)(\\.(1|2|Key|Value|Name|Tag|)){0,6}", 0..12)) {
            let form: Vec<_> = names.iter().map(|name| format!("{name}=1")).collect();
            let _ = structured(&form.join("&"));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut params = Params::default();
            if params.read(&bytes).is_ok() {
                let _ = unflatten(&params, &shape);
            }
        }
    }
}
