//! What services send of their own, decoded and offered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use manifest::spec::ServiceName;
use sha2::{Digest, Sha256};
use telemetry::model::{MetricPoint, MetricValue, Text};
use telemetry::otlp::{self, Decoded, Encoding, Signal};
use telemetry::sentry::{self, Sender};
use telemetry::{Intake, Offered};

use super::receiver::{NotTaken, Taken, Taker};

/// Which service a project of Sentry is: SDKs insist on a number.
#[derive(Default)]
pub(super) struct Projects(ArcSwap<BTreeMap<u32, Text>>);

impl Projects {
    pub(super) fn put<'s>(&self, services: impl Iterator<Item = &'s ServiceName>) {
        let projects = services.map(|name| (project_of(name.as_str()), Text::from(name.as_str())));
        self.0.store(Arc::new(projects.collect()));
    }

    fn service(&self, project: &str) -> Option<Text> {
        self.0.load().get(&project.parse().ok()?).cloned()
    }
}

/// The number of a service's project: the same in every run.
pub(super) fn project_of(service: &str) -> u32 {
    let digest = Sha256::digest(service.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1 | 1
}

/// The public key in its DSN. It names the sender and protects nothing.
pub(super) fn key_of(service: &str) -> String {
    let digest = Sha256::digest(format!("sentry {service}").as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes and offers.
pub(super) struct Taking {
    intake: Intake,
    projects: Arc<Projects>,
}

impl Taking {
    pub(super) fn new(intake: Intake, projects: Arc<Projects>) -> Self {
        Self { intake, projects }
    }
}

impl Taker for Taking {
    fn otlp(&self, signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Taken, NotTaken> {
        let malformed = |bad: otlp::BadRequest| NotTaken::Malformed(bad.to_string());
        match signal {
            Signal::Traces => {
                let decoded = otlp::traces(encoding, body).map_err(malformed)?;
                taken(decoded, |spans| self.intake.offer_spans(spans))
            }
            Signal::Logs => {
                let decoded = otlp::logs(encoding, body).map_err(malformed)?;
                taken(decoded, |records| self.intake.offer_logs(records))
            }
            Signal::Metrics => {
                let decoded = otlp::metrics(encoding, body).map_err(malformed)?;
                taken(decoded, |points| self.intake.offer_points(points))
            }
        }
    }

    fn sentry(&self, project: &str, store: bool, body: &[u8]) -> Result<Option<String>, NotTaken> {
        let Some(service) = self.projects.service(project) else {
            return Err(NotTaken::Malformed("no service has this project: it is in its `SENTRY_DSN`".into()));
        };
        let sender = Sender { service, instance: Text::default() };
        let read = if store { sentry::store(body, &sender) } else { sentry::envelope(body, &sender) };
        let envelope = read.map_err(|bad| NotTaken::Malformed(bad.to_string()))?;
        let offered = [
            self.intake.offer_errors(envelope.errors),
            self.intake.offer_spans(envelope.spans),
            self.intake.offer_logs(envelope.logs),
            self.intake.offer_points(counted(&sender.service, &envelope.counted)),
        ];
        // Part of it may be in already: to have it again is better than to lose the rest.
        if offered.iter().any(|offered| offered.full > 0) {
            Err(NotTaken::Full)
        } else {
            Ok(envelope.event_id)
        }
    }
}

fn taken<R>(decoded: Decoded<R>, offer: impl FnOnce(Vec<R>) -> Offered) -> Result<Taken, NotTaken> {
    let offered = offer(decoded.records);
    if offered.full > 0 {
        return Err(NotTaken::Full);
    }
    let mut why = decoded.why;
    if offered.refused > 0 && why.is_empty() {
        why = "some records have no id, no name or no number".into();
    }
    Ok(Taken { rejected: decoded.rejected + offered.refused as u64, why })
}

/// What came beside errors, counted: sessions, check-ins, attachments.
fn counted(service: &Text, items: &BTreeMap<&'static str, u64>) -> Vec<MetricPoint> {
    let point = |(item, count): (&&'static str, &u64)| MetricPoint {
        name: Text::from_static("atoll_sentry_items_total"),
        unit: Text::default(),
        labels: vec![
            (Text::from_static("service"), service.clone()),
            (Text::from_static("item"), Text::from_static(item)),
        ],
        time_ns: 0, // when it arrives
        value: MetricValue::Increase(*count as f64),
    };
    items.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_a_number_that_sdks_take_and_leads_to_its_service() {
        let projects = Projects::default();
        let names: Vec<ServiceName> = ["orders", "payments"].map(|name| name.parse().unwrap()).into();
        projects.put(names.iter());
        for name in &names {
            let project = project_of(name.as_str());
            assert!(project > 0 && i32::try_from(project).is_ok());
            assert_eq!(projects.service(&project.to_string()).unwrap(), name.as_str());
            assert_eq!(key_of(name.as_str()).len(), 32);
        }
        assert_eq!(projects.service("1"), None);
        assert_eq!(projects.service("x"), None);
    }
}
