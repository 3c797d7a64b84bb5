//! The engine: who speaks HTTP on the sockets. The rest of the crate reads heads and bodies through
//! [`crate::exchange`] and [`crate::body`] and never sees what is in here: today hyper's connection types.
//!
//! What an engine owes: [`server::serve`] runs a client's connection, [`UpstreamConnection`] sends a
//! request over a connection to an instance, and both stay on their thread. No task is started per
//! upstream connection: whoever waits for its answer, or reads it, drives it.

mod client;
#[cfg_attr(not(test), expect(dead_code))] // until the connections below are its own
mod h1;
mod io;
mod lines;
pub(crate) mod server;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use registry::Lease;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use client::{AnswerStream, Broken, Reply, UpstreamConnection};
pub(crate) use io::Flow;
pub(crate) use lines::Lines;

use crate::body::BodyError;
use crate::failure::{Failure, Kind};

/// A request's body as it arrives from the client.
pub(crate) struct RequestStream(Incoming);

impl RequestStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::new(Kind::RequestIncomplete, error))))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.0.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

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
