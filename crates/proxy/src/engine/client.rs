//! A connection to an instance, driven by whoever uses it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use registry::Lease;
use tokio::net::TcpStream;

use super::io::{Flow, Metered};
use super::{Broken, Reply, Source, Upgrade};
use crate::body::{BodyError, Pause};
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::head::forward::{self, Attempt};
use crate::limits::Limits;
use crate::pool::Pool;
use crate::upload::Sending;

/// Longest head of an answer.
const ANSWER_HEAD_BYTES: usize = 64 * 1024;

/// An open connection to an instance: idle, or with one exchange on it.
pub(crate) struct UpstreamConnection {
    sender: http1::SendRequest<Sending>,
    /// Moves the bytes; `None` once the connection is closed.
    driver: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    flow: Arc<Flow>,
}

/// Where the body of an answer will come from.
pub(crate) struct Rest {
    connection: UpstreamConnection,
    incoming: Incoming,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl UpstreamConnection {
    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        refuse_itself(&stream)?;
        stream.set_nodelay(true)?;
        let (io, flow) = Metered::new(stream.into());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(ANSWER_HEAD_BYTES);
        let (sender, driver) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(Box::pin(driver.with_upgrades())), flow })
    }

    /// A request as an instance gets it.
    pub(crate) fn request(asked: &Asked, attempt: &Attempt, limits: &Limits) -> Result<Request<()>, Failure> {
        let mut request = Request::new(());
        *request.method_mut() = asked.head.method.clone();
        let unfit = |error| Failure::new(Kind::BadRequest, "the target cannot be passed on").inside(error);
        *request.uri_mut() = asked.head.target().parse::<Uri>().map_err(unfit)?;
        let headers = request.headers_mut();
        forward::to_upstream(asked, attempt, limits, |name, value| {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        })?;
        Ok(request)
    }

    /// Lets bytes move.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Ready when the connection has ended, or stopped speaking HTTP.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drive(cx);
        if self.driver.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it can take a request, as far as can be told without a system call of its own.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the answer. `go` is set when the upstream says
    /// `100 Continue`. Dropping the future closes the connection: that is how an exchange is cancelled.
    pub(crate) async fn send(
        mut self,
        request: Request<()>,
        body: Sending,
        go: Option<Arc<AtomicBool>>,
    ) -> Result<Reply, Broken> {
        let mut request = request.map(|()| body);
        if let Some(go) = go {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    go.store(true, Ordering::Relaxed);
                }
            });
        }
        let (read, written) = (self.flow.read(), self.flow.written());
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = answer.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            if let Some(moving) = driver
                && moving.as_mut().poll(cx).is_ready()
            {
                *driver = None;
            }
            answer.as_mut().poll(cx)
        });
        let mut response = match outcome.await {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message().is_some() || self.flow.written() == written;
                let answered = self.flow.read() != read;
                return Err(match failed.into_error() {
                    error if unsent => Broken::Unsent(error.into()),
                    error if error.is_user() => Broken::Body(error.into()),
                    error if error.is_parse() || answered => Broken::Malformed(error.into()),
                    error => Broken::Closed(error.into()),
                });
            }
        };
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgrade = switching.then(|| hyper::upgrade::on(&mut response));
        let (parts, incoming) = response.into_parts();
        Ok(Reply {
            status: parts.status,
            fields: Fields::from(&parts.headers),
            source: Source::Http1(Rest { connection: self, incoming, upgrade }),
        })
    }
}

/// A connection to a local port from the range of ephemeral ports on which nobody listens may be given that
/// very port as its own, and TCP's simultaneous open then joins it to itself (RFC 9293 §3.5). It goes without
/// a trace, or the instance could not bind its port for a minute.
pub(super) fn refuse_itself(stream: &TcpStream) -> io::Result<()> {
    if stream.local_addr()? != stream.peer_addr()? {
        return Ok(());
    }
    let _ = stream.set_zero_linger();
    Err(io::ErrorKind::ConnectionRefused.into())
}

impl Rest {
    /// The body, which holds the lease to its end and then gives the connection back to the pool.
    pub(crate) fn into_body(self, lease: Lease, pool: Rc<Pool>, pause: Duration) -> AnswerStream {
        let mut stream = AnswerStream {
            incoming: self.incoming,
            held: Some((self.connection, lease)),
            pool,
            pause: Pause::new(pause),
        };
        if stream.is_end() {
            stream.release(&mut Context::from_waker(Waker::noop()));
        }
        stream
    }

    /// The connection itself, for an answer that switches protocols.
    pub(crate) fn into_upgrade(self, lease: Lease) -> Option<Upgrade> {
        Some(Upgrade { on: self.upgrade?, upstream: Some((self.connection, lease)) })
    }
}

/// An answer's body on its way through.
pub(crate) struct AnswerStream {
    incoming: Incoming,
    held: Option<(UpstreamConnection, Lease)>,
    pool: Rc<Pool>,
    pause: Pause,
}

impl AnswerStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some((connection, _)) = &mut self.held
        {
            connection.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.pause.moved();
                if self.is_end() {
                    self.release(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.held = None;
                Poll::Ready(Some(Err(BodyError::new(Kind::AnswerIncomplete, error))))
            }
            Poll::Ready(None) => {
                self.release(cx);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.pause.poll_still(cx).is_pending() {
                    return Poll::Pending;
                }
                self.held = None;
                let error = BodyError::new(Kind::AnswerStalled, "the answer's body paused too long");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The body has ended: gives the connection back if it is fit for another exchange, and the lease.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some((mut connection, lease)) = self.held.take() {
            connection.drive(cx); // past the end of the message, to the idle state
            if connection.driver.is_some() && connection.sender.is_ready() {
                self.pool.put(lease.endpoint(), connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn a_connection_joined_to_itself_is_a_refused_one_and_leaves_the_port_free() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert_eq!(refuse_itself(&stream).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(stream);
        let listener = TcpListener::bind(own).await.unwrap();
        assert!(refuse_itself(&TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()).is_ok());
    }
}
