//! Whether a connection opens; the other network checks begin with it.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Passes when something listens on `address`.
pub(crate) async fn check(address: SocketAddr) -> Result<(), String> {
    connect(address).await.map(drop)
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let refused = || format!("connection refused: nothing listens on {address}");
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(refused()),
        Err(error) => return Err(format!("cannot connect to {address}: {error}")),
    };
    // A connection to a local port from the range of ephemeral ports on which nobody listens may be given
    // that very port as its own, and TCP's simultaneous open then joins it to itself (RFC 9293 section
    // 3.5). It must go without a trace, or the instance could not bind its port for a minute.
    if is_joined_to_itself(&stream) {
        let _ = stream.set_zero_linger();
        return Err(refused());
    }
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn is_joined_to_itself(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn a_port_on_which_somebody_listens_passes_and_a_closed_one_says_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(check(address).await, Ok(()));
        drop(listener);
        let why = check(address).await.unwrap_err();
        assert_eq!(why, format!("connection refused: nothing listens on {address}"));
    }

    #[tokio::test]
    async fn a_connection_joined_to_itself_is_told_apart() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(is_joined_to_itself(&stream));
        stream.set_zero_linger().unwrap();
        drop(stream);
        TcpListener::bind(own).await.unwrap(); // the port is free again
    }
}
