//! The last good answers to reads, for `fallback: { stale: … }`: what to say when the service cannot. Not a
//! cache: an answer from here is given only when there is no other.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AGE, CACHE_CONTROL, CONTENT_LENGTH, SET_COOKIE, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::exchange::{Answer, Asked};
use crate::fields::{Fields, Known};
use crate::head::REQUEST_ID;

/// Bytes of answers that are kept, over all routes. The ones kept first go first.
const KEPT: usize = 16 * 1024 * 1024;
/// The longest answer that is kept.
const LONGEST: usize = 256 * 1024;

/// So often is the key of an answer kept: where it is found, and in their order.
const KEYS: usize = 2;

/// The answers. One for all threads: it is touched once per good answer of the routes that want it.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    answers: HashMap<Key, (u64, Arc<Kept>)>,
    /// In the order in which they were kept.
    order: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
}

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    scope: Arc<str>,
    host: Box<str>,
    target: Box<str>,
    /// The fields by which a service commonly chooses.
    accept: Box<[u8]>,
}

#[derive(Debug)]
struct Kept {
    fields: Fields,
    body: Bytes,
    since: Instant,
}

impl Kept {
    fn size(&self, key: usize) -> usize {
        self.body.len() + self.fields.capacity() + KEYS * key
    }
}

impl Key {
    fn size(&self) -> usize {
        size_of::<Self>() + self.host.len() + self.target.len() + self.accept.len()
    }
}

impl Store {
    /// The answer as it is; if it may be kept, it is on its way through.
    pub(crate) fn keep(self: &Arc<Self>, scope: &Arc<str>, asked: &Asked, mut answer: Answer) -> Answer {
        if !may_be_kept(asked, &answer) || answer.body.size().is_some_and(|size| size > LONGEST as u64) {
            return answer;
        }
        let to = Some((Arc::clone(self), key(scope, asked), answer.fields.clone()));
        let copy = Copy { body: answer.take_body(), kept: BytesMut::new(), to };
        answer.set_body(Body::wrap(copy));
        answer
    }

    /// The answer that was kept, if it is no older than `max_age`.
    pub(crate) fn find(&self, scope: &Arc<str>, asked: &Asked, max_age: Duration) -> Option<Answer> {
        if ![Method::GET, Method::HEAD].contains(&asked.head.method) || is_personal(asked) {
            return None;
        }
        let kept = {
            let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&inner.answers.get(&key(scope, asked))?.1)
        };
        let age = kept.since.elapsed();
        if age > max_age {
            return None;
        }
        let mut answer = Answer::new(StatusCode::OK).with_body(Body::full(kept.body.clone()));
        answer.fields = kept.fields.clone();
        answer.fields.remove(&CONTENT_LENGTH);
        answer.fields.remove(&REQUEST_ID); // that of the request then
        answer.set_header(AGE, HeaderValue::from(age.as_secs()));
        Some(answer)
    }

    fn put(&self, key: Key, fields: Fields, body: Bytes) {
        let kept = Arc::new(Kept { fields, body, since: Instant::now() });
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inner.next;
        inner.next += 1;
        let size = key.size();
        inner.bytes += kept.size(size);
        inner.order.insert(number, key.clone());
        if let Some((before, old)) = inner.answers.insert(key, (number, kept)) {
            inner.order.remove(&before);
            inner.bytes -= old.size(size);
        }
        while inner.bytes > KEPT {
            let Some((_, oldest)) = inner.order.pop_first() else { return };
            if let Some((_, old)) = inner.answers.remove(&oldest) {
                inner.bytes -= old.size(oldest.size());
            }
        }
    }
}

fn key(scope: &Arc<str>, asked: &Asked) -> Key {
    let fields = &asked.head.fields;
    let accept = [ACCEPT, ACCEPT_LANGUAGE, ACCEPT_ENCODING];
    let accept = accept.iter().map(|name| fields.get_all(name).collect::<Vec<_>>().join(&b","[..]));
    Key {
        scope: Arc::clone(scope),
        host: asked.head.host.as_str().into(),
        target: asked.head.target().into(),
        accept: accept.collect::<Vec<_>>().join(&b"\n"[..]).into(),
    }
}

/// What one person was answered is no answer for another (RFC 9111 §3, in its strictest reading).
fn may_be_kept(asked: &Asked, answer: &Answer) -> bool {
    let private = answer.fields.get_all(&CACHE_CONTROL).any(|value| {
        let value = value.to_ascii_lowercase();
        [&b"no-store"[..], b"private"].iter().any(|word| value.windows(word.len()).any(|part| part == *word))
    });
    let mut varies = answer.fields.get_all(&VARY).flat_map(|value| value.split(|byte| *byte == b','));
    let known = [&b"accept"[..], b"accept-encoding", b"accept-language", b""];
    let varies = varies.any(|name| !known.iter().any(|known| name.trim_ascii().eq_ignore_ascii_case(known)));
    asked.head.method == Method::GET
        && !is_personal(asked)
        && answer.status == StatusCode::OK
        && answer.upgrade.is_none()
        && answer.fields.get(&SET_COOKIE).is_none()
        && !(private || varies)
}

fn is_personal(asked: &Asked) -> bool {
    let fields = &asked.head.fields;
    asked.subject.is_some() || fields.has(Known::Authorization) || fields.has(Known::Cookie)
}

/// A body that is kept once it has passed whole.
struct Copy {
    body: Body,
    kept: BytesMut,
    to: Option<(Arc<Store>, Key, Fields)>,
}

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) if self.kept.len() + data.len() <= LONGEST => self.kept.extend_from_slice(data),
                _ => self.to = None, // too long, or with trailers
            },
            Some(Err(_)) => self.to = None,
            None => {}
        }
        let ended = frame.is_none() || self.body.is_end_stream();
        if let Some((store, key, fields)) = self.to.take_if(|_| ended) {
            store.put(key, fields, std::mem::take(&mut self.kept).freeze());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.to.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
