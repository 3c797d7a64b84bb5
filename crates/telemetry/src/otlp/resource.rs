//! Who sent something, and what of that every record carries.

use crate::model::{Attributes, MetricPoint, Text, Value};

/// Attributes of a resource that every record of it carries; the others say the same in each record of a process.
const CARRIED: [&str; 7] = [
    "service.version",
    "service.namespace",
    "service.instance.id",
    "deployment.environment.name",
    "deployment.environment",
    "host.name",
    "k8s.pod.name",
];
const SERVICE: &str = "service.name";
const INSTANCE: &str = "service.instance.id";
const SCOPE: Text = Text::from_static("otel.scope.name");

/// Who sent something.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    pub(super) service: Text,
    pub(super) instance: Text,
    carried: Attributes,
}

impl Resource {
    pub(super) fn new(attributes: Attributes) -> Self {
        let text = |name: &str| {
            let found = attributes.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| Text::from(value.as_text().as_ref())).unwrap_or_default()
        };
        let (service, instance) = (text(SERVICE), text(INSTANCE));
        let carried = attributes.into_iter().filter(|(key, _)| CARRIED.contains(&key.as_str())).collect();
        Self { service, instance, carried }
    }

    /// Adds to attributes what every record of this resource and scope carries.
    pub(super) fn extend(&self, attributes: &mut Attributes, scope: &Text) {
        attributes.extend(self.carried.iter().cloned());
        if !scope.is_empty() {
            attributes.push((SCOPE, Value::Text(scope.clone())));
        }
    }

    /// The labels of a point: its attributes, and who sent it.
    pub(super) fn labels(&self, attributes: Attributes) -> Vec<(Text, Text)> {
        let own = attributes.into_iter().map(|(key, value)| match value {
            Value::Text(text) => (key, text),
            value => (key, value.as_text().as_ref().into()),
        });
        let sender = [("service", &self.service), ("instance", &self.instance)];
        let sender = sender.into_iter().filter(|(_, text)| !text.is_empty());
        sender.map(|(key, text)| (Text::from_static(key), text.clone())).chain(own).collect()
    }
}

/// What the points of a metric have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Metric {
    pub(super) name: Text,
    pub(super) unit: Text,
}

impl Metric {
    pub(super) fn point(
        &self,
        resource: &Resource,
        attributes: Attributes,
        time_ns: u64,
        value: crate::model::MetricValue,
    ) -> MetricPoint {
        MetricPoint {
            name: self.name.clone(),
            unit: self.unit.clone(),
            labels: resource.labels(attributes),
            time_ns,
            value,
        }
    }
}

/// The value of a sum.
pub(super) const fn sum(value: f64, monotonic: bool, cumulative: bool) -> crate::model::MetricValue {
    use crate::model::MetricValue;
    match (monotonic, cumulative) {
        (true, true) => MetricValue::Counter(value),
        (true, false) => MetricValue::Increase(value),
        (false, _) => MetricValue::Gauge(value),
    }
}
