//! From a plan to a running program: the warden of an instance, and the calls between fork and exec.
//!
//! A *warden* is a fork of the keeper that watches exactly one instance. It is a child subreaper: whatever
//! the instance forks and abandons becomes its child, and it ends only when none of them lives. It also ends
//! everything when the keeper goes away, which it sees on the socket they share.
//!
//! Read in this order: [`plan`] (all that is prepared before the fork), [`warden`], [`child`] (up to exec),
//! [`tree`] (ending all descendants). `unsafe` is in [`sys`] alone.

pub(crate) mod child;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod sys;
pub(crate) mod tree;
pub(crate) mod warden;
