//! The shell over real queues.
