//! Policies that are set on queues and topics, as they were parsed: each is looked at in every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use identity::policy::{Policy, PolicyKind};

/// Policies that are kept. Beyond that all are parsed anew.
const KEPT: usize = 1024;

/// What came of a text: a policy, or why it is none.
pub(super) type Parsed = Result<Arc<Policy>, Arc<str>>;

/// By their text: one that changes is another one.
#[derive(Default)]
pub(super) struct Policies(RwLock<HashMap<Box<str>, Parsed>>);

impl Policies {
    /// The policy of a text.
    pub(super) fn parse(&self, text: &str) -> Parsed {
        if let Some(parsed) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return parsed.clone();
        }
        let parsed = Policy::parse(text, PolicyKind::Resource)
            .map(Arc::new)
            .map_err(|error| Arc::from(error.to_string()));
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(text.into(), parsed.clone());
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_parsed_once_and_they_are_bounded() {
        let policies = Policies::default();
        let text = |action: usize| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"sqs:Send{action}","Resource":"*"}}]}}"#
            )
        };
        let first = policies.parse(&text(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &policies.parse(&text(0)).unwrap()));
        assert_ne!(first, policies.parse(&text(1)).unwrap());
        assert!(policies.parse("{").is_err());
        for action in 0..2 * KEPT {
            policies.parse(&text(action)).unwrap();
        }
        assert!(policies.0.read().unwrap().len() <= KEPT);
    }
}
