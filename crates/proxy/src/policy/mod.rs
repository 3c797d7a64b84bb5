//! policy
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod draw;
pub mod window;
