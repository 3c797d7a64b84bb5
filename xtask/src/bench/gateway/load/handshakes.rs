//! Full TLS handshakes, one connection after the other in several loops at once. Nothing is resumed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{Outcome, Sample, Target, Times, on_core, pause};
use crate::bench::gateway::certificate;
use crate::bench::gateway::machine::{Cores, Tree, Used};

/// Handshakes under way at once.
const AT_ONCE: usize = 16;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shakes hands for a while; a request of the sample is a handshake.
pub(crate) fn run(target: &Target, tree: &Tree, times: Times, cores: Cores) -> anyhow::Result<Outcome> {
    on_core(cores.load, || async move {
        let pids = tree.pids()?;
        let tls = target.tls.clone().context("handshakes want TLS")?;
        let counts = Rc::new(Cell::new(false));
        let sample = Rc::new(RefCell::new(Sample::default()));
        let mut loops = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (address, counts, sample) = (target.address, Rc::clone(&counts), Rc::clone(&sample));
            let connector = TlsConnector::from(Arc::clone(&tls));
            loops.spawn_local(async move {
                loop {
                    let start = Instant::now();
                    let done = tokio::time::timeout(PATIENCE, shake(&connector, address)).await;
                    if !counts.get() {
                        continue;
                    }
                    let mut sample = sample.borrow_mut();
                    sample.requests += 1;
                    match done {
                        Ok(Ok(())) => sample.latencies.push(start.elapsed()),
                        Ok(Err(error)) => count(&mut sample.failures, error.to_string()),
                        Err(_) => count(&mut sample.failures, "takes too long".into()),
                    }
                }
            });
        }
        pause(times.warm).await?;
        let (start, before) = (Instant::now(), Used::until_now(&pids, cores)?);
        counts.set(true);
        pause(times.span).await?;
        counts.set(false);
        let (wall, after) = (start.elapsed(), Used::until_now(&pids, cores)?);
        drop(loops);
        let mut sample = sample.take();
        sample.latencies.sort_unstable();
        let (cpu, core) = after.since(before);
        Ok(Outcome { samples: vec![sample], cpu, core, wall })
    })
}

fn count(failures: &mut BTreeMap<String, u64>, kind: String) {
    *failures.entry(kind).or_default() += 1;
}

/// One handshake. Both sides say goodbye, so that the server has seen the whole of it.
async fn shake(connector: &TlsConnector, address: std::net::SocketAddr) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = connector.connect(certificate::server_name(), stream).await?;
    stream.shutdown().await?;
    let mut rest = [0; 64];
    // A server that just closes the connection has read all of the handshake, too.
    while let Ok(length) = stream.read(&mut rest).await {
        if length == 0 {
            break;
        }
    }
    Ok(())
}
