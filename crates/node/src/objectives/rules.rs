//! Alerts that the file asks for in PromQL: whatever series a question answers with is an alert of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use control::{Happening, Level};
use kit::Timestamp;
use manifest::spec::AlertRule;
use telemetry::Query;
use telemetry::promql::kept::Kept;
use telemetry::promql::{self, Asked, Expr, Labels, Limits, Value};
use telemetry::slo::{Alarm, Change, Urgency};

use super::{Notice, moment_of};

/// How long one question may take.
const TIME: Duration = Duration::from_secs(2);
/// Alerts of one rule: further series are left out.
const MOST: usize = 100;

#[derive(Default)]
pub(super) struct Rules(BTreeMap<String, Rule>);

struct Rule {
    wanted: AlertRule,
    question: Expr,
    alarms: HashMap<Labels, (Alarm, f64)>,
}

/// What a question answered: series and their numbers.
pub(super) type Answers = Vec<(String, Vec<(Labels, f64)>)>;

impl Rules {
    /// Those that are the same go on. Gives what cannot be understood.
    pub(super) fn put(&mut self, wanted: &BTreeMap<String, AlertRule>) -> Vec<Happening> {
        self.0.retain(|name, rule| wanted.get(name) == Some(&rule.wanted));
        let mut failed = Vec::new();
        for (name, wanted) in wanted {
            if self.0.contains_key(name) {
                continue;
            }
            match promql::parse(&wanted.ask) {
                Ok(question) => {
                    let rule = Rule { wanted: wanted.clone(), question, alarms: HashMap::new() };
                    self.0.insert(name.clone(), rule);
                }
                Err(error) => failed.push(Happening {
                    level: Level::Warning,
                    kind: "alert.bad_rule",
                    service: None,
                    instance: None,
                    message: format!("the rule `{name}` asks nothing that is understood: {error}"),
                    code: Some("A0682"),
                    hint: Some("`telemetry.alerts.rules` takes PromQL".to_owned()),
                }),
            }
        }
        failed
    }

    /// What is to be asked.
    pub(super) fn asking(&self) -> Vec<(String, Expr)> {
        self.0.iter().map(|(name, rule)| (name.clone(), rule.question.clone())).collect()
    }

    /// Takes answers. Gives what has to be told.
    pub(super) fn answered(&mut self, answers: Answers, now: Timestamp) -> Vec<Notice> {
        let now_s = now.as_micros() / 1_000_000;
        let mut notices = Vec::new();
        for (name, series) in answers {
            let Some(rule) = self.0.get_mut(&name) else { continue }; // taken out meanwhile
            let hold_s = rule.wanted.hold.as_secs();
            let there: HashMap<Labels, f64> = series.into_iter().take(MOST).collect();
            for labels in there.keys() {
                if rule.alarms.len() < MOST && !rule.alarms.contains_key(labels) {
                    rule.alarms.insert(labels.clone(), (Alarm::default(), 0.0));
                }
            }
            for (labels, (alarm, last)) in &mut rule.alarms {
                let value = there.get(labels);
                *last = value.copied().unwrap_or(*last);
                match alarm.look(value.is_some(), now_s, hold_s) {
                    Some(Change::Fired { since_s }) => {
                        notices.push(notice(&name, labels, *last, since_s, None));
                    }
                    Some(Change::Resolved { since_s }) => {
                        notices.push(notice(&name, labels, *last, since_s, Some(now)));
                    }
                    None => {}
                }
            }
            rule.alarms.retain(|labels, (alarm, _)| *alarm != Alarm::default() || there.contains_key(labels));
        }
        notices
    }

    /// What fires.
    pub(super) fn firing(&self) -> Vec<Notice> {
        let of_rule = |(name, rule): (&String, &Rule)| {
            let fires = rule.alarms.iter().filter_map(|(labels, (alarm, last))| {
                Some(notice(name, labels, *last, alarm.firing_since_s()?, None))
            });
            fires.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_rule).collect()
    }
}

/// Asks; takes up to [`TIME`] for each question. What has no answer says nothing: neither that it holds nor that it does not.
pub(super) fn ask(asking: Vec<(String, Expr)>, query: &Query, now: Timestamp) -> Answers {
    let limits = Limits { time: TIME, ..Limits::default() };
    let mut answers = Vec::new();
    let at = Asked::once(i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX));
    for (name, question) in asking {
        let end = Instant::now() + TIME;
        let answer = promql::evaluate(&question, at, &Kept(query), &limits, &|| Instant::now() < end);
        let series = match answer {
            Ok(Value::Vector(rows)) => {
                rows.into_iter().filter_map(|row| Some((row.labels, row.cells.first().copied()??))).collect()
            }
            Ok(Value::Scalar(cells)) => {
                let holds = cells.first().copied().filter(|value| *value != 0.0 && !value.is_nan());
                holds.map(|value| (Labels::new(), value)).into_iter().collect()
            }
            Ok(Value::Matrix(_) | Value::Text(_)) => Vec::new(),
            Err(error) => {
                tracing::debug!("the rule `{name}` has no answer: {error}");
                continue;
            }
        };
        answers.push((name, series));
    }
    answers
}

fn notice(name: &str, labels: &Labels, value: f64, since_s: u64, ended: Option<Timestamp>) -> Notice {
    let label =
        |wanted: &str| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| value.as_str());
    let of: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
    let summary = match ended {
        None => format!("{name}{of}: {value}"),
        Some(_) => format!("{name}{of} is over"),
    };
    Notice {
        name: name.to_owned(),
        service: label("service").and_then(|service| service.parse().ok()),
        route: None,
        urgency: Urgency::Page,
        summary,
        since: moment_of(since_s),
        ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(ask: &str, hold_s: u64) -> (Rules, Vec<Happening>) {
        let mut rules = Rules::default();
        let wanted = AlertRule { ask: ask.into(), hold: Duration::from_secs(hold_s) };
        let failed = rules.put(&BTreeMap::from([("few".to_owned(), wanted)]));
        (rules, failed)
    }

    #[test]
    fn each_series_is_an_alert_of_its_own() {
        let (mut rules, failed) = rules("up == 0", 20);
        assert!(failed.is_empty());
        let series = |service: &str| (vec![("service".into(), service.into())], 3.0);
        let mut at = |second, services: &[&str]| {
            let answers = vec![("few".to_owned(), services.iter().map(|service| series(service)).collect())];
            let told = rules.answered(answers, moment_of(second));
            told.into_iter().map(|notice| (notice.summary, notice.ended.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(at(100, &["a"]), []);
        assert_eq!(at(120, &["a", "b"]), [("few (service=a): 3".to_owned(), false)]);
        assert_eq!(at(130, &["a"]), []);
        assert_eq!(at(430, &[]), [("few (service=a) is over".to_owned(), true)]);
        assert!(rules.firing().is_empty());
    }

    #[test]
    fn a_rule_that_is_no_question_is_told() {
        let (rules, failed) = rules("up >", 0);
        assert!(rules.asking().is_empty());
        assert_eq!((failed[0].code, failed[0].kind), (Some("A0682"), "alert.bad_rule"));
    }
}
