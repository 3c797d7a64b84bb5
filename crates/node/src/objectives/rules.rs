//! Alerts that the file asks for in PromQL: whatever series a question answers with is an alert of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use control::{Happening, Level};
use kit::Timestamp;
use manifest::spec::AlertRule;
use telemetry::Query;
use telemetry::promql::kept::Kept;
use telemetry::promql::{self, Asked, Expr, Labels, Limits, NAME, PromError, Value};
use telemetry::slo::{Alarm, Change, Urgency};
use tokio_util::sync::CancellationToken;

use super::firing::Fires;
use super::{Notice, moment_of};

/// How long one question may take.
const TIME: Duration = Duration::from_secs(2);
/// Alerts of one rule: further series are left out.
const MOST: usize = 100;
/// Seconds between two times that a rule is told to have no answer.
const UNANSWERED_S: u64 = 3600;

#[derive(Default)]
pub(super) struct Rules(BTreeMap<String, Rule>);

struct Rule {
    wanted: AlertRule,
    question: Expr,
    alarms: HashMap<Labels, (Alarm, f64)>,
    /// When it was told last that it has no answer.
    unanswered_s: Option<u64>,
}

/// What a question answered: series and their numbers.
pub(super) type Answer = Result<Vec<(Labels, f64)>, PromError>;

