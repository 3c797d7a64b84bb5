//! What the data path tells of itself, at a cost that a request does not notice.
//!
//! - [`route`]: counts and latencies per route, on each thread's own cache lines;
//! - [`hop`]: one exchange after its end, as it is shown to whoever wants to see it;
//! - [`channel`]: how hops get from the threads of the data path to one reader;
//! - `timing`: `Server-Timing`.
//!
//! # The channel of spans
//!
//! Every exchange is one span of its trace, and this is the way on which spans leave the data path. What a
//! tracing backend wants is in a [`Hop`]:
//!
//! | span | hop |
//! |---|---|
//! | trace id, span id, parent span id, flags | `trace.id`, `trace.span`, `trace.parent`, `trace.flags` |
//! | start, duration | `began` (microseconds), `took` (nanoseconds) |
//! | kind | server: [`Hop::caller`] is `None` at the gateway, names the caller in the mesh |
//! | name | [`Hop::route_name`], else the method |
//! | service, instance | [`Hop::service`], [`Hop::instance`] |
//! | status, error | `status`, `error` (its code and its type of RFC 9209) |
//! | attempts, hedges, fallback | the fields of these names |
//! | time spent on the service | `waited`; `took` less this is the platform's own and the client's |
//!
//! The reader is one: it hands hops on to whoever else wants them (the access log is the first). Hops are
//! borrowed while they are read, so nobody pays for what is not kept. What comes faster than it is read is
//! dropped and counted ([`channel::Dropped`]): the data path never waits.
//!
//! `cargo run --release -p proxy --example signals` prints what all this costs.

pub mod channel;
pub mod hop;
pub mod route;
pub(crate) mod timing;

pub use channel::{HopReader, Hops};
pub use hop::{Hop, Lane};
pub use route::{Book, Label, Local, RouteSignals, RouteStats};

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Texts of exchanges that have ended, kept by one thread for those to come.
const TEXTS: usize = 256;
/// A longer text is not kept, in bytes.
const TEXT_MAX: usize = 4096;

/// Where one thread counts and tells. For its own tasks only.
pub(crate) struct Desk {
    pub(crate) lane: Box<dyn Lane>,
    locals: RefCell<Vec<Option<Rc<Local>>>>,
    texts: RefCell<Vec<String>>,
}

impl Desk {
    pub(crate) fn new(lane: Box<dyn Lane>) -> Self {
        Self { lane, locals: RefCell::default(), texts: RefCell::default() }
    }

    /// This thread's counters of a route, made at its first request.
    #[inline]
    pub(crate) fn local(&self, route: &Arc<RouteSignals>) -> Rc<Local> {
        match self.locals.borrow().get(route.seat()) {
            Some(Some(local)) if local.is_of(route) => return Rc::clone(local),
            _ => {}
        }
        self.sit_down(route)
    }

    #[cold]
    fn sit_down(&self, route: &Arc<RouteSignals>) -> Rc<Local> {
        let local = Rc::new(Local::new(route));
        let mut locals = self.locals.borrow_mut();
        if locals.len() <= route.seat() {
            locals.resize(route.seat() + 1, None);
        }
        let before = locals.get_mut(route.seat()).and_then(|seat| seat.replace(Rc::clone(&local)));
        drop(locals);
        drop(before); // a route that is gone: what was counted goes to where it belongs
        local
    }

    /// An empty text.
    pub(crate) fn text(&self) -> String {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a text back.
    pub(crate) fn give_back(&self, mut text: String) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < TEXTS && (1..=TEXT_MAX).contains(&text.capacity()) {
            text.clear();
            texts.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessSink, Discard};

    fn label(route: &str) -> Label {
        Label { route: route.to_owned(), service: None, caller: None }
    }

    #[test]
    fn a_thread_finds_its_counters_again_and_makes_new_ones_where_another_route_has_the_seat() {
        let book = Book::default();
        let desk = Desk::new(Discard.lane());
        let (first, second) = (book.of(label("a")), book.of(label("b")));
        let local = desk.local(&first);
        assert!(Rc::ptr_eq(&local, &desk.local(&first)));
        assert!(!Rc::ptr_eq(&local, &desk.local(&second)));
        book.keep(|label| label.route == "b");
        let third = book.of(label("c"));
        assert_eq!(third.seat(), first.seat());
        assert!(desk.local(&third).is_of(&third));
        assert!(local.is_of(&first), "a request under way keeps its own");
        assert!(desk.local(&second).is_of(&second));
    }

    #[test]
    fn memory_of_texts_is_used_again_up_to_a_bound() {
        let desk = Desk::new(Discard.lane());
        let mut text = desk.text();
        text.push_str("/books");
        let at = text.as_ptr();
        desk.give_back(text);
        let again = desk.text();
        assert!(again.is_empty() && again.as_ptr() == at);
        desk.give_back("x".repeat(TEXT_MAX + 1));
        assert_eq!(desk.text().capacity(), 0);
    }
}
