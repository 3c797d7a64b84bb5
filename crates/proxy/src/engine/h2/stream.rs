//! Bodies on streams of HTTP/2: what comes in gives its window back as it is passed on, what goes out waits
//! for the peer's.

use std::cell::Cell;
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
    ended: Cell<bool>,
}

impl Receive {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length, ended: Cell::new(false) }
    }

    /// The next frame. Its bytes may come again from the peer at once: whoever asks for one has room for it.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.ended.get() {
            match std::task::ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // Fails only if more is given back than came.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    self.ended.set(true);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let trailers = std::task::ready!(self.stream.poll_trailers(cx));
                    self.ended.set(true);
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
        let ended = self.ended.get() || self.stream.is_end_stream();
        self.ended.set(ended); // h2 is asked no more
        ended
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

/// Frames shorter than this leave together with those that follow at once, or before there is room for them. A
/// peer may take many short frames that it has not read yet for a flood and close the connection: h2 does so after
/// about a hundred. They are copied: a few bytes would keep the buffer alive into which they were read.
const SHORT: usize = 1024;

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
    /// Short frames that are not handed over yet. Bounded by [`AHEAD`].
    held: BytesMut,
    /// Something was handed over.
    begun: bool,
    /// Bytes that were taken since there was last known to be room.
    ahead: usize,
    patience: Option<Pause>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Pump<B> {
    /// `patience`: how long the peer may give no room.
    pub(super) fn new(body: B, stream: SendStream<Bytes>, patience: Option<Duration>) -> Self {
        let (held, patience) = (BytesMut::new(), patience.map(Pause::new));
        Self { body, stream, held, begun: false, ahead: 0, patience }
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
                // What is held, and what the stream still has, goes with the reset that this leads to.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Stopped::Source(error))),
                Poll::Ready(None) => return Poll::Ready(self.hand_over(true)),
                Poll::Pending => {
                    // The first leaves with the head; others are held until the peer could read them.
                    if !self.held.is_empty() && self.begun {
                        std::task::ready!(self.poll_room(cx))?;
                    }
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
                        self.give(data, last)?;
                    } else if last && self.held.is_empty() {
                        self.give(Bytes::copy_from_slice(&data), true)?;
                    } else {
                        self.held.extend_from_slice(&data);
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
        if self.held.is_empty() && !last {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held).freeze();
        self.give(held, last)
    }

    fn give(&mut self, data: Bytes, last: bool) -> Result<(), Stopped> {
        self.begun = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use h2::client::SendRequest;
    use http::{Request, Response};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::task::Waker;

    /// A body that has what it was given, and ends when that is said.
    #[derive(Default)]
    struct Given(VecDeque<Result<Bytes, BodyError>>, bool);

    impl Body for Given {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(data) => Poll::Ready(Some(data.map(Frame::data))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    type Client = h2::client::Connection<tokio::io::DuplexStream>;
    type Server = h2::server::Connection<tokio::io::DuplexStream, Bytes>;

    /// A stream between a client that gives no room at first and a server, and what moves it.
    struct Pair {
        client: Pin<Box<Client>>,
        server: Server,
        answer: Option<h2::client::ResponseFuture>,
        pump: Pump<Given>,
        _sender: SendRequest<Bytes>,
    }

    impl Pair {
        async fn new() -> Self {
            let (near, far) = tokio::io::duplex(1 << 20);
            let mut builder = h2::client::Builder::new();
            let (client, server) = tokio::join!(
                builder.initial_window_size(0).handshake::<_, Bytes>(near),
                h2::server::handshake(far)
            );
            let ((mut sender, client), mut server) = (client.unwrap(), server.unwrap());
            let mut client = Box::pin(client);
            let (answer, _) = sender.send_request(Request::new(()), true).unwrap();
            let accepted = tokio::select! {
                accepted = server.accept() => accepted.unwrap().unwrap(),
                _ = &mut client => unreachable!(),
            };
            let (_, mut respond) = accepted;
            let stream = respond.send_response(Response::new(()), false).unwrap();
            let pump = Pump::new(Given::default(), stream, None);
            Self { client, server, answer: Some(answer), pump, _sender: sender }
        }

        /// A piece comes, alone.
        fn piece(&mut self, data: Bytes) {
            self.pump.body.0.push_back(Ok(data));
            assert!(self.poll().is_pending());
        }

        fn poll(&mut self) -> Poll<Result<(), Stopped>> {
            let polled = self.pump.poll(&mut Context::from_waker(Waker::noop()));
            self.move_bytes();
            polled
        }

        fn move_bytes(&mut self) {
            for _ in 0..4 {
                assert!(self.server.accept().now_or_never().is_none());
                let _ = self.client.as_mut().now_or_never();
            }
        }

        /// The client gives room, and reads: in how many frames, and how much.
        fn read(&mut self) -> (usize, usize) {
            self.client.set_initial_window_size(1 << 20).unwrap();
            self.move_bytes();
            let _ = self.poll();
            let answer = self.answer.take().unwrap().now_or_never().unwrap();
            let (mut body, mut frames, mut bytes) = (answer.unwrap().into_body(), 0, 0);
            while let Some(Some(Ok(data))) = body.data().now_or_never() {
                (frames, bytes) = (frames + 1, bytes + data.len());
            }
            (frames, bytes)
        }
    }

    /// The memory of something that was read.
    struct Buffer {
        _memory: Arc<()>,
    }

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            b"0123456789"
        }
    }

    #[tokio::test]
    async fn what_comes_piece_by_piece_while_there_is_no_room_leaves_together() {
        let mut pair = Pair::new().await;
        (0..100).for_each(|_| pair.piece(Bytes::from_static(b"0123456789")));
        assert_eq!(pair.read(), (2, 1000)); // the first left with the head
    }

    #[tokio::test]
    async fn no_more_is_held_than_is_promised() {
        let mut pair = Pair::new().await;
        (0..3 * AHEAD / 10).for_each(|_| pair.pump.body.0.push_back(Ok(Bytes::from_static(b"0123456789"))));
        assert!(pair.poll().is_pending());
        assert!(pair.pump.held.len() <= AHEAD && pair.pump.body.0.len() >= 2 * AHEAD / 10 - 1);
        assert_eq!(pair.read().1, 3 * AHEAD / 10 * 10);
    }

    #[tokio::test]
    async fn a_short_piece_that_waits_does_not_keep_the_buffer_into_which_it_was_read() {
        let mut pair = Pair::new().await;
        let memory = Arc::new(());
        (0..3).for_each(|_| pair.piece(Bytes::from_owner(Buffer { _memory: Arc::clone(&memory) })));
        assert_eq!(Arc::strong_count(&memory), 1);
        pair.pump.body.1 = true;
        assert!(matches!(pair.poll(), Poll::Ready(Ok(()))));
        assert_eq!(pair.read().1, 30);
    }

    #[tokio::test]
    async fn who_holds_pieces_for_want_of_room_hears_that_nobody_wants_them() {
        let mut pair = Pair::new().await;
        (0..2).for_each(|_| pair.piece(Bytes::from_static(b"0123456789")));
        assert!(!pair.pump.held.is_empty());
        drop(pair.answer.take());
        pair.move_bytes();
        assert!(matches!(pair.poll(), Poll::Ready(Err(Stopped::Peer))));
    }
}
