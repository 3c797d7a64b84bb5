//! Series made of what services log: how much a field adds up to, how many records there were (`measures` of a service).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use manifest::spec::{App, Measure};
use telemetry::model::{LogRecord, MetricPoint, MetricValue, Text, Value};
use telemetry::{LogFilter, TailItem, Telemetry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two points of a series.
const EVERY: Duration = Duration::from_secs(5);

/// What is measured of what.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measures(Arc<Vec<One>>);

#[derive(Clone, Debug, PartialEq)]
struct One {
    service: Text,
    name: Text,
    field: Option<String>,
    filter: LogFilter,
}

impl Measures {
    pub(super) fn of(app: &App) -> Self {
        let one = |service: &str, name: &str, measure: &Measure| One {
            service: service.into(),
            name: name.into(),
            field: measure.field.clone(),
            filter: LogFilter {
                service: Some(service.to_owned()),
                words: measure
                    .text
                    .iter()
                    .flat_map(|text| text.split_whitespace())
                    .map(str::to_owned)
                    .collect(),
                ..LogFilter::default()
            },
        };
        let of_service = |service: &'_ manifest::spec::Service| {
            let all =
                service.measures.iter().map(|(name, measure)| one(service.name.as_str(), name, measure));
            all.collect::<Vec<_>>()
        };
        Self(Arc::new(app.services.values().flat_map(of_service).collect()))
    }

    /// Adds a record to the sums of those that it is meant by.
    fn add(&self, record: &LogRecord, sums: &mut BTreeMap<usize, f64>) {
        for (place, one) in self.0.iter().enumerate() {
            if record.service == *one.service && one.filter.matches(record) {
                match &one.field {
                    None => *sums.entry(place).or_default() += 1.0,
                    Some(field) => {
                        if let Some(value) = number(record, field) {
                            *sums.entry(place).or_default() += value;
                        }
                    }
                }
            }
        }
    }

    fn points(&self, sums: &mut BTreeMap<usize, f64>) -> Vec<MetricPoint> {
        let point = |(place, by): (usize, f64)| {
            let one = self.0.get(place)?;
            Some(MetricPoint {
                name: one.name.clone(),
                unit: Text::default(),
                labels: vec![(Text::from_static("service"), one.service.clone())],
                time_ns: 0, // when it arrives
                value: MetricValue::Increase(by),
            })
        };
        std::mem::take(sums).into_iter().filter_map(point).collect()
    }
}

/// The number in a field of a record; a text that is one counts.
#[expect(clippy::cast_precision_loss, reason = "a measure")]
fn number(record: &LogRecord, field: &str) -> Option<f64> {
    let (_, value) = record.attributes.iter().find(|(name, _)| *name == field)?;
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Follows what is logged until told to stop.
pub(super) async fn take(
    mut wanted: watch::Receiver<Measures>,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
) {
    let intake = telemetry.intake();
    loop {
        let measures = wanted.borrow_and_update().clone();
        let mut sums = BTreeMap::new();
        let mut tail = (!measures.0.is_empty()).then(|| telemetry.query().tail(LogFilter::default()));
        let mut every = tokio::time::interval(EVERY);
        let stops = loop {
            tokio::select! {
                item = async { tail.as_mut()?.next().await }, if tail.is_some() => match item {
                    Some(TailItem::Record(hit)) => measures.add(&hit.record, &mut sums),
                    Some(TailItem::Lost(count)) => {
                        tracing::debug!("{count} records came faster than they could be measured");
                    }
                    None => break true, // telemetry is closed
                },
                _ = every.tick(), if !sums.is_empty() => drop(intake.offer_points(measures.points(&mut sums))),
                changed = wanted.changed() => break changed.is_err(),
                () = stop.cancelled() => break true,
            }
        };
        intake.offer_points(measures.points(&mut sums));
        if stops {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::model::Severity;

    #[test]
    fn a_field_is_added_up_where_the_text_has_the_words() {
        let one = |name: &str, field: Option<&str>, words: &[&str]| One {
            service: "orders".into(),
            name: name.into(),
            field: field.map(str::to_owned),
            filter: LogFilter {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                ..LogFilter::default()
            },
        };
        let measures = Measures(Arc::new(vec![
            one("revenue", Some("amount"), &["order", "placed"]),
            one("orders", None, &["placed"]),
        ]));
        let record = |service: &str, body: &str, amount: Value| LogRecord {
            time_ns: 1,
            service: service.into(),
            instance: Text::default(),
            severity: Severity::Info,
            body: body.into(),
            attributes: vec![("amount".into(), amount)],
            trace: None,
            span: None,
        };
        let mut sums = BTreeMap::new();
        measures.add(&record("orders", "Order placed", Value::Int(5)), &mut sums);
        measures.add(&record("orders", "order PLACED", Value::Text("2.5".into())), &mut sums);
        measures.add(&record("orders", "placed", Value::Text("much".into())), &mut sums);
        measures.add(&record("orders", "order replaced", Value::Int(100)), &mut sums);
        measures.add(&record("payments", "order placed", Value::Int(100)), &mut sums);
        let points = measures.points(&mut sums);
        let shown: Vec<_> = points.iter().map(|point| (point.name.as_str(), point.value.clone())).collect();
        assert_eq!(shown, [("revenue", MetricValue::Increase(7.5)), ("orders", MetricValue::Increase(3.0))]);
        assert!(sums.is_empty());
    }
}
