//! The engine: who speaks HTTP on the sockets. The rest of the crate reads heads and bodies through
//! [`crate::exchange`] and [`crate::body`] and never sees what is in here: today hyper's connection types.
//!
//! What an engine owes: [`server::serve`] runs a client's connection, [`UpstreamConnection`] sends a
//! request over a connection to an instance, and both stay on their thread. No task is started per
//! upstream connection: whoever waits for its answer, or reads it, drives it.

mod begin;
mod client;
#[cfg_attr(not(test), expect(dead_code))] // until the connections below are its own
mod h1;
pub(crate) mod h2;
mod io;
mod lines;
pub(crate) mod server;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use registry::Lease;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use client::UpstreamConnection;
pub(crate) use io::Flow;
pub(crate) use lines::Lines;

use crate::body::BodyError;
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::pool::Pool;

/// A request's body as it arrives from the client.
pub(crate) enum RequestStream {
    /// Over HTTP/1.
    Http1(Incoming),
    /// Over a stream of HTTP/2.
    Http2(h2::server::RequestBody),
}

impl RequestStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(incoming) => {
                let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
                let broken = |error| BodyError::new(Kind::RequestIncomplete, error);
                Poll::Ready(frame.map(|frame| frame.map_err(broken)))
            }
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.is_end(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// An answer's head and where its body will come from.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
    source: Source,
}

enum Source {
    Http1(client::Rest),
    Http2(h2::client::Rest),
}

impl Reply {
    /// The body, which holds the lease to its end.
    pub(crate) fn into_body(self, lease: Lease, pool: Rc<Pool>, pause: Duration) -> AnswerStream {
        match self.source {
            Source::Http1(rest) => AnswerStream::Http1(rest.into_body(lease, pool, pause)),
            Source::Http2(rest) => AnswerStream::Http2(rest.into_body(lease, pause)),
        }
    }

    /// The connection itself, for an answer that switches protocols.
    pub(crate) fn into_upgrade(self, lease: Lease) -> Option<Upgrade> {
        match self.source {
            Source::Http1(rest) => rest.into_upgrade(lease),
            Source::Http2(_) => None, // RFC 9113 §8.6
        }
    }
}

/// An answer's body on its way through.
pub(crate) enum AnswerStream {
    /// From a connection of HTTP/1.
    Http1(client::AnswerStream),
    /// From a stream of HTTP/2.
    Http2(h2::client::AnswerBody),
}

impl AnswerStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(stream) => stream.poll_frame(cx),
            Self::Http2(stream) => stream.poll_frame(cx),
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Http1(stream) => stream.is_end(),
            Self::Http2(stream) => stream.is_end(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(stream) => stream.size_hint(),
            Self::Http2(stream) => stream.size_hint(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Nothing of the request was written, or the instance has said that it did not process it.
    Unsent(Cause),
    /// The connection ended before a byte of the answer.
    Closed(Cause),
    /// The instance reset the stream instead of answering on it.
    Reset(Cause),
    /// What came is not the head of an answer.
    Malformed(Cause),
    /// The request's body could not be read.
    Body(Cause),
}

/// What the engine says of it; for the log.
pub(crate) type Cause = Box<dyn std::error::Error>;

/// One side of a connection that is about to stop speaking HTTP.
pub(crate) struct Upgrade {
    on: OnUpgrade,
    /// Whoever must be driven for the upgrade to happen, and the place on the instance that the tunnel
    /// holds; on the upstream's side only.
    upstream: Option<(UpstreamConnection, Lease)>,
}

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Upgrade {
    /// Waits for the last of the HTTP and gives the bare connection, with the lease that goes with it.
    pub(crate) async fn complete(mut self) -> Result<(Box<dyn Duplex>, Option<Lease>), Failure> {
        let failed = |error| Failure::new(Kind::UpgradeFailed, "the upgrade did not complete").inside(error);
        if let Some((connection, _)) = &mut self.upstream {
            std::future::poll_fn(|cx| connection.poll_done(cx)).await;
        }
        let upgraded = self.on.await.map_err(failed)?;
        Ok((Box::new(TokioIo::new(upgraded)), self.upstream.map(|(_, lease)| lease)))
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}
