//! What a queue and a topic *are*: no sockets, no JSON, no protocol. Cores decide without a clock and without I/O;
//! shells read the clock, commit what was decided, and wake whoever waits.
//!
//! Read in this order: [`name`], [`queue`] (what is sent and received, and the core that decides), [`spaces`] (where
//! it is kept), [`shell`] ([`Pipes`] and [`Queue`], which everybody else uses), [`error`].

pub mod error;
pub mod name;
pub mod queue;
pub mod shell;
pub mod spaces;
pub mod topic;

pub use error::{
    BadSettings, CreateError, MoveError, OpenError, PipeError, PurgeError, ReceiptError, ReceiveError,
    SendError, SetError,
};
pub use name::{BadName, QueueName, TopicName};
pub use queue::message::{Attribute, AttributeValue, Delivery, Outgoing, Sent, context};
pub use queue::receipt::Receipt;
pub use queue::settings::{DeadLetter, DeadLettersFrom, Fifo, Settings};
pub use shell::Queue;
pub use shell::{
    Counts, Created, Declared, Limits, MoveId, MoveState, MoveTask, Moved, Options, Pipes, Receive, Watch,
};
pub use spaces::SPACES;
