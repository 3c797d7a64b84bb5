//! Series made of what services log: how much a field adds up to, how many records there were (`measures` of a service). Each
//! begins at 0 and has a point every ten seconds, whether anything was logged or not: that nothing was sold is a number, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use manifest::spec::{App, Measure};
use telemetry::model::{LogRecord, MetricPoint, MetricValue, Text, Value};
use telemetry::{LogFilter, TailItem, Telemetry};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two points of a series.
const EVERY: Duration = Duration::from_secs(10);

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
}

/// What each adds up to.
#[derive(Default)]
struct Totals {
    of: Measures,
    /// In the same order.
    sums: Vec<f64>,
}

impl Totals {
    /// The totals of others; those of measures that are the same go on.
    fn of(measures: Measures, before: &Self) -> Self {
        let known: HashMap<(&str, &str), (&One, f64)> = before
            .of
            .0
            .iter()
            .zip(&before.sums)
            .map(|(one, sum)| ((&*one.service, &*one.name), (one, *sum)))
            .collect();
        let sum = |one: &One| match known.get(&(&*one.service, &*one.name)) {
            Some((same, sum)) if *same == one => *sum,
            _ => 0.0,
        };
        let sums = measures.0.iter().map(sum).collect();
        Self { of: measures, sums }
    }

    /// Adds a record to those that it is meant by.
    fn add(&mut self, record: &LogRecord) {
        for (one, sum) in self.of.0.iter().zip(&mut self.sums) {
            if record.service == *one.service && one.filter.matches(record) {
                let by = match &one.field {
                    None => 1.0,
                    // A sum that falls would count as one that began anew.
                    Some(field) => number(record, field).filter(|by| *by >= 0.0).unwrap_or_default(),
                };
                let grown = *sum + by;
                *sum = if grown.is_finite() { grown } else { by };
            }
        }
    }

    fn points(&self) -> Vec<MetricPoint> {
        let point = |(one, sum): (&One, &f64)| MetricPoint {
            name: one.name.clone(),
            unit: Text::default(),
            labels: vec![(Text::from_static("service"), one.service.clone())],
            time_ns: 0, // when it arrives
            value: MetricValue::Counter(*sum),
        };
        self.of.0.iter().zip(&self.sums).map(point).collect()
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
    let mut totals = Totals::default();
    loop {
        totals = Totals::of(wanted.borrow_and_update().clone(), &totals);
        let measured = !totals.sums.is_empty();
        let mut tail = measured.then(|| telemetry.query().tail(LogFilter::default()));
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stops = loop {
            tokio::select! {
                item = async { tail.as_mut()?.next().await }, if tail.is_some() => match item {
                    Some(TailItem::Record(hit)) => totals.add(&hit.record),
                    Some(TailItem::Lost(count)) => {
                        tracing::debug!("{count} records came faster than they could be measured");
                    }
                    None => break true, // telemetry is closed
                },
                _ = every.tick(), if measured => drop(intake.offer_points(totals.points())),
                changed = wanted.changed() => break changed.is_err(),
                () = stop.cancelled() => break true,
            }
        };
        if measured {
            intake.offer_points(totals.points());
        }
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
        let mut totals = Totals::of(measures.clone(), &Totals::default());
        let shown = |totals: &Totals| {
            let points = totals.points().into_iter();
            points.map(|point| (point.name.to_string(), point.value)).collect::<Vec<_>>()
        };
        let both = |revenue, orders| {
            [("revenue", revenue), ("orders", orders)]
                .map(|(name, sum)| (name.to_owned(), MetricValue::Counter(sum)))
        };
        assert_eq!(shown(&totals), both(0.0, 0.0), "that there is nothing is a number");
        totals.add(&record("orders", "Order placed", Value::Int(5)));
        totals.add(&record("orders", "order PLACED", Value::Text("2.5".into())));
        totals.add(&record("orders", "placed", Value::Text("much".into())));
        totals.add(&record("orders", "order replaced", Value::Int(100)));
        totals.add(&record("payments", "order placed", Value::Int(100)));
        assert_eq!(shown(&totals), both(7.5, 3.0));
        assert_eq!(shown(&totals), both(7.5, 3.0), "a sum stands where nothing comes");
        totals.add(&record("orders", "order placed", Value::Int(-5)));
        assert_eq!(shown(&totals), both(7.5, 4.0), "no sum falls");
        // Others come and go; what is measured as before goes on.
        let counted = one("revenue", None, &["order", "placed"]);
        let next = Totals::of(Measures(Arc::new(vec![measures.0[1].clone(), counted])), &totals);
        assert_eq!(next.sums, [4.0, 0.0]);
    }
}
