use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;

use kit::SystemClock;
use manifest::spec::ExportProtocol;
use telemetry::model::Severity;
use telemetry::otlp::{self, Encoding};
use telemetry::{Options, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Another backend. It takes requests of so many bytes at most, unpacked.
#[derive(Default)]
struct Backend {
    most: usize,
    no_gzip: bool,
    taken: Mutex<usize>,
    refused: Mutex<usize>,
    packed: Mutex<usize>,
}

impl Backend {
    async fn start(self) -> (SocketAddr, Arc<Self>, Tasks) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (backend, tasks) = (Arc::new(self), Tasks::new());
        let (serving, inner) = (Arc::clone(&backend), tasks.clone());
        tasks.spawn("backend", OnError::Log, |stop| async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = stop.cancelled() => return Ok::<_, std::convert::Infallible>(()),
                };
                let backend = Arc::clone(&serving);
                inner.spawn("connection", OnError::Log, |_| async move {
                    backend.answer(stream).await;
                    Ok::<_, std::convert::Infallible>(())
                });
            }
        });
        (address, backend, tasks)
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut some = vec![0; 64 << 10];
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "it broke off");
            bytes.extend_from_slice(&some[..read]);
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap();
            if bytes.len() - end - 4 == length.parse::<usize>().unwrap() {
                break (head.clone(), bytes.split_off(end + 4));
            }
        };
        let packed = head.contains("content-encoding: gzip");
        let mut plain = Vec::new();
        if packed {
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
        } else {
            plain = body;
        }
        let status = if packed && self.no_gzip {
            "415 Unsupported Media Type"
        } else if plain.len() > self.most {
            *self.refused.lock().unwrap() += 1;
            "413 Content Too Large"
        } else {
            *self.packed.lock().unwrap() += usize::from(packed);
            *self.taken.lock().unwrap() += otlp::logs(Encoding::Protobuf, &plain).unwrap().records.len();
            "200 OK"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

struct Sending {
    _directory: tempfile::TempDir,
    telemetry: Arc<Telemetry>,
    tasks: Tasks,
}

impl Sending {
    fn to(address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::new();
        let telemetry = Telemetry::open(directory.path(), Options::default(), Arc::new(clock.clone()));
        let (telemetry, tasks) = (Arc::new(telemetry.unwrap()), Tasks::new());
        let wanted = Export {
            endpoint: format!("http://{address}"),
            protocol: ExportProtocol::Http,
            compression: Compression::Gzip,
            headers: [].into(),
            traces: false,
            logs: true,
            metrics: false,
        };
        start(&wanted, &telemetry, &"me".into(), &clock, &tasks);
        Self { _directory: directory, telemetry, tasks }
    }

    fn say(&self, count: usize) {
        let record = LogRecord {
            time_ns: 1,
            service: "a".into(),
            instance: "".into(),
            severity: Severity::Info,
            body: "x".repeat(300).as_str().into(),
            attributes: Vec::new(),
            trace: None,
            span: None,
        };
        assert_eq!(self.telemetry.intake().offer_logs(vec![record; count]).taken, count);
    }

    /// Closes telemetry and what sends it on, as a node does that ends. Gives how many records were not sent on.
    async fn end(self) -> u64 {
        let closing = Arc::clone(&self.telemetry);
        tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        self.tasks.shutdown(LAST + Duration::from_secs(5)).await.unwrap();
        self.telemetry.query().dropped().get(&Reason::Onward).copied().unwrap_or(0)
    }
}

#[test]
fn a_request_has_no_more_records_and_bytes_than_it_may() {
    let fit = |records: &[usize]| fitting(records, MOST_BYTES, |size| *size);
    assert_eq!((fit(&[1; 4_500]), fit(&[1; 500])), (2_000, 500));
    assert_eq!((fit(&[MOST_BYTES / 2, MOST_BYTES / 2, 1]), fit(&[2 * MOST_BYTES, 1])), (2, 1));
}

#[tokio::test]
async fn what_is_too_large_for_a_backend_goes_in_parts() {
    let (address, backend, serving) = Backend { most: 40_000, ..Backend::default() }.start().await;
    let sending = Sending::to(address);
    sending.say(2_000);
    assert_eq!(sending.end().await, 0);
    assert_eq!(*backend.taken.lock().unwrap(), 2_000);
    let refused = *backend.refused.lock().unwrap();
    assert!((1..=8).contains(&refused), "{refused}: what was learnt once is not tried each time");
    serving.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_takes_nothing_packed_has_it_plain() {
    let (address, backend, serving) =
        Backend { most: usize::MAX, no_gzip: true, ..Backend::default() }.start().await;
    let sending = Sending::to(address);
    sending.say(10);
    assert_eq!(sending.end().await, 0);
    assert_eq!((*backend.taken.lock().unwrap(), *backend.packed.lock().unwrap()), (10, 0));
    serving.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn who_ends_sends_all_that_waits() {
    let (address, backend, serving) = Backend { most: usize::MAX, ..Backend::default() }.start().await;
    let sending = Sending::to(address);
    for _ in 0..20 {
        sending.say(500);
    }
    assert_eq!(sending.end().await, 0);
    assert_eq!(*backend.taken.lock().unwrap(), 10_000);
    assert!(*backend.packed.lock().unwrap() > 0);
    serving.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn who_ends_counts_what_nobody_took() {
    // Taken, and never answered: whoever waits for it would wait for long.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sending = Sending::to(silent.local_addr().unwrap());
    for _ in 0..10 {
        sending.say(500);
    }
    let since = Instant::now();
    assert_eq!(sending.end().await, 5_000);
    assert!(since.elapsed() < LAST + Duration::from_secs(3), "{:?}", since.elapsed());
}
