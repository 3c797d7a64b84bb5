//! `slo`, `measures` and `telemetry.alerts`: what is promised, and who is told when a promise is at risk.

use super::decode::record;
use super::scalar::{Part, Time, Word};
use super::shape::{Items, Names};

record! {
    /// What is promised of a service or a route.
    pub struct SloText: "an objective" {
        /// The share of requests that do not fail: `99.9%`.
        availability: Part,
        /// The share of requests that are answered within a time: `99% < 100ms`.
        latency: Word,
        /// Over how long both hold.
        window: Time,
    }
}

record! {
    /// A series that is made of what a service logs.
    pub struct MeasureText: "a measure" {
        /// The field of a log record that is added up; left out: records are counted.
        field: String,
        /// Words that the text of the record has.
        text: String,
    }
}

record! {
    /// Who is told when something is wrong.
    pub struct AlertsText: "an alerts section" {
        /// Where alerts are posted, as Alertmanager posts them: `https://…`.
        webhook: String,
        /// A topic of the app on which they are published.
        topic: String,
        /// Who gets them by e-mail.
        mail: MailText,
        /// What else is an alert: questions in PromQL, by name.
        rules: Names<RuleText>,
    }
}

record! {
    /// E-mail, handed to a server that brings it on.
    pub struct MailText: "a mail section" requires ["server", "from", "to"] {
        /// The server: `smtp.example`, or `smtp.example:2525`.
        server: Word,
        /// `starttls` (default), `implicit` (default of port 465), or `off`: only on this machine.
        tls: Word,
        /// Who hands it in.
        user: String,
        /// The user's password: `${SMTP_PASSWORD}`.
        password: String,
        /// Who writes: `atoll@shop.example`, or `Atoll <atoll@shop.example>`.
        from: String,
        /// Who is written to; 20 at most.
        to: Items<String>,
    }
}

record! {
    /// A question in PromQL whose every answer is an alert.
    pub struct RuleText: "a rule" requires ["ask"] {
        /// The question: `sum(rate(orders_failed_total[5m])) > 1`.
        ask: String,
        /// For how long it has to have an answer.
        hold: Time,
    }
}
