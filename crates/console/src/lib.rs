//! The web console: pages drawn on the server, only from what the admin API says. There is no path of its own
//! into the node, no asset from elsewhere and no build step for the browser: one script and one stylesheet lie
//! beside the code.
//!
//! Read in this order: [`Console`] (what listens), `desk` (what all pages share), `gate` (who gets in) with
//! `session`, `place` (what an address means), `view` (a page and its frame), `pages` (one file each), `draw` (charts, pure),
//! `live` (what changes is sent), `act` (what buttons do), then `bits` and `words`.

mod act;
mod assets;
mod bits;
mod desk;
mod draw;
mod feed;
mod gate;
mod live;
mod pages;
mod place;
mod server;
mod session;
mod view;
mod words;

pub use server::{Console, Options};
pub use session::{Granted, Role};
