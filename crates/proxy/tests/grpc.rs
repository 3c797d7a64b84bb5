//! A real client and a real server of gRPC, with the proxy between them: at the gateway and in the mesh.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod grpc_notes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Harness, PATIENCE, app, call, go, listen, name, nowhere, route, service, until, within};
use grpc_notes::{Client, Note, Notes, Seen, note};
use manifest::spec::Wire;
use proxy::Entrance;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

/// The notes service, behind both entrances of a proxy.
struct World {
    harness: Harness,
    seen: Arc<Seen>,
    gateway: SocketAddr,
    mesh: SocketAddr,
}

impl World {
    async fn start() -> Self {
        Self::with(PATIENCE).await
    }

    async fn with(timeout: Duration) -> Self {
        let mut notes = service("notes");
        notes.wire = Wire::Http2;
        notes.routes.push(route("POST /test.Notes/{call}", timeout));
        let mut caller = service("caller");
        caller.calls.insert(name("notes"), call(timeout, 0));
        let harness = Harness::start(&app([notes, caller])).await;
        let entrance = Entrance::Mesh { caller: name("caller"), callee: name("notes") };
        let mesh = listen(&harness.proxy, entrance).await;
        let service = Notes::default();
        let seen = Arc::clone(&service.0);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        go(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            let _ = server.serve_with_incoming(incoming).await;
        });
        harness.ready("notes", &[address]);
        let gateway = harness.gateway;
        Self { harness, seen, gateway, mesh }
    }

    async fn clients(&self) -> [Client; 2] {
        [Client::connect(self.gateway).await, Client::connect(self.mesh).await]
    }

    async fn idle(&self) {
        until("the service is left alone", || self.seen.under_way.load(Ordering::SeqCst) == 0).await;
        until("the proxy is left alone", || self.harness.proxy.stats().in_flight == 0).await;
    }
}

fn notes(count: u32) -> impl futures_util::Stream<Item = Note> + Send + 'static {
    futures_util::stream::iter((0..count).map(|n| note("a", n)))
}

#[tokio::test]
async fn a_call_of_each_kind_passes() {
    let world = World::start().await;
    for mut client in world.clients().await {
        let answer = within(client.ask(note("hello", 7))).await.unwrap();
        assert_eq!(*answer.get_ref(), note("hello", 7));

        let sum = within(client.gather(notes(100))).await.unwrap();
        assert_eq!(*sum.get_ref(), note("a".repeat(100), 4950));

        let mut counted = within(client.count(note("b", 100))).await.unwrap().into_inner();
        for n in 0..100 {
            assert_eq!(within(counted.message()).await.unwrap(), Some(note("b", n)));
        }
        assert_eq!(within(counted.message()).await.unwrap(), None);

        // One at a time: each answer before the next question.
        let (say, said) = tokio::sync::mpsc::channel(1);
        let said = futures_util::stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
        let mut talk = within(client.talk(said)).await.unwrap().into_inner();
        for n in 0..20 {
            say.send(note("c", n)).await.unwrap();
            assert_eq!(within(talk.message()).await.unwrap(), Some(note("c", n + 1)));
        }
        drop(say);
        assert_eq!(within(talk.message()).await.unwrap(), None);
    }
    world.idle().await;
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let world = World::start().await;
    let [client, _] = world.clients().await;
    let calls = (0..300).map(|n| {
        let mut client = client.clone();
        async move { assert_eq!(client.ask(note("x", n)).await.unwrap().into_inner(), note("x", n)) }
    });
    within(futures_util::future::join_all(calls)).await;
    assert!(world.harness.proxy.stats().upstream_opened <= 2);
}

