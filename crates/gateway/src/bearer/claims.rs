//! The two JSON objects of a token (RFC 7515 §4, RFC 7519 §4), read strictly: no member twice, known members of
//! their type, and of the header nothing that could bring a key along.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What of a header is looked at. `jwk`, `jku`, `x5c` and the like are not: keys come from the file alone.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Header {
    /// The algorithm that the token says it is signed with. Compared with the key's, never followed.
    pub(crate) alg: Option<String>,
    /// Which key.
    pub(crate) kid: Option<String>,
    /// What kind of token it says it is.
    pub(crate) typ: Option<String>,
    /// It has extensions that must be understood; none is.
    pub(crate) crit: bool,
}

/// What of the claims is looked at. Times are seconds since the Unix epoch.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Claims {
    pub(crate) exp: Option<f64>,
    pub(crate) nbf: Option<f64>,
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) aud: Vec<String>,
}

/// A JSON object that is read member by member.
pub(crate) trait Members: Default {
    /// Takes the value of one member from `map`.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads one object and nothing after it. `None` for everything else, also for a member that occurs twice:
/// readers differ in which of the two they believe.
pub(crate) fn read<T: Members>(json: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    serde_json::from_str::<Strict<T>>(text).ok().map(|strict| strict.0)
}

impl Members for Header {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "alg" => self.alg = Some(map.next_value()?),
            "kid" => self.kid = Some(map.next_value()?),
            "typ" => self.typ = Some(map.next_value()?),
            "crit" => {
                map.next_value::<IgnoredAny>()?;
                self.crit = true;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Members for Claims {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "exp" => self.exp = Some(map.next_value()?),
            "nbf" => self.nbf = Some(map.next_value()?),
            "iat" => drop(map.next_value::<f64>()?), // nothing depends on it, but it is a time
            "iss" => self.iss = Some(map.next_value()?),
            "sub" => self.sub = Some(map.next_value()?),
            "aud" => {
                self.aud = match map.next_value()? {
                    OneOrMany::One(one) => vec![one],
                    OneOrMany::Many(many) => many,
                }
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

#[derive(Deserialize)]
#[serde(untagged, bound = "T: DeserializeOwned")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// An object none of whose own members occurs twice.
struct Strict<T>(T);

impl<'de, T: Members> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader(PhantomData)).map(Self)
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Members> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            object.member(&name, &mut map)?;
            if !seen.insert(name) {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Option<Claims> {
        read(json.as_bytes())
    }

    #[test]
    fn an_audience_is_one_name_or_several() {
        assert_eq!(claims(r#"{"aud":"a"}"#).unwrap().aud, ["a"]);
        assert_eq!(claims(r#"{"aud":["a","b"]}"#).unwrap().aud, ["a", "b"]);
        assert_eq!(claims(r#"{"aud":{"a":1}}"#), None);
        assert_eq!(claims(r#"{"aud":["a",1]}"#), None);
    }

    #[test]
    fn no_member_occurs_twice_known_or_not() {
        for json in [r#"{"exp":1,"exp":2}"#, r#"{"x":1,"x":1}"#, r#"{"exp":1,"\u0065xp":2}"#] {
            assert_eq!(claims(json), None, "{json}");
        }
        assert!(claims(r#"{"x":{"y":1},"y":{"x":1}}"#).is_some());
    }

    #[test]
    fn a_time_is_a_number_and_may_have_a_fraction() {
        assert_eq!(claims(r#"{"exp":1.5}"#).unwrap().exp, Some(1.5));
        assert_eq!(claims(r#"{"exp":1e3}"#).unwrap().exp, Some(1000.0));
        for json in
            [r#"{"exp":"1"}"#, r#"{"exp":null}"#, r#"{"exp":1e999}"#, r#"{"exp":NaN}"#, r#"{"iat":"1"}"#]
        {
            assert_eq!(claims(json), None, "{json}");
        }
    }

    #[test]
    fn nothing_but_one_object_is_read() {
        for json in ["", "[]", "null", "\"a\"", "{} {}", "{}x", "\u{feff}{}", "{\"a\":1,}", "{'a':1}", "{"] {
            assert_eq!(claims(json), None, "{json:?}");
        }
        assert_eq!(read::<Claims>(b"{\"x\":\"\xff\"}"), None);
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        let _ = claims(&deep); // it ends
    }

    #[test]
    fn a_header_brings_no_key_along() {
        let header: Header = read(br#"{"alg":"HS256","jwk":{"kty":"oct"},"jku":"x","kid":"k"}"#).unwrap();
        assert_eq!(header, Header { alg: Some("HS256".into()), kid: Some("k".into()), ..Header::default() });
        assert!(read::<Header>(br#"{"alg":"HS256","crit":[]}"#).unwrap().crit);
        assert_eq!(read::<Header>(br#"{"alg":["HS256"]}"#), None);
    }
}
