//! A client's connection, from its first byte: HTTP/1.1 or HTTP/2, agreed on with TLS or told by a preface.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::h1::server::Ended;
use super::{Flow, h1, h2};
use crate::connection::Connection;
use crate::exchange::Entrance;
use crate::thread::{Occupied, Thread};
use crate::tls::{ClientStream, Session};

/// Serves a connection to its end.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    stream: ClientStream,
    session: Option<Arc<Session>>,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    occupied: Occupied,
) {
    let flow = Rc::new(Flow::default());
    let agreed = session.as_ref().is_some_and(|session| session.is_http2());
    let connection = Connection::new(peer, entrance, session, Rc::clone(&flow), occupied);
    let registered = thread.register(&connection);
    // What is not for every connection is boxed: the task of an idle one is small.
    if agreed {
        return Box::pin(h2::server::serve(thread, connection, stream, Bytes::new())).await;
    }
    match h1::server::serve(&thread, &connection, stream, flow).await {
        Ended::Closed => {}
        Ended::Http2(stream, ahead) => {
            Box::pin(h2::server::serve(thread, connection, stream, ahead.freeze())).await;
        }
        Ended::Tunnel(tunnel) => {
            drop((registered, connection)); // there is nothing for HTTP to watch
            tunnel.await;
        }
    }
}
