//! Futures in boxes of their own, of what not every request comes to. The future of a request then has neither room
//! for them nor their code between its own: what is not run should not pass through the caches with what is.

use std::future::Future;
use std::pin::Pin;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Of what only some requests come to.
#[inline(never)]
pub(crate) fn apart<'a, T>(future: impl Future<Output = T> + 'a) -> Boxed<'a, T> {
    Box::pin(future)
}

/// Of what hardly any request comes to: the way there is laid out as the exception.
#[cold]
#[inline(never)]
pub(crate) fn rarely<'a, T>(future: impl Future<Output = T> + 'a) -> Boxed<'a, T> {
    Box::pin(future)
}
