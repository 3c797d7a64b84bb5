//! What is promised of a service or a route, and who is told when a promise is at risk.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::units::Share;

use super::PipeName;

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// The share of requests that do not fail.
    pub availability: Option<Share>,
    /// The share of requests that are answered within a time.
    pub latency: Option<LatencySlo>,
    /// Over how long both hold.
    pub window: Duration,
}

/// A share of requests, and the time within which they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySlo {
    /// Of those that do not fail.
    pub share: Share,
    /// To the end of the answer.
    pub within: Duration,
}

impl Slo {
    /// Where the file says nothing.
    pub const WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
    /// The shortest: the windows of alerts are parts of it.
    pub const MIN_WINDOW: Duration = Duration::from_secs(3600);
    /// The longest.
    pub const MAX_WINDOW: Duration = Duration::from_secs(90 * 24 * 3600);
}

/// Who is told, and of what beside promises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    /// Where alerts are posted as JSON.
    pub webhook: Option<String>,
    /// A topic of the app on which they are published.
    pub topic: Option<PipeName>,
    /// Who gets them by e-mail.
    pub mail: Option<Mail>,
    /// What else is an alert, by name.
    pub rules: BTreeMap<String, AlertRule>,
}

/// E-mail, handed to a server that brings it on.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The server: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How what is said to it is kept from others.
    pub tls: MailTls,
    /// Who hands it in: a user and the password. Never without TLS, but on this machine.
    pub login: Option<(String, String)>,
    /// Who writes.
    pub from: MailAddress,
    /// Who is written to; at least one, [`Self::MOST`] at most.
    pub to: Vec<MailAddress>,
}

impl Mail {
    /// Addresses at most.
    pub const MOST: usize = 20;
}

// Not derived: the password is nobody's to print.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, tls, login, from, to } = self;
        let user = login.as_ref().map(|(user, _)| user);
        let server = format_args!("{host}:{port}");
        f.debug_struct("Mail")
            .field("server", &server)
            .field("tls", tls)
            .field("user", &user)
            .field("from", from)
            .field("to", to)
            .finish()
    }
}

/// How what is said to a mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// The server is asked for it first, and must have it.
    StartTls,
    /// From the first byte on.
    Implicit,
    /// Not at all: it is this machine.
    Off,
}

impl MailTls {
    /// The port where the file names none.
    pub fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::Off => 25,
        }
    }
}

/// An address of e-mail: in ASCII, one line, with nothing in it that would have to be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress {
    /// What stands before it: `Atoll <atoll@shop.example>`.
    pub name: Option<String>,
    /// `atoll@shop.example`.
    pub address: String,
}

/// A question whose every answer is an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// In PromQL.
    pub ask: String,
    /// For how long it has to have an answer.
    pub hold: Duration,
}

/// A number that services log becomes a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The field that is added up; `None`: records are counted.
    pub field: Option<String>,
    /// Words that the text of a record has.
    pub text: Option<String>,
}
