//! One queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use kit::Timestamp;

use super::options::{Counts, Receive};
use crate::error::{PipeError, PurgeError, ReceiptError, ReceiveError, SendError, SetError};
use crate::name::QueueName;
use crate::queue::message::{Delivery, Outgoing, Sent};
use crate::queue::receipt::Receipt;
use crate::queue::settings::Settings;

/// One queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue;

#[allow(clippy::todo, unused_variables, clippy::needless_pass_by_value, clippy::unused_async)]
impl Queue {
    /// Its name.
    pub fn name(&self) -> &QueueName {
        todo!()
    }
    /// Its settings.
    pub fn settings(&self) -> Arc<Settings> {
        todo!()
    }
    /// Its tags.
    pub fn tags(&self) -> BTreeMap<String, String> {
        todo!()
    }
    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        todo!()
    }
    /// When its settings were changed last.
    pub fn changed_at(&self) -> Timestamp {
        todo!()
    }
    /// Where it comes from.
    pub fn declared(&self) -> super::Declared {
        todo!()
    }
    /// How many messages it has.
    pub fn counts(&self) -> Counts {
        todo!()
    }
    /// Changes its settings.
    pub async fn set(&self, settings: Settings) -> Result<(), SetError> {
        todo!()
    }
    /// Changes its tags: these are all it has from now on.
    pub async fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<(), PipeError> {
        todo!()
    }
    /// Sends messages in one transaction.
    pub async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<Result<Sent, SendError>>, PipeError> {
        todo!()
    }
    /// Receives messages.
    pub async fn receive(&self, want: Receive) -> Result<Vec<Delivery>, ReceiveError> {
        todo!()
    }
    /// Deletes messages.
    pub async fn delete(&self, receipts: Vec<Receipt>) -> Result<Vec<Result<(), ReceiptError>>, PipeError> {
        todo!()
    }
    /// Changes for how long messages are hidden, from now on, in seconds.
    pub async fn change_visibility(
        &self,
        changes: Vec<(Receipt, u32)>,
    ) -> Result<Vec<Result<(), ReceiptError>>, PipeError> {
        todo!()
    }
    /// Removes every message.
    pub async fn purge(&self) -> Result<(), PurgeError> {
        todo!()
    }
    /// Looks at messages that could be received; changes nothing.
    pub async fn peek(&self, limit: usize) -> Result<Vec<Delivery>, PipeError> {
        todo!()
    }
    /// A receipt as text.
    pub fn receipt_text(&self, receipt: &Receipt) -> String {
        todo!()
    }
    /// A receipt from its text, if it was made here.
    pub fn parse_receipt(&self, text: &str) -> Result<Receipt, ReceiptError> {
        todo!()
    }
}
