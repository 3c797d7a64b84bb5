//! Pictures, as SVG in the page: where things go is worked out by pure functions, colours are the stylesheet's.
//! Nothing here knows the admin API.
//!
//! Read in this order: [`scale`] (from values to places), [`layout`] and [`route`] with [`graph`] (who calls whom), [`series`] (values over time),
//! [`heat`] (how often how long), [`tree`] with [`waterfall`] and [`flame`] (one trace).

pub(crate) mod flame;
pub(crate) mod graph;
pub(crate) mod heat;
pub(crate) mod layout;
pub(crate) mod route;
pub(crate) mod scale;
pub(crate) mod series;
pub(crate) mod tree;
pub(crate) mod waterfall;
