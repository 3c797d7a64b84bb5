//! The policies, as machines without a clock: each is told the time and, where it draws, a random number, and
//! says what to do. None knows HTTP, sockets or routes; the one that waits ([`bulkhead`]) is woken by whoever
//! leaves, not by a timer.
//!
//! Read in this order: [`book`] (where the machines of a route live), then in the order in which a request meets
//! them: [`rate`], [`breaker`], [`adaptive`] (which learns by [`gradient`]), [`bulkhead`], [`choose`] (with
//! [`eligible`] and [`hash`]; what an endpoint remembers is in `registry::endpoint`), [`budget`] and [`backoff`] for
//! another try, [`histogram`]. [`draw`] is chance, [`window`] the last seconds.
//!
//! # How a request uses them
//!
//! One reading of the clock, `let now = Moment::of(started)`, serves all decisions before the call; one more,
//! when the answer's head is there, all that is recorded. In order, each optional where it is an `Option`:
//!
//! ```text
//! for (rate, scope) in &guards.rates
//!     rates.check(rates.key(*scope, who), rate, now)?           429, Retry-After
//! draw::split(…, dice.roll())                                   which service
//! let pass = breaker.admit(now)?                                503, Retry-After
//! adaptive.admit(under_way, priority)?                          503, Retry-After
//! let permit = bulkhead.acquire(deadline, priority, now).await? 503, Retry-After; bounded by the request's timer
//! budget.deposit(now)
//! loop                                                          tries
//!     let lease = chooser.lease(&ready, known, &Wish { … })
//!     endpoint.succeeded(took, now) or endpoint.failed(took, outlier, now)
//!     if it failed, may be repeated, and budget.withdraw(now)
//!         sleep(backoff::pause(&retry, nth, retry_after, left, dice.roll())?)
//! breaker.record(pass, failed, took, now)                       once per request, of its last try
//! adaptive.observe(took, under_way, dropped, now)
//! recorder.record(took)                                         or record_example
//! bulkhead.observe(held); drop(permit)                          with the last byte
//! ```
//!
//! A request that is given up drops what it holds: permit and lease give their places back, a pass that was a
//! probe gives its place to another, and nothing is recorded of it.
//!
//! # What threads share
//!
//! Breaker, budget, bulkhead, adaptive limit, rate table, chooser and endpoints are one each for all threads: relaxed
//! atomics on cache lines of their own, at most one read-modify-write per machine while all goes well
//! (two for a place that is taken and given back). [`draw::Dice`] and [`histogram::Recorder`] belong to
//! one thread. `cargo run --release -p proxy --example policies` prints what each costs.

pub mod adaptive;
pub mod backoff;
pub mod book;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod choose;
pub mod draw;
pub mod eligible;
pub mod gradient;
pub mod hash;
pub mod histogram;
pub mod rate;
pub mod window;

pub use book::{Book, Guards};
pub use registry::Moment;
