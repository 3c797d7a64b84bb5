//! What an address means: a page, and what it is asked. Every filter stands in the address, so that it can be
//! kept and sent to somebody.

use std::collections::BTreeMap;

use axum::extract::Query as AxumQuery;
use axum::http::Uri;

use crate::words::encode;

/// Characters of a filter at most.
const MOST: usize = 512;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Services,
    Service(String),
    Routes,
    Requests,
    Traces,
    Trace(String),
    Logs,
    Metrics,
    Queues,
    Queue(String),
    Topic(String),
    Errors,
    Error(String),
    Objectives,
    Events,
    Settings,
}

/// The pages that the navigation names, with the key that leads there after `g`.
pub(crate) const SECTIONS: [(Place, &str, char); 12] = [
    (Place::Overview, "Overview", 'o'),
    (Place::Services, "Services", 's'),
    (Place::Routes, "Routes", 'r'),
    (Place::Requests, "Requests", 'a'),
    (Place::Traces, "Traces", 't'),
    (Place::Logs, "Logs", 'l'),
    (Place::Metrics, "Metrics", 'm'),
    (Place::Queues, "Queues", 'q'),
    (Place::Errors, "Errors", 'e'),
    (Place::Objectives, "Objectives", 'b'),
    (Place::Events, "Events", 'v'),
    (Place::Settings, "Settings", 'c'),
];

impl Place {
    /// Reads a path.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        Some(match (first, second.map(str::to_owned)) {
            ("", None) => Self::Overview,
            ("services", None) => Self::Services,
            ("services", Some(name)) => Self::Service(name),
            ("routes", None) => Self::Routes,
            ("requests", None) => Self::Requests,
            ("traces", None) => Self::Traces,
            ("traces", Some(id)) => Self::Trace(id),
            ("logs", None) => Self::Logs,
            ("metrics", None) => Self::Metrics,
            ("queues", None) => Self::Queues,
            ("queues", Some(name)) => Self::Queue(name),
            ("topics", Some(name)) => Self::Topic(name),
            ("errors", None) => Self::Errors,
            ("errors", Some(id)) => Self::Error(id),
            ("objectives", None) => Self::Objectives,
            ("events", None) => Self::Events,
            ("settings", None) => Self::Settings,
            _ => return None,
        })
    }

    /// Its path.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Overview => "/".to_owned(),
            Self::Services => "/services".to_owned(),
            Self::Service(name) => format!("/services/{}", encode(name)),
            Self::Routes => "/routes".to_owned(),
            Self::Requests => "/requests".to_owned(),
            Self::Traces => "/traces".to_owned(),
            Self::Trace(id) => format!("/traces/{}", encode(id)),
            Self::Logs => "/logs".to_owned(),
            Self::Metrics => "/metrics".to_owned(),
            Self::Queues => "/queues".to_owned(),
            Self::Queue(name) => format!("/queues/{}", encode(name)),
            Self::Topic(name) => format!("/topics/{}", encode(name)),
            Self::Errors => "/errors".to_owned(),
            Self::Error(id) => format!("/errors/{}", encode(id)),
            Self::Objectives => "/objectives".to_owned(),
            Self::Events => "/events".to_owned(),
            Self::Settings => "/settings".to_owned(),
        }
    }

    /// The section of the navigation it belongs to.
    pub(crate) fn section(&self) -> Self {
        match self {
            Self::Service(_) => Self::Services,
            Self::Trace(_) => Self::Traces,
            Self::Queue(_) | Self::Topic(_) => Self::Queues,
            Self::Error(_) => Self::Errors,
            other => other.clone(),
        }
    }
}

/// What a page is asked: the part of an address behind `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads it. Fields that are too long are cut, and empty ones are as good as none.
    pub(crate) fn parse(uri: &Uri) -> Self {
        let pairs = AxumQuery::<Vec<(String, String)>>::try_from_uri(uri).map(|AxumQuery(pairs)| pairs);
        let pairs = pairs.unwrap_or_default().into_iter();
        let pairs = pairs.map(|(key, value)| (key, value.trim().chars().take(MOST).collect::<String>()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).take(32).collect())
    }

    /// A field that says something.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A field, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// The address of a page with one field changed; with nothing: without it.
    pub(crate) fn link(&self, path: &str, key: &str, value: &str) -> String {
        let mut fields = self.0.clone();
        fields.insert(key.to_owned(), value.to_owned());
        write(path, &fields)
    }

    /// The address of a page asked this.
    pub(crate) fn at(&self, path: &str) -> String {
        write(path, &self.0)
    }
}

fn write(path: &str, fields: &BTreeMap<String, String>) -> String {
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<String> =
        fields.map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    if fields.is_empty() { path.to_owned() } else { format!("{path}?{}", fields.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_at_its_own_path() {
        let sections = SECTIONS.into_iter().map(|(place, ..)| place);
        let named = [Place::Service, Place::Trace, Place::Queue, Place::Topic, Place::Error]
            .map(|of| of("a-1".to_owned()));
        for place in sections.chain(named) {
            assert_eq!(Place::parse(&place.path()), Some(place.clone()));
        }
        assert_eq!(Place::parse("/nothing"), None);
        assert_eq!(Place::parse("/services/a/b"), None);
    }

    #[test]
    fn a_filter_survives_the_way_through_an_address() {
        let query = Query::parse(&"/logs?q=a%20%26%20%3Cb%3E&service=&level=warn".parse().unwrap());
        assert_eq!(query.text("q"), "a & <b>");
        assert_eq!(query.get("service"), None);
        let link = query.link("/logs", "level", "");
        assert_eq!(link, "/logs?q=a%20%26%20%3Cb%3E");
        assert_eq!(Query::parse(&link.parse().unwrap()).text("q"), "a & <b>");
    }
}
