//! policy
pub mod adaptive;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod draw;
pub mod gradient;
pub mod rate;
pub mod window;
