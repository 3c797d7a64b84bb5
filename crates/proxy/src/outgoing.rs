//! An answer's body with the record of its exchange: whoever sends it drops both when the last byte has left.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::failure::Kind;
use crate::head;
use crate::record::Recorder;

/// What the client reads.
pub(crate) struct Outgoing {
    body: Body,
    record: Option<Box<Recorder>>,
    /// Its end has come. It may yet have to be written.
    ended: bool,
}

impl Outgoing {
    pub(crate) fn new(body: Body, record: Box<Recorder>) -> Self {
        Self { body, record: Some(record), ended: false }
    }

    /// Goes on with the request while the answer cannot be written. Ready when that has failed.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let error = std::task::ready!(self.body.poll_upload(cx));
        self.broke(&error);
        Poll::Ready(error)
    }

    fn broke(&mut self, error: &BodyError) {
        if let Some(mut record) = self.record.take() {
            tracing::debug!(code = error.kind.code(), "answer aborted: {error}");
            record.broke(error.kind);
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            head::trust::clean_answer_trailers(trailers);
        }
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.passed(data.len() as u64);
                }
            }
            Some(Err(error)) => self.broke(error),
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record
            && !self.ended
            && !self.body.is_end_stream()
        {
            record.broke(Kind::ClientGone);
        }
    }
}