#[tokio::test]
async fn metadata_passes_both_ways_and_tells_who_calls() {
    let world = World::start().await;
    let [mut gateway, mut mesh] = world.clients().await;
    let request = || {
        let mut request = Request::new(note("hello", 1));
        request.metadata_mut().insert("x-say", MetadataValue::from_static("hi"));
        request.metadata_mut().insert_bin("x-say-bin", MetadataValue::from_bytes(&[0, 255, 10, 13]));
        request.metadata_mut().insert("x-atoll-caller", MetadataValue::from_static("forged"));
        request
    };
    for (client, caller) in [(&mut gateway, None), (&mut mesh, Some("caller"))] {
        let answer = within(client.ask(request())).await.unwrap();
        let metadata = answer.metadata();
        assert_eq!(metadata.get("x-saw").unwrap(), "hi");
        assert_eq!(metadata.get_bin("x-saw-bin").unwrap().to_bytes().unwrap(), [0, 255, 10, 13][..]);
        assert_eq!(metadata.get("x-caller").map(|value| value.to_str().unwrap()), caller);
        assert!(metadata.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn errors_of_the_service_arrive_as_they_are() {
    let world = World::start().await;
    for mut client in world.clients().await {
        for code in 1..=16 {
            let status = within(client.ask(note("fail", code))).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::from_i32(code as i32), "as asked: 100 % ü"));
            assert_eq!(status.metadata().get("x-why").unwrap(), "because");
        }
        let said = futures_util::stream::iter([note("a", 1), note("fail", 2)]);
        let mut talk = within(client.talk(said)).await.unwrap().into_inner();
        assert_eq!(within(talk.message()).await.unwrap(), Some(note("a", 2)));
        assert_eq!(within(talk.message()).await.unwrap_err().code(), Code::DataLoss);
        let status = within(client.ask_at("/test.Notes/Nothing", note("", 0))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such call"));
    }
}

#[tokio::test]
async fn failures_of_the_proxy_are_told_as_a_status() {
    let world = World::start().await;
    let [mut gateway, mut mesh] = world.clients().await;
    let status = within(gateway.ask_at("/other.Service/Call", note("", 0))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no route has this host and path"));
    assert!(status.metadata().get("proxy-status").unwrap().to_str().unwrap().starts_with("atoll; error="));
    world.harness.ready("notes", &[nowhere().await]);
    for client in [&mut gateway, &mut mesh] {
        let status = within(client.ask(note("", 0))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("refused the connection"), "{status:?}");
    }
    world.harness.publish("notes", Vec::new(), false);
    let status = within(mesh.ask(note("", 0))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn a_deadline_travels_and_is_kept() {
    let world = World::start().await;
    for mut client in world.clients().await {
        let mut request = Request::new(note("hello", 0));
        request.set_timeout(Duration::from_secs(5));
        let answer = within(client.ask(request)).await.unwrap();
        let left = answer.metadata().get("x-timeout").unwrap().to_str().unwrap();
        let left: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
        assert!((1000..=5000).contains(&left), "{left}");

        let mut request = Request::new(note("sleep", 60_000));
        request.set_timeout(Duration::from_millis(200));
        let status = within(client.ask(request)).await.unwrap_err();
        // Whoever notices first: the client itself cancels, the proxy says so.
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
        world.idle().await;
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_given_up() {
    let world = World::with(Duration::from_millis(200)).await;
    for mut client in world.clients().await {
        let status = within(client.ask(note("sleep", 60_000))).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        world.idle().await;
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_at_the_service() {
    let world = World::start().await;
    for mut client in world.clients().await {
        let mut other = client.clone();
        let asked = tokio::select! {
            biased;
            answer = other.ask(note("sleep", 60_000)) => Some(answer),
            () = until("it is under way", || world.seen.under_way.load(Ordering::SeqCst) == 1) => None,
        };
        assert!(asked.is_none());
        world.idle().await;

        let mut counted = within(client.count(note("x", u32::MAX))).await.unwrap().into_inner();
        within(counted.message()).await.unwrap();
        drop(counted);
        world.idle().await;

        let (say, said) = tokio::sync::mpsc::channel::<Note>(1);
        let said = futures_util::stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
        let talk = within(client.talk(said)).await.unwrap();
        assert_eq!(world.seen.under_way.load(Ordering::SeqCst), 1);
        drop(talk); // which does not reset the stream as long as there may be more to send
        drop(say);
        world.idle().await;
    }
}

#[tokio::test]
async fn big_messages_pass_whole() {
    let world = World::start().await;
    for mut client in world.clients().await {
        let text = "0123456789".repeat(400_000);
        let sent = note(text, 1);
        assert_eq!(within(client.ask(sent.clone())).await.unwrap().into_inner(), sent);
    }
}

#[tokio::test]
async fn whoever_does_not_read_holds_the_service_back() {
    let world = World::start().await;
    for mut client in world.clients().await {
        world.seen.given.store(0, Ordering::SeqCst);
        let kilobyte = "x".repeat(1000);
        let mut counted = within(client.count(note(kilobyte, 50_000))).await.unwrap().into_inner();
        within(counted.message()).await.unwrap();
        let mut last = 0;
        until("the service is held back", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = world.seen.given.load(Ordering::SeqCst);
            std::mem::replace(&mut last, now) == now
        })
        .await;
        assert!(last < 10_000, "{last}");
        let mut read = 1;
        while within(counted.message()).await.unwrap().is_some() {
            read += 1;
        }
        assert_eq!(read, 50_000);
    }
}

#[tokio::test]
async fn an_endless_upload_is_held_back_by_a_service_that_does_not_read() {
    let world = World::start().await;
    // Of a call that sleeps nobody reads further messages.
    let [mut client, _] = world.clients().await;
    let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let endless = futures_util::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        note("x".repeat(10_000), 1)
    });
    // Its answers are not read, so it does not read on.
    let talk = within(client.talk(endless)).await.unwrap();
    let mut last = 0;
    until("the client is held back", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = made.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
    assert!(last < 2000, "{last}");
    drop(talk);
}
