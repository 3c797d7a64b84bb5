//! A server with topics and queues in memory, and ways to talk to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sns::config::{BehaviorVersion, Region};
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use kit::{BoxFuture, Clock, OnError, SystemClock, Tasks};
use pipes::Pipes;
use pipes::topic::{Deliver, Push, Topics, TopicsOptions, Undelivered};
use store::Space;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::sns::Envelopes;
use wire::{AllowAll, Limits, Options, Server, Sns, Sqs, Unseen};

/// Nothing here takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Takes every delivery, and shows it.
struct Shown(mpsc::Sender<Push>);

impl Deliver for Shown {
    fn deliver(&self, push: Push) -> BoxFuture<'_, Result<(), Undelivered>> {
        Box::pin(
            async move { self.0.send(push).await.map_err(|_| Undelivered::Again("nobody looks".to_owned())) },
        )
    }
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) pushes: mpsc::Receiver<Push>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl World {
    pub(crate) async fn start() -> Self {
        let tasks = Tasks::new();
        let spaces: Vec<Space> = pipes::SPACES.iter().chain(pipes::topic::SPACES).copied().collect();
        let store = store::open(store::Options::memory(Box::leak(spaces.into_boxed_slice()))).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let pipes = Pipes::open(pipes::Options {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
            limits: pipes::Limits::default(),
            watch: None,
        });
        let pipes = pipes.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, pushes) = mpsc::channel(64);
        let topics = Topics::open(TopicsOptions {
            pipes: pipes.clone(),
            store,
            clock,
            tasks: tasks.clone(),
            envelope: Arc::new(Envelopes::new(&format!("http://{address}"), None)),
            deliver: Some(Arc::new(Shown(sender))),
            limits: Default::default(),
        });
        let topics = topics.await.unwrap();
        let server = Server::new(Options {
            faces: vec![Arc::new(Sqs::new(pipes.clone())), Arc::new(Sns::new(topics, pipes))],
            gate: Arc::new(AllowAll::new("tester")),
            witness: Arc::new(Unseen),
            limits: Limits::default(),
        });
        let stop = CancellationToken::new();
        let ends = stop.clone();
        tasks.spawn("wire", OnError::Log, |_| async move { server.serve(listener, ends).await });
        let (url, http) = (format!("http://{address}"), aws_smithy_http_client::Builder::new().build_http());
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test");
        let sns = aws_sdk_sns::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials.clone())
            .endpoint_url(&url)
            .http_client(http.clone())
            .build();
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
            .region(aws_sdk_sqs::config::Region::new("us-east-1"))
            .credentials_provider(credentials)
            .endpoint_url(&url)
            .http_client(http)
            .build();
        let (sns, sqs) = (aws_sdk_sns::Client::from_conf(sns), aws_sdk_sqs::Client::from_conf(sqs));
        Self { address, sns, sqs, pushes, stop, tasks }
    }

    /// Stops it; everything must end in time.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.shutdown(LIMIT).await.unwrap();
    }

    pub(crate) async fn topic(&self, name: &str) -> String {
        let mut create = self.sns.create_topic().name(name);
        if name.ends_with(".fifo") {
            create = create.attributes("FifoTopic", "true").attributes("ContentBasedDeduplication", "true");
        }
        create.send().await.unwrap().topic_arn.unwrap()
    }

    /// Makes a queue: its URL and its ARN.
    pub(crate) async fn queue(&self, name: &str) -> (String, String) {
        let mut create = self.sqs.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            create = create.attributes(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true");
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        (url, format!("arn:aws:sqs:us-east-1:000000000000:{name}"))
    }

    /// Subscribes a queue: the ARN of the subscription.
    pub(crate) async fn subscribe(&self, topic: &str, queue: &str, attributes: &[(&str, &str)]) -> String {
        let mut subscribe = self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue);
        for (name, value) in attributes {
            subscribe = subscribe.attributes(*name, *value);
        }
        subscribe.send().await.unwrap().subscription_arn.unwrap()
    }

    /// What is in a queue now, received and deleted.
    pub(crate) async fn receive(&self, url: &str) -> Vec<aws_sdk_sqs::types::Message> {
        let received = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
        let messages =
            received.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
        for message in &messages {
            let handle = message.receipt_handle().unwrap();
            self.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
        }
        messages
    }

    pub(crate) async fn bodies(&self, url: &str) -> Vec<String> {
        self.receive(url).await.into_iter().map(|message| message.body.unwrap()).collect()
    }

    pub(crate) async fn pushed(&mut self) -> Push {
        tokio::time::timeout(LIMIT, self.pushes.recv()).await.unwrap().unwrap()
    }

    /// One request by hand: its answer with head and body.
    pub(crate) async fn raw(&self, request: String) -> String {
        let address = self.address;
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        })
        .await
        .unwrap()
    }
}

/// Code and text of a refusal.
pub(crate) fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(
    outcome: Result<T, SdkError<E, R>>,
) -> (String, String) {
    match outcome {
        Ok(answer) => panic!("this should have been refused: {answer:?}"),
        Err(SdkError::ServiceError(error)) => {
            let error = error.err();
            (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
        }
        Err(_) => panic!("the service has not answered"),
    }
}
