//! Faults made on purpose, to see what they lead to.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use manifest::spec;

use super::{Filter, Verdict};
use crate::body::{Body, BodyError};
use crate::exchange::{Answer, Exchange};
use crate::failure::Kind;
use crate::head::deadline;
use crate::policy::draw;

/// Says in an answer that it is not the service's own.
const FAULT: HeaderName = HeaderName::from_static("x-atoll-fault");

/// The faults of a route, in order. The first that a request matches and that is drawn happens to it.
pub(crate) struct Faults {
    faults: Vec<spec::Fault>,
    /// What the route allows: nobody is held up for longer than he would wait.
    timeout: Duration,
}

impl Faults {
    /// `None` where there are none.
    pub(crate) fn new(faults: &[spec::Fault], timeout: Duration) -> Option<Self> {
        (!faults.is_empty()).then(|| Self { faults: faults.to_vec(), timeout })
    }
}

impl Filter for Faults {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        let fields = &exchange.asked.head.fields;
        let has = |want: &spec::HeaderMatch| {
            let mut values = fields.get_all(&want.name);
            values.any(|have| want.value.as_ref().is_none_or(|want| have == want.as_bytes()))
        };
        let mut matching = self.faults.iter().filter(|fault| fault.headers.iter().all(has));
        let Some(fault) = matching.find(|fault| draw::is_in(fault.share, rand::random())) else {
            return Verdict::Continue;
        };
        exchange.cut = fault.truncate.map(|bytes| bytes.0);
        let abort = fault.abort.and_then(|status| StatusCode::from_u16(status).ok());
        if abort.is_some() {
            exchange.record.broke(Kind::Injected);
        }
        let then = move || match abort {
            Some(status) => {
                let told = format!("this fault was made on purpose: {status}\n");
                let answer = Answer::new(status).with_body(Body::full(told));
                Verdict::Answer(answer.with_header(FAULT, HeaderValue::from_static("abort")))
            }
            None => Verdict::Continue,
        };
        match fault.delay {
            None => then(),
            Some(delay) => {
                let asked = deadline::asked(&exchange.asked.head.fields).unwrap_or(self.timeout);
                let until = exchange.record.started() + delay.min(asked).min(self.timeout);
                Verdict::Later(Box::pin(async move {
                    tokio::time::sleep_until(until.into()).await;
                    then()
                }))
            }
        }
    }

    fn response(&self, exchange: &Exchange, answer: &mut Answer) {
        if let Some(left) = exchange.cut {
            let body = answer.take_body();
            answer.set_body(Body::wrap(Cut { body, left }));
            answer.set_header(FAULT, HeaderValue::from_static("truncate"));
        }
    }
}

/// A body that breaks off after so many bytes.
struct Cut {
    body: Body,
    left: u64,
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            let detail = "the answer is cut off on purpose";
            return Poll::Ready(Some(Err(BodyError::new(Kind::Injected, detail))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let mut data = match frame?.into_data() {
                Ok(data) => data,
                Err(trailers) => return Ok(trailers),
            };
            data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= data.len() as u64;
            Ok(Frame::data(data))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
