//! Memory with a bound: the most recent entries, by key. Stands where a database will stand.

use std::collections::{HashMap, VecDeque};

/// The most entries that one answer lists.
const MAX_LISTED: usize = 1000;

/// How many of the latest entries are asked for: `?limit=5`.
#[derive(Debug, serde::Deserialize)]
pub struct Latest {
    #[serde(default = "usual")]
    limit: usize,
}

fn usual() -> usize {
    20
}

impl Latest {
    /// So many, within bounds.
    pub fn count(&self) -> usize {
        self.limit.min(MAX_LISTED)
    }
}

/// Keeps the latest `limit` entries; the oldest makes room for the newest.
#[derive(Debug)]
pub struct Recent<V> {
    limit: usize,
    order: VecDeque<String>,
    entries: HashMap<String, V>,
}

impl<V> Recent<V> {
    /// Holds at most `limit` entries; at least one.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), order: VecDeque::new(), entries: HashMap::new() }
    }

    /// The entry under `key`.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    /// Puts an entry. A key that is there already keeps its place in time and gets the new value.
    pub fn put(&mut self, key: &str, value: V) {
        if self.entries.insert(key.to_owned(), value).is_some() {
            return;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, key: &str) {
        if self.entries.remove(key).is_some() {
            self.order.retain(|kept| kept != key);
        }
    }

    /// The entries, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &V> {
        self.order.iter().rev().filter_map(|key| self.entries.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room_for_the_newest() {
        let mut recent = Recent::new(2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            recent.put(key, value);
        }
        assert_eq!(recent.newest().copied().collect::<Vec<_>>(), [4, 2]);
        assert_eq!(recent.get("a"), None);
        recent.remove("c");
        recent.put("d", 5);
        assert_eq!(recent.newest().copied().collect::<Vec<_>>(), [5, 2]);
    }
}
