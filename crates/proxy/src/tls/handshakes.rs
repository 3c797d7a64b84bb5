//! The handshakes under way on one thread. There are never more than a named number: one beyond it ends the
//! oldest, which of all is the least likely to come to anything. So silent connections, however many are
//! opened, do not keep out clients that finish theirs in the usual few round trips.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

/// What a handshake is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A newer one needs its place.
    Leave,
    /// The thread ends: be quick.
    Hurry,
}

/// All of one thread.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    next: Cell<u64>,
    hurried: Cell<bool>,
    /// In order of their beginning.
    places: RefCell<BTreeMap<u64, Rc<Ear>>>,
}

#[derive(Debug, Default)]
struct Ear {
    told: Cell<Option<Told>>,
    called: Notify,
}

impl Ear {
    fn tell(&self, what: Told) {
        self.told.set(Some(what));
        self.called.notify_one();
    }
}

impl Handshakes {
    pub(super) fn new(most: usize) -> Rc<Self> {
        let most = most.max(1);
        Rc::new(Self { most, next: Cell::new(0), hurried: Cell::new(false), places: RefCell::default() })
    }

    /// Takes a place, if need be the oldest one's.
    pub(super) fn begin(self: &Rc<Self>) -> Place {
        let mut places = self.places.borrow_mut();
        if places.len() >= self.most
            && let Some((_, oldest)) = places.pop_first()
        {
            oldest.tell(Told::Leave);
        }
        let id = self.next.replace(self.next.get() + 1);
        let ear = Rc::new(Ear::default());
        if self.hurried.get() {
            ear.tell(Told::Hurry);
        }
        places.insert(id, Rc::clone(&ear));
        Place { all: Rc::clone(self), id, ear }
    }

    /// Tells those under way, and those to come, to be quick.
    pub(super) fn hurry(&self) {
        self.hurried.set(true);
        for ear in self.places.borrow().values() {
            ear.tell(Told::Hurry);
        }
    }
}

/// One handshake's place; free when dropped.
pub(super) struct Place {
    all: Rc<Handshakes>,
    id: u64,
    ear: Rc<Ear>,
}

impl Place {
    /// Waits to be told something.
    pub(super) async fn told(&self) -> Told {
        loop {
            if let Some(told) = self.ear.told.take() {
                return told;
            }
            self.ear.called.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.places.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn one_handshake_too_many_ends_the_oldest_and_no_other() {
        let all = Handshakes::new(2);
        let (first, second) = (all.begin(), all.begin());
        assert_eq!(first.told().now_or_never(), None);
        let third = all.begin();
        assert_eq!(first.told().now_or_never(), Some(Told::Leave));
        drop(first); // its place is gone already: the others keep theirs
        assert_eq!((second.told().now_or_never(), third.told().now_or_never()), (None, None));
        drop(third);
        let _fourth = all.begin();
        assert_eq!(second.told().now_or_never(), None);
    }

    #[test]
    fn at_the_end_of_the_thread_all_are_told_to_hurry_also_those_that_begin_late() {
        let all = Handshakes::new(8);
        let early = all.begin();
        all.hurry();
        let late = all.begin();
        for place in [early, late] {
            assert_eq!(place.told().now_or_never(), Some(Told::Hurry));
        }
    }
}
