//! A service of gRPC with a call of each kind, and its client; what a compiler of `.proto` files would write.
//!
//! ```proto
//! service Notes {
//!   rpc Ask(Note) returns (Note);
//!   rpc Gather(stream Note) returns (Note);
//!   rpc Count(Note) returns (stream Note);
//!   rpc Talk(stream Note) returns (stream Note);
//! }
//! ```
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::metadata::MetadataValue;
use tonic::server::{
    ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(uint32, tag = "2")]
    pub number: u32,
}

pub fn note(text: impl Into<String>, number: u32) -> Note {
    Note { text: text.into(), number }
}

type Codec = ProstCodec<Note, Note>;
type Answers = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;
type Future_<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// What the service has seen.
#[derive(Default)]
pub struct Seen {
    /// Calls under way.
    pub under_way: AtomicUsize,
    /// Notes that it has given away.
    pub given: AtomicUsize,
    pub taken: AtomicUsize,
}

/// Counts a call as under way until it is dropped.
struct UnderWay(Arc<Seen>);

impl UnderWay {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.under_way.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The service.
#[derive(Clone, Default)]
pub struct Notes(pub Arc<Seen>);

impl NamedService for Notes {
    const NAME: &'static str = "test.Notes";
}

impl UnaryService<Note> for Notes {
    type Response = Note;
    type Future = Future_<Note>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let guard = UnderWay::new(&self.0);
        Box::pin(async move {
            let _guard = guard;
            let metadata = request.metadata().clone();
            let asked = request.into_inner();
            match asked.text.as_str() {
                "fail" => {
                    let code = Code::from_i32(asked.number as i32);
                    let mut status = Status::new(code, "as asked: 100 % ü");
                    status.metadata_mut().insert("x-why", MetadataValue::from_static("because"));
                    return Err(status);
                }
                "sleep" => tokio::time::sleep(Duration::from_millis(asked.number.into())).await,
                _ => {}
            }
            let mut response = Response::new(asked);
            for (ours, theirs) in
                [("x-saw", "x-say"), ("x-timeout", "grpc-timeout"), ("x-caller", "x-atoll-caller")]
            {
                if let Some(value) = metadata.get(theirs) {
                    response.metadata_mut().insert(ours, value.clone());
                }
            }
            if let Some(value) = metadata.get_bin("x-say-bin") {
                response.metadata_mut().insert_bin("x-saw-bin", value.clone());
            }
            Ok(response)
        })
    }
}

impl ClientStreamingService<Note> for Notes {
    type Response = Note;
    type Future = Future_<Note>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        let guard = UnderWay::new(&self.0);
        Box::pin(async move {
            let mut notes = request.into_inner();
            let mut sum = note("", 0);
            while let Some(next) = notes.message().await? {
                guard.0.taken.fetch_add(1, Ordering::SeqCst);
                sum.text.push_str(&next.text);
                sum.number += next.number;
            }
            Ok(Response::new(sum))
        })
    }
}

impl ServerStreamingService<Note> for Notes {
    type Response = Note;
    type ResponseStream = Answers;
    type Future = Future_<Answers>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let guard = UnderWay::new(&self.0);
        Box::pin(async move {
            let asked = request.into_inner();
            let most = asked.number;
            let notes = futures_util::stream::unfold((0, guard), move |(n, guard)| {
                let text = asked.text.clone();
                async move {
                    guard.0.given.fetch_add(1, Ordering::SeqCst);
                    (n < most).then(|| (Ok(note(text, n)), (n + 1, guard)))
                }
            });
            Ok(Response::new(Box::pin(notes) as Answers))
        })
    }
}

impl StreamingService<Note> for Notes {
    type Response = Note;
    type ResponseStream = Answers;
    type Future = Future_<Answers>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        let guard = UnderWay::new(&self.0);
        Box::pin(async move {
            let replies = request.into_inner().map(move |next| {
                let _held = &guard;
                match next? {
                    Note { text, .. } if text == "fail" => Err(Status::data_loss("in the middle")),
                    Note { text, number } => Ok(note(text, number + 1)),
                }
            });
            Ok(Response::new(Box::pin(replies) as Answers))
        })
    }
}

impl<B> Service<http::Request<B>> for Notes
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            let most = 64 << 20;
            let mut grpc = Grpc::new(Codec::default()).max_decoding_message_size(most);
            Ok(match request.uri().path() {
                "/test.Notes/Ask" => grpc.unary(own, request).await,
                "/test.Notes/Gather" => grpc.client_streaming(own, request).await,
                "/test.Notes/Count" => grpc.server_streaming(own, request).await,
                "/test.Notes/Talk" => grpc.streaming(own, request).await,
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}

/// The client.
#[derive(Clone)]
pub struct Client(tonic::client::Grpc<Channel>);

impl Client {
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))
    }

    pub async fn ask(&mut self, request: impl tonic::IntoRequest<Note>) -> Result<Response<Note>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Notes/Ask");
        self.0.unary(request.into_request(), path, Codec::default()).await
    }

    pub async fn ask_at(&mut self, path: &'static str, request: Note) -> Result<Response<Note>, Status> {
        self.ready().await?;
        self.0.unary(Request::new(request), PathAndQuery::from_static(path), Codec::default()).await
    }

    pub async fn gather(
        &mut self,
        notes: impl Stream<Item = Note> + Send + 'static,
    ) -> Result<Response<Note>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Notes/Gather");
        self.0.client_streaming(Request::new(notes), path, Codec::default()).await
    }

    pub async fn count(&mut self, request: Note) -> Result<Response<Streaming<Note>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Notes/Count");
        self.0.server_streaming(Request::new(request), path, Codec::default()).await
    }

    pub async fn talk(
        &mut self,
        notes: impl Stream<Item = Note> + Send + 'static,
    ) -> Result<Response<Streaming<Note>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Notes/Talk");
        self.0.streaming(Request::new(notes), path, Codec::default()).await
    }
}
