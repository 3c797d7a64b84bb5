//! A body in either direction, whichever engine carries it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::engine::{AnswerStream, RequestStream};
use crate::failure::Kind as FailureKind;

/// A stream of data frames, at its end maybe trailers. It lives on one thread.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Request(RequestStream),
    Answer(Box<AnswerStream>),
    Other(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct BodyError {
    /// What kind of failure.
    pub kind: FailureKind,
    /// One line for the log.
    pub detail: String,
}

impl BodyError {
    #[cold]
    pub(crate) fn new(kind: FailureKind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string() }
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// All of a body at once.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }

    /// A body that somebody else produces or changes on the way.
    pub fn wrap(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self(Kind::Other(Box::pin(body)))
    }

    pub(crate) fn request(stream: RequestStream) -> Self {
        Self(Kind::Request(stream))
    }

    pub(crate) fn answer(stream: AnswerStream) -> Self {
        Self(Kind::Answer(Box::new(stream)))
    }

    /// Passes an interim answer (1xx) on to the client whose request this is the body of.
    pub(crate) fn inform(&self, status: http::StatusCode, fields: &crate::fields::Fields) {
        if let Kind::Request(stream) = &self.0 {
            stream.inform(status, fields);
        }
    }

    /// Goes on with the request that this answers, while nobody asks for more of the answer. Ready when that has failed.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        match &mut self.0 {
            Kind::Answer(stream) => stream.poll_upload(cx),
            _ => Poll::Pending,
        }
    }

    /// Whether it is known to hold nothing (more).
    pub fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(self)
    }

    /// Its length, where that is known beforehand.
    pub fn size(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        BodyExt::frame(self).await
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.size())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Request(stream) => stream.poll_frame(cx),
            Kind::Answer(stream) => stream.poll_frame(cx),
            Kind::Other(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Request(stream) => stream.is_end(),
            Kind::Answer(stream) => stream.is_end(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Request(stream) => stream.size_hint(),
            Kind::Answer(stream) => stream.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

/// A pause limit that costs nothing while data flows: its timer is armed when a poll finds nothing.
pub(crate) struct Pause {
    limit: std::time::Duration,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    running: bool,
}

impl Pause {
    pub(crate) fn new(limit: std::time::Duration) -> Self {
        Self { limit, timer: None, running: false }
    }

    /// Something moved.
    pub(crate) fn moved(&mut self) {
        self.running = false;
    }

    /// Nothing moves now. Ready once that has been so for the whole limit.
    pub(crate) fn poll_still(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.running {
            timer.as_mut().reset(tokio::time::Instant::now() + limit);
            self.running = true;
        }
        timer.as_mut().poll(cx)
    }
}
