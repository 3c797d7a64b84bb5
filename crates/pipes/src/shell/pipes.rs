//! All queues of a store.

use std::collections::BTreeMap;

use super::options::{Created, Declared, MoveId, MoveTask, Options};
use super::queue::Queue;
use crate::error::{CreateError, MoveError, OpenError, PipeError, SendError};
use crate::name::QueueName;
use crate::queue::message::{Outgoing, Sent};
use crate::queue::settings::Settings;

/// All queues of a store. Cheap to clone.
#[derive(Clone)]
pub struct Pipes;

#[allow(clippy::todo, unused_variables, clippy::needless_pass_by_value, clippy::unused_async)]
impl Pipes {
    /// Reads every queue back from the store.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        todo!()
    }
    /// Makes a queue.
    pub async fn create_queue(
        &self,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        declared: Declared,
    ) -> Result<Created, CreateError> {
        todo!()
    }
    /// A queue by its name.
    pub fn queue(&self, name: &QueueName) -> Option<Queue> {
        todo!()
    }
    /// Names of queues in order.
    pub fn queues(&self, prefix: &str, after: Option<&QueueName>, limit: usize) -> Vec<QueueName> {
        todo!()
    }
    /// Deletes a queue.
    pub async fn delete_queue(&self, name: &QueueName) -> Result<(), PipeError> {
        todo!()
    }
    /// Sends to several queues in one transaction.
    pub async fn send_all(
        &self,
        parts: Vec<(QueueName, Vec<Outgoing>)>,
    ) -> Result<Vec<Vec<Result<Sent, SendError>>>, PipeError> {
        todo!()
    }
    /// Queues that send their dead letters to this one.
    pub fn dead_letter_sources(&self, of: &QueueName) -> Vec<QueueName> {
        todo!()
    }
    /// Begins to move messages out of a dead-letter queue.
    pub async fn start_move(
        &self,
        from: &QueueName,
        to: Option<QueueName>,
        per_second: Option<u32>,
    ) -> Result<MoveId, MoveError> {
        todo!()
    }
    /// Move tasks of a dead-letter queue, the newest first, at most ten.
    pub fn moves(&self, from: &QueueName) -> Vec<MoveTask> {
        todo!()
    }
    /// Cancels a move task.
    pub async fn cancel_move(&self, id: &MoveId) -> Result<u64, MoveError> {
        todo!()
    }
}
