//! Bodies on streams of HTTP/2: what comes in gives its window back as it is passed on, what goes out waits
//! for the peer's.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body, Frame, SizeHint};

use crate::body::{BodyError, Pause};
use crate::fields::Known;
use crate::head::forward::is_hop_by_hop;

/// The incoming half of a stream.
pub(super) struct Receive {
    stream: RecvStream,
    /// Bytes still to come, where the head said how many; h2 holds the peer to it.
    left: Option<u64>,
    ended: bool,
}

impl Receive {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length, ended: false }
    }

    /// The next frame. Its bytes may come again from the peer at once: whoever asks for one has room for it.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.ended {
            match std::task::ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // Fails only if more is given back than came.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let trailers = std::task::ready!(self.stream.poll_trailers(cx));
                    self.ended = true;
                    match trailers {
                        Ok(Some(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                        Ok(None) => return Poll::Ready(None),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
        Poll::Ready(None)
    }

    pub(super) fn is_end(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

/// Bytes of a body that are handed over before it is asked whether there is room for more.
const AHEAD: usize = 4 * 1024;

/// Frames shorter than this leave together with those that follow at once. A peer may take many short frames
/// that it has not read yet for a flood and close the connection: h2 does so after about a hundred.
const SHORT: usize = 1024;

/// Short frames that came one right after the other. Bounded by [`AHEAD`]: then they are handed over.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    /// Not copied: most of the time nothing follows but the end.
    One(Bytes),
    Several(BytesMut),
}

impl Held {
    fn add(&mut self, data: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let mut both = BytesMut::with_capacity(AHEAD + SHORT);
                both.extend_from_slice(first);
                both.extend_from_slice(&data);
                *self = Self::Several(both);
            }
            Self::Several(all) => all.extend_from_slice(&data),
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::take(self) {
            Self::Nothing => Bytes::new(),
            Self::One(data) => data,
            Self::Several(all) => all.freeze(),
        }
    }
}

/// Why a body was not sent to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It broke off where it came from.
    Source(BodyError),
    /// The peer wants no more of it, or is gone.
    Peer,
    /// The peer gave no room for so long.
    Stalled,
}

/// A body on its way into the outgoing half of a stream.
pub(super) struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// Short frames that are not handed over yet; none while anything is waited for.
    held: Held,
    /// Bytes that were taken since there was last known to be room.
    ahead: usize,
    patience: Option<Pause>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Pump<B> {
    /// `patience`: how long the peer may give no room.
    pub(super) fn new(body: B, stream: SendStream<Bytes>, patience: Option<Duration>) -> Self {
        Self { body, stream, held: Held::Nothing, ahead: 0, patience: patience.map(Pause::new) }
    }

    /// Tells the peer that the stream ends here.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Moves what can be moved; ready once all of it was handed over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.ahead >= AHEAD {
                self.hand_over(false)?;
                std::task::ready!(self.poll_room(cx))?;
                self.ahead = 0;
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    let _ = self.hand_over(false); // what came before it broke off
                    return Poll::Ready(Err(Stopped::Source(error)));
                }
                Poll::Ready(None) => return Poll::Ready(self.hand_over(true)),
                Poll::Pending => {
                    self.hand_over(false)?;
                    // Whoever waits for the source must hear that nobody wants it any more.
                    let _ = std::task::ready!(self.stream.poll_reset(cx));
                    return Poll::Ready(Err(Stopped::Peer));
                }
            };
            let trailers = match frame.into_data() {
                Ok(data) => {
                    let last = self.body.is_end_stream();
                    self.ahead += data.len();
                    if data.len() >= SHORT {
                        self.hand_over(false)?;
                        self.stream.send_data(data, last).map_err(|_| Stopped::Peer)?;
                    } else {
                        if !data.is_empty() {
                            self.held.add(data);
                        }
                        if last {
                            self.hand_over(true)?;
                        }
                    }
                    if last {
                        return Poll::Ready(Ok(()));
                    }
                    continue;
                }
                Err(frame) => frame.into_trailers(),
            };
            let Ok(mut trailers) = trailers else { continue };
            let names = trailers.keys().filter(|name| is_hop_by_hop(Known::of(name.as_str().as_bytes())));
            for name in names.cloned().collect::<Vec<_>>() {
                trailers.remove(name);
            }
            self.hand_over(false)?;
            let sent = self.stream.send_trailers(trailers).map_err(|_| Stopped::Peer);
            let _ = Pin::new(&mut self.body).poll_frame(cx); // to its end, which it takes note of
            return Poll::Ready(sent);
        }
    }

    /// Gives the stream what is held, and says whether that is its end.
    fn hand_over(&mut self, last: bool) -> Result<(), Stopped> {
        let data = self.held.take();
        if data.is_empty() && !last {
            return Ok(());
        }
        self.stream.send_data(data, last).map_err(|_| Stopped::Peer)
    }

    /// Ready when the peer, and the buffer of the stream, have room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Stopped::Peer)),
                Poll::Pending => {
                    let Some(patience) = &mut self.patience else { return Poll::Pending };
                    std::task::ready!(patience.poll_still(cx));
                    return Poll::Ready(Err(Stopped::Stalled));
                }
            }
        }
        if let Some(patience) = &mut self.patience {
            patience.moved();
        }
        Poll::Ready(Ok(()))
    }
}
