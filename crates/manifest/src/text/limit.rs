//! `limit`: rates as people write them, `20/s per client`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kit::units::{format_duration, parse_duration};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{Decode, Faults, record, shown};
use super::shape::{Form, Items, Switch};
use crate::tree::Node;

/// One limit or a list of them, each to be satisfied; `off`: none, whatever the gateway says.
pub(crate) type LimitText = Switch<Items<Form<LimitShort, LimitLong>>>;

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: u32,
    /// In this time.
    pub period: Duration,
}

/// Periods by their name, the one that is written first.
const PERIODS: [(&str, &[&str], u64); 4] = [
    ("s", &["sec", "second"], 1),
    ("m", &["min", "minute"], 60),
    ("h", &["hour"], 3_600),
    ("d", &["day"], 86_400),
];

impl FromStr for Rate {
    type Err = String;

    /// Reads `20/s`, `100/m`, `5000/h`, `1/10s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (count, period) = text.split_once('/').ok_or("a rate has a period: `20/s`, `100/m`, `5000/h`")?;
        let (count, period) = (count.trim(), period.trim());
        let count = count.parse().map_err(|_| format!("`{}` is not a whole number", shown(count)))?;
        let named = PERIODS.iter().find(|(short, names, _)| *short == period || names.contains(&period));
        let period = match named {
            Some((.., seconds)) => Duration::from_secs(*seconds),
            None => parse_duration(period)
                .map_err(|_| format!("`{}` is not a period: `s`, `m`, `h`, `d` or `10s`", shown(period)))?,
        };
        Ok(Self { count, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = PERIODS.iter().find(|(.., seconds)| Duration::from_secs(*seconds) == self.period);
        match named {
            Some((short, ..)) => write!(f, "{}/{short}", self.count),
            None => write!(f, "{}/{}", self.count, format_duration(self.period)),
        }
    }
}

impl Decode for Rate {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        read(node, faults)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["20/s", "100/m"] })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who shares one count. The name of a header is not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// Everybody.
    Route,
    /// The client's address.
    Client,
    /// Who the token says it is.
    User,
    /// The value of this header.
    Header(String),
}

impl FromStr for Per {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["route"] => Ok(Self::Route),
            ["client"] => Ok(Self::Client),
            ["user"] => Ok(Self::User),
            ["header", name] => Ok(Self::Header(name.to_owned())),
            _ => Err("a limit is per `client`, `route`, `user` or `header NAME`".to_owned()),
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => f.write_str("route"),
            Self::Client => f.write_str("client"),
            Self::User => f.write_str("user"),
            Self::Header(name) => write!(f, "header {name}"),
        }
    }
}

impl Decode for Per {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        read(node, faults)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["client", "route", "user", "header x-key"] })
    }
}

impl Serialize for Per {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `20/s`, `20/s per client`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitShort {
    /// The rate.
    pub rate: Rate,
    /// Who shares one count; `None`: what is usual there.
    pub per: Option<Per>,
}

impl FromStr for LimitShort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rate, per) = match text.split_once(" per ") {
            Some((rate, per)) => (rate, Some(per.parse()?)),
            None => (text, None),
        };
        Ok(Self { rate: rate.trim().parse()?, per })
    }
}

impl fmt::Display for LimitShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rate)?;
        match &self.per {
            Some(per) => write!(f, " per {per}"),
            None => Ok(()),
        }
    }
}

impl Decode for LimitShort {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        read(node, faults)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["20/s per client", "100/m per header x-key"] })
    }
}

impl Serialize for LimitShort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

record! {
    /// A limit in full.
    pub struct LimitLong: "a limit" requires ["rate"] {
        /// Requests in a time: `20/s`.
        rate: Rate,
        /// Requests that may come at once; left out: those of one second.
        burst: u32,
        /// Who shares one count: `client`, `route`, `user` or `header NAME`.
        per: Per,
    }
}

/// Reads one word; what is wrong with it becomes the hint.
fn read<T: FromStr<Err = String>>(node: &Node, faults: &mut Faults) -> Option<T> {
    let text = match node.as_scalar() {
        Some(scalar) if !node.is_null() => &scalar.text,
        _ => {
            faults.wrong_type(node, "a limit", "20/s per client");
            return None;
        }
    };
    match text.parse() {
        Ok(value) => Some(value),
        Err(hint) => {
            faults.bad_value(node.span, format!("`{}` is not a limit", shown(text)), hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_in_every_form() {
        let read = |text: &str| text.parse::<LimitShort>().map(|limit| limit.to_string());
        for (text, again) in [
            ("20/s", "20/s"),
            ("20 / second per client", "20/s per client"),
            ("100/min per header X-Key", "100/m per header X-Key"),
            ("1/10s per user", "1/10s per user"),
            ("5/60s per route", "5/m per route"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(again), "{text}");
        }
        for text in
            ["", "20", "20/", "/s", "-1/s", "20/fortnight", "20/s per", "20/s per header", "20/s client"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_limit_reads_back_equal(count: u32, millis in 1u64..10_000_000, key in 0usize..5) {
            let per = [None, Some(Per::Route), Some(Per::Client), Some(Per::User), Some(Per::Header("x-a".into()))];
            let limit = LimitShort {
                rate: Rate { count, period: Duration::from_millis(millis) },
                per: per[key].clone(),
            };
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }
}