impl Rules {
    /// Those that are the same go on. Gives what cannot be understood, and what fired of those that go.
    pub(super) fn put(
        &mut self,
        wanted: &BTreeMap<String, AlertRule>,
        now: Timestamp,
    ) -> (Vec<Happening>, Vec<Notice>) {
        let mut ended = Vec::new();
        self.0.retain(|name, rule| {
            let stays = wanted.get(name) == Some(&rule.wanted);
            if !stays {
                ended.extend(rule.firing(name, Some(now)));
            }
            stays
        });
        let mut failed = Vec::new();
        for (name, wanted) in wanted {
            if self.0.contains_key(name) {
                continue;
            }
            match promql::parse(&wanted.ask) {
                Ok(question) => {
                    let rule =
                        Rule { wanted: wanted.clone(), question, alarms: HashMap::new(), unanswered_s: None };
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
        (failed, ended)
    }

    /// What is to be asked.
    pub(super) fn asking(&self) -> Vec<(String, AlertRule, Expr)> {
        let one = |(name, rule): (&String, &Rule)| (name.clone(), rule.wanted.clone(), rule.question.clone());
        self.0.iter().map(one).collect()
    }

    /// Takes the answer to what a rule asked. Gives what has to be told.
    pub(super) fn answered(
        &mut self,
        name: &str,
        asked: &AlertRule,
        answer: Answer,
        now: Timestamp,
    ) -> (Vec<Notice>, Option<Happening>) {
        let Some(rule) = self.0.get_mut(name).filter(|rule| rule.wanted == *asked) else {
            return (Vec::new(), None); // taken out meanwhile
        };
        let now_s = now.as_micros() / 1_000_000;
        match answer {
            Ok(series) => (rule.answered(name, series, now), None),
            Err(error) => {
                let told = rule.unanswered_s.is_some_and(|told_s| now_s < told_s + UNANSWERED_S);
                if !told {
                    rule.unanswered_s = Some(now_s);
                }
                (Vec::new(), (!told).then(|| unanswered(name, &error)))
            }
        }
    }

    /// Goes on from what fired for a node before this one, if its rule is still the same.
    pub(super) fn restore(&mut self, fired: &Fires, now: Timestamp) -> bool {
        let (Some(rule), Some(asked)) = (self.0.get_mut(&fired.name), fired.rule()) else { return false };
        let goes_on = rule.wanted == asked && rule.alarms.len() < MOST;
        if goes_on {
            // How much it is the next answer says.
            rule.alarms.insert(fired.labels(), (fired.alarm(now.as_micros() / 1_000_000), f64::NAN));
        }
        goes_on
    }

    /// What fires, to be kept.
    pub(super) fn fires(&self) -> Vec<Fires> {
        let of_rule = |(name, rule): (&String, &Rule)| {
            let fires = rule.firing(name, None);
            fires.iter().map(|notice| Fires::new(notice, Some(&rule.wanted))).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_rule).collect()
    }

    /// What fires.
    pub(super) fn firing(&self) -> Vec<Notice> {
        self.0.iter().flat_map(|(name, rule)| rule.firing(name, None)).collect()
    }
}

impl Rule {
    fn answered(&mut self, name: &str, series: Vec<(Labels, f64)>, now: Timestamp) -> Vec<Notice> {
        let (now_s, hold_s) = (now.as_micros() / 1_000_000, self.wanted.hold.as_secs());
        let there: HashMap<Labels, f64> = series.into_iter().take(MOST).collect();
        for labels in there.keys() {
            if self.alarms.len() < MOST && !self.alarms.contains_key(labels) {
                self.alarms.insert(labels.clone(), (Alarm::default(), 0.0));
            }
        }
        let mut notices = Vec::new();
        for (labels, (alarm, last)) in &mut self.alarms {
            let value = there.get(labels);
            *last = value.copied().unwrap_or(*last);
            match alarm.look(value.is_some(), now_s, hold_s) {
                Some(Change::Fired { since_s }) => {
                    notices.push(notice(name, labels, *last, since_s, None));
                }
                Some(Change::Resolved { since_s }) => {
                    notices.push(notice(name, labels, *last, since_s, Some(now)));
                }
                None => {}
            }
        }
        self.alarms.retain(|labels, (alarm, _)| *alarm != Alarm::default() || there.contains_key(labels));
        notices
    }

    /// What fires; or did, up to a moment.
    fn firing(&self, name: &str, ended: Option<Timestamp>) -> Vec<Notice> {
        let one = |(labels, (alarm, last)): (&Labels, &(Alarm, f64))| {
            Some(notice(name, labels, *last, alarm.firing_since_s()?, ended))
        };
        self.alarms.iter().filter_map(one).collect()
    }
}

/// Asks; takes up to [`TIME`]. What has no answer says nothing: neither that it holds nor that it does not.
pub(super) fn ask(question: &Expr, query: &Query, now: Timestamp, stop: &CancellationToken) -> Answer {
    let limits = Limits { time: TIME, ..Limits::default() };
    let at = Asked::once(i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX));
    let end = Instant::now() + TIME;
    let stop = stop.clone();
    let may_go_on = move || Instant::now() < end && !stop.is_cancelled();
    let query = query.as_long_as(may_go_on.clone());
    Ok(match promql::evaluate(question, at, &Kept(&query), &limits, &may_go_on)? {
        Value::Vector(rows) => {
            rows.into_iter().filter_map(|row| Some((row.labels, row.cells.first().copied()??))).collect()
        }
        Value::Scalar(cells) => {
            let holds = cells.first().copied().filter(|value| *value != 0.0 && !value.is_nan());
            holds.map(|value| (Labels::new(), value)).into_iter().collect()
        }
        Value::Matrix(_) | Value::Text(_) => Vec::new(),
    })
}

fn unanswered(name: &str, error: &PromError) -> Happening {
    Happening {
        level: Level::Warning,
        kind: "alert.no_answer",
        service: None,
        instance: None,
        message: format!("the rule `{name}` has no answer: {error}"),
        code: Some("A0684"),
        hint: Some("until it has one nothing is told of it: ask about less time, or fewer series".to_owned()),
    }
}

fn notice(name: &str, series: &Labels, value: f64, since_s: u64, ended: Option<Timestamp>) -> Notice {
    let label =
        |wanted: &str| series.iter().find(|(label, _)| *label == wanted).map(|(_, value)| value.as_str());
    let told = series.iter().filter(|(label, _)| *label != NAME);
    let of: Vec<String> = told.map(|(label, value)| format!("{label}={value}")).collect();
    let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
    let summary = match ended {
        None => format!("{name}{of}: {value}"),
        Some(_) => format!("{name}{of} is over"),
    };
    Notice {
        name: name.to_owned(),
        service: label("service").and_then(|service| service.parse().ok()),
        route: None,
        labels: series.clone(),
        urgency: Urgency::Page,
        summary,
        since: moment_of(since_s),
        ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ask: &str, hold_s: u64) -> AlertRule {
        AlertRule { ask: ask.into(), hold: Duration::from_secs(hold_s) }
    }

    fn only(rule: &AlertRule) -> BTreeMap<String, AlertRule> {
        BTreeMap::from([("few".to_owned(), rule.clone())])
    }

    fn series(service: &str) -> (Labels, f64) {
        (vec![(NAME.into(), "up".into()), ("service".into(), service.into())], 3.0)
    }

    fn told(notices: Vec<Notice>) -> Vec<(String, bool)> {
        notices.into_iter().map(|notice| (notice.summary, notice.ended.is_some())).collect()
    }

    #[test]
    fn each_series_is_an_alert_of_its_own() {
        let (mut rules, rule) = (Rules::default(), rule("up == 0", 20));
        assert!(rules.put(&only(&rule), moment_of(90)).0.is_empty());
        let mut at = |second, services: &[&str]| {
            let answer = Ok(services.iter().map(|service| series(service)).collect());
            told(rules.answered("few", &rule, answer, moment_of(second)).0)
        };
        assert_eq!(at(100, &["a"]), []);
        assert_eq!(at(120, &["a", "b"]), [("few (service=a): 3".to_owned(), false)]);
        assert_eq!(at(130, &["a"]), []);
        assert_eq!(at(430, &[]), [("few (service=a) is over".to_owned(), true)]);
        assert!(rules.firing().is_empty());
    }

    #[test]
    fn what_a_rule_fired_is_over_with_it() {
        let (mut rules, old) = (Rules::default(), rule("up == 0", 0));
        rules.put(&only(&old), moment_of(90));
        let fired = rules.answered("few", &old, Ok(vec![series("a")]), moment_of(100)).0;
        assert_eq!(rules.put(&only(&old), moment_of(105)).1, [], "it stays");
        let edited = rule("up == 1", 0);
        let (_, ended) = rules.put(&only(&edited), moment_of(110));
        assert_eq!(told(ended.clone()), [("few (service=a) is over".to_owned(), true)]);
        assert_eq!((ended[0].since, &ended[0].labels), (fired[0].since, &fired[0].labels));
        // An answer to what it asked before says nothing.
        assert_eq!(rules.answered("few", &old, Ok(vec![series("a")]), moment_of(120)).0, []);
        assert_eq!(rules.put(&BTreeMap::new(), moment_of(130)).1, [], "nothing fired since");
    }

    #[test]
    fn a_rule_that_is_no_question_is_told() {
        let mut rules = Rules::default();
        let (failed, _) = rules.put(&only(&rule("up >", 0)), moment_of(90));
        assert!(rules.asking().is_empty());
        assert_eq!((failed[0].code, failed[0].kind), (Some("A0682"), "alert.bad_rule"));
    }

    #[test]
    fn a_rule_without_an_answer_is_told_once_and_says_nothing() {
        let (mut rules, rule) = (Rules::default(), rule("up == 0", 0));
        rules.put(&only(&rule), moment_of(90));
        rules.answered("few", &rule, Ok(vec![series("a")]), moment_of(100));
        let mut fails = |second| {
            let (notices, failed) =
                rules.answered("few", &rule, Err(PromError::TooLong(TIME)), moment_of(second));
            assert_eq!(notices, []);
            failed.map(|failed| (failed.code, failed.message))
        };
        let message = "the rule `few` has no answer: the question took longer than 2s".to_owned();
        assert_eq!(fails(110), Some((Some("A0684"), message)));
        assert_eq!((fails(120), fails(1000)), (None, None));
        assert!(fails(110 + UNANSWERED_S).is_some(), "and once more where nobody mended it");
        assert_eq!(rules.firing().len(), 1);
    }
}
