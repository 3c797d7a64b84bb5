//! The engine: who speaks HTTP on the sockets. The rest of the crate reads heads and bodies through
//! [`crate::exchange`] and [`crate::body`] and never sees what is in here.
//!
//! What an engine owes: [`server::serve`] runs a client's connection, [`UpstreamConnection`] sends a
//! request over a connection to an instance, and both stay on their thread. No task is started per
//! upstream connection: whoever waits for its answer, or reads it, drives it.

mod begin;
mod buffers;
mod h1;
pub(crate) mod h2;
mod io;
pub(crate) mod server;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use registry::Lease;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use h1::client::UpstreamConnection;
pub(crate) use io::Flow;

use crate::body::BodyError;
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::pool::Pool;

/// Interim answers (1xx) that one exchange may have.
const INTERIM_MAX: u32 = 16;

/// A request's body as it arrives from the client.
pub(crate) enum RequestStream {
    /// Over HTTP/1.
    Http1(h1::incoming::RequestBody),
    /// Over a stream of HTTP/2.
    Http2(h2::server::RequestBody),
}

impl RequestStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end(),
            Self::Http2(body) => body.is_end(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }

    /// Passes an interim answer (1xx) of the service on to the client.
    pub(crate) fn inform(&self, status: StatusCode, fields: &Fields) {
        match self {
            Self::Http1(body) => body.inform(status, fields),
            Self::Http2(_) => {}
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
    Http1(h1::client::Rest),
    Http2(h2::client::Rest),
}

impl Reply {
    /// What the answer amounts to, as a status of HTTP.
    pub(crate) fn amounts_to(&self) -> StatusCode {
        crate::grpc::amounts_to(self.status, &self.fields)
    }

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
    Http1(h1::client::AnswerStream),
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

    /// Goes on with the request that this answers. Ready when that has failed.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        match self {
            Self::Http1(stream) => stream.poll_upload(cx),
            Self::Http2(_) => Poll::Pending, // it has a task of its own
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
    /// Nothing of the request was written, or the instance has said that it did not process it, because it goes.
    Unsent(Cause),
    /// The instance has said that it does not process it, and goes on.
    Refused(Cause),
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
pub(crate) struct Upgrade(Side);

enum Side {
    /// It gives its stream away once the answer has been written.
    Client(Rc<h1::incoming::Wire>),
    /// With the place on the instance that the tunnel holds.
    Upstream(Box<dyn Duplex>, Lease),
}

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Upgrade {
    fn client(wire: &Rc<h1::incoming::Wire>) -> Self {
        Self(Side::Client(Rc::clone(wire)))
    }

    fn upstream(stream: Box<dyn Duplex>, lease: Lease) -> Self {
        Self(Side::Upstream(stream, lease))
    }

    /// The bare connection, with what was read of it ahead, and the lease that goes with it.
    pub(crate) fn complete(self) -> Result<(Box<dyn Duplex>, Option<Lease>), Failure> {
        match self.0 {
            Side::Upstream(stream, lease) => Ok((stream, Some(lease))),
            Side::Client(wire) => match wire.take_stream() {
                Some(stream) => Ok((Box::new(stream), None)),
                None => Err(Failure::new(Kind::UpgradeFailed, "the client's connection is gone")),
            },
        }
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}
