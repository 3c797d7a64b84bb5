//! What people see. Everything here is pure: it turns types of the admin API into text. Only
//! [`outbox`] and [`term`] touch the terminal.
//!
//! Read in this order: [`paint`], [`clean`] (what services say is not trusted), [`table`], then what is
//! shown: [`board`], [`view`] (board, then logs), [`line`] (one log line, one event), [`plan`],
//! [`listing`] (ps, top, routes), [`guards`] (breaker, and what `ps` adds),
//! [`queues`], [`topics`], [`traces`], [`errors`], [`numbers`] (metrics and the graph).

pub(crate) mod board;
pub(crate) mod clean;
pub(crate) mod errors;
pub(crate) mod guards;
pub(crate) mod keys;
pub(crate) mod line;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod numbers;
pub(crate) mod outbox;
pub(crate) mod paint;
pub(crate) mod plan;
pub(crate) mod queues;
pub(crate) mod slos;
pub(crate) mod table;
pub(crate) mod term;
pub(crate) mod time;
pub(crate) mod topics;
pub(crate) mod traces;
pub(crate) mod view;

pub(crate) use paint::Paint;
