//! The floor: a forwarder that parses nothing. Each client connection has one upstream connection, bytes are
//! copied both ways, so a request costs two reads and two writes. No proxy that keeps connections apart can
//! do with less.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How the binary is told to be the forwarder; nothing for people. Then: where to listen, where to forward.
pub(crate) const VERB: &str = "__forward";

/// Bytes of the buffer for each direction.
const BUFFER: usize = 16 << 10;

/// Forwards until a signal ends the process.
pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for word in words {
        addresses.push(word.parse::<SocketAddr>().with_context(|| format!("address {word}"))?);
    }
    ensure!(addresses.len() > 1, "{VERB} wants an address to listen at and one to forward to");
    let upstreams = addresses.split_off(1);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addresses[0]).await?;
        forward(&listener, &upstreams).await
    })
}

/// Forwards the connections of a listener in turn. Needs a local runtime.
async fn forward(listener: &TcpListener, upstreams: &[SocketAddr]) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    for upstream in upstreams.iter().copied().cycle() {
        let (client, _) = listener.accept().await?;
        // A connection that breaks is the business of both its ends.
        connections.spawn_local(async move { drop(splice(client, upstream).await) });
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}

async fn splice(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await?;
    Ok(())
}
