//! What speaks with each system: small clients written for this, so that every one costs about as little.

pub(super) mod amqp;
mod line;
pub(super) mod nats;
pub(super) mod postgres;
pub(super) mod redis;
pub(super) mod sigv4;
pub(super) mod sqs;

use std::net::SocketAddr;
use std::sync::Arc;

use super::load::Work;

/// Bytes of a message.
pub(crate) const BODY: usize = 1024;

/// Where a system is, and what is spoken with it.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Sqs(Arc<sqs::Place>),
    Redis(SocketAddr),
    Nats(SocketAddr),
    Amqp(amqp::Place),
    Postgres(SocketAddr),
}

/// One connection to a system.
pub(crate) struct Client {
    endpoint: Endpoint,
    number: usize,
    kind: Kind,
}

enum Kind {
    Sqs(Box<sqs::Client>),
    Redis(redis::Client),
    Nats(nats::Client),
    Amqp(amqp::Client),
    Postgres(postgres::Client),
}

impl Client {
    /// Connects; `number` tells it from others of the run, `work` is what it will do.
    pub(crate) async fn open(endpoint: &Endpoint, number: usize, work: Work) -> Result<Self, String> {
        let kind = match endpoint {
            Endpoint::Sqs(place) => Kind::Sqs(Box::new(sqs::Client::open(place, number, work).await?)),
            Endpoint::Redis(address) => Kind::Redis(redis::Client::open(*address, number).await?),
            Endpoint::Nats(address) => Kind::Nats(nats::Client::open(*address, number).await?),
            Endpoint::Amqp(place) => Kind::Amqp(amqp::Client::open(*place, work).await?),
            Endpoint::Postgres(address) => Kind::Postgres(postgres::Client::open(*address, work).await?),
        };
        Ok(Self { endpoint: endpoint.clone(), number, kind })
    }

    /// Connects anew.
    pub(crate) async fn reopen(&mut self, work: Work) -> Result<(), String> {
        *self = Self::open(&self.endpoint, self.number, work).await?;
        Ok(())
    }

    /// One operation; how many messages it handled, at least one.
    pub(crate) async fn perform(&mut self, work: Work) -> Result<usize, String> {
        let handled = match work {
            Work::Send(batch) => self.send(batch).await?,
            Work::Take(batch) => self.take(batch).await?,
            Work::Cycle(batch) => {
                self.send(batch).await?;
                self.take(batch).await?
            }
        };
        if handled == 0 { Err("there was no message".into()) } else { Ok(handled) }
    }

    async fn send(&mut self, batch: usize) -> Result<usize, String> {
        match &mut self.kind {
            Kind::Sqs(client) => client.send(batch).await,
            Kind::Redis(client) => client.send(batch).await,
            Kind::Nats(client) => client.send(batch).await,
            Kind::Amqp(client) => client.send(batch).await,
            Kind::Postgres(client) => client.send(batch).await,
        }
    }

    async fn take(&mut self, batch: usize) -> Result<usize, String> {
        match &mut self.kind {
            Kind::Sqs(client) => client.take(batch).await,
            Kind::Redis(client) => client.take(batch).await,
            Kind::Nats(client) => client.take(batch).await,
            Kind::Amqp(client) => client.take(batch).await,
            Kind::Postgres(client) => client.take(batch).await,
        }
    }
}

/// Makes the queue if it is not there, and empties it.
pub(crate) async fn reset(endpoint: &Endpoint) -> Result<(), String> {
    match endpoint {
        Endpoint::Sqs(place) => sqs::reset(place).await,
        Endpoint::Redis(address) => redis::reset(*address).await,
        Endpoint::Nats(address) => nats::reset(*address).await,
        Endpoint::Amqp(place) => amqp::reset(*place).await,
        Endpoint::Postgres(address) => postgres::reset(*address).await,
    }
}

/// The text of a message: all of one length, hardly two alike.
pub(crate) fn body(number: usize) -> String {
    format!("{number:->BODY$}")
}
