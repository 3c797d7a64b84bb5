//! `slo`, `measures`, `telemetry.alerts` → what is promised, and who is told.

use std::collections::BTreeMap;

use kit::units::{Share, parse_duration};

use crate::spec::{AlertRule, Alerts, LatencySlo, Measure, PipeName, Pipes, Slo};
use crate::text::decode::{At, Faults, shown};
use crate::text::shape::Names;
use crate::text::slo::{AlertsText, MeasureText, SloText};

/// Rules and measures of an app, each.
const MOST: usize = 200;

pub(super) fn slo(written: Option<&At<SloText>>, faults: &mut Faults) -> Option<Slo> {
    let written = written?;
    let SloText { availability, latency, window, .. } = &written.value;
    if availability.is_none() && latency.is_none() {
        let hint = "write `availability: 99.9%`, `latency: \"99% < 100ms\"`, or both";
        faults.bad_value(written.span, "this promises nothing", hint);
        return None;
    }
    let mut whole = true;
    let mut check = |share: Share, span| {
        if share == Share::ALL || share == Share::NONE {
            let hint = "write less than `100%`: what may fail is the budget";
            faults.bad_value(span, format!("`{share}` leaves nothing to hold it against"), hint);
            whole = false;
        }
        share
    };
    let availability = availability.as_ref().map(|at| check(at.value.0, at.span));
    let parsed = latency.as_ref().map(|at| (at, within(&at.value.0)));
    let latency = match parsed {
        Some((at, Some(latency))) => {
            check(latency.share, at.span);
            Some(latency)
        }
        Some((at, None)) => {
            let message = format!("`{}` is no share and time", shown(&at.value.0));
            faults.bad_value(at.span, message, "write it like `99% < 100ms`");
            whole = false;
            None
        }
        None => None,
    };
    let length = window.as_ref().map_or(Slo::WINDOW, |at| at.value.0);
    if let Some(at) = window.as_ref().filter(|_| !(Slo::MIN_WINDOW..=Slo::MAX_WINDOW).contains(&length)) {
        faults.bad_value(at.span, "a window is between an hour and 90 days", "write `30d`");
        whole = false;
    }
    whole.then_some(Slo { availability, latency, window: length })
}

/// `99% < 100ms`.
fn within(text: &str) -> Option<LatencySlo> {
    let (share, within) = text.split_once('<')?;
    let within = parse_duration(within.trim()).ok().filter(|within| !within.is_zero())?;
    Some(LatencySlo { share: share.trim().parse().ok()?, within })
}

pub(super) fn measures(
    written: Option<&At<Names<MeasureText>>>,
    faults: &mut Faults,
) -> BTreeMap<String, Measure> {
    let mut measures = BTreeMap::new();
    for (name, at) in written.iter().flat_map(|at| &at.value.0) {
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(begins) || !name.chars().all(|c| begins(c) || c.is_ascii_digit()) {
            let message = format!("`{}` is no name for a series", shown(name));
            faults.bad_value(at.key, message, "use letters, digits and `_`: `orders_revenue`");
            continue;
        }
        let MeasureText { field, text, .. } = &at.value;
        if field.is_none() && text.is_none() {
            let hint = "name a `field` that is added up, words of its `text`, or both";
            faults.bad_value(at.span, "this measures every record", hint);
            continue;
        }
        let owned = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
        measures.insert(name.clone(), Measure { field: owned(field), text: owned(text) });
    }
    if let Some(at) = written.filter(|_| measures.len() > MOST) {
        faults.bad_value(at.span, format!("there are more than {MOST} measures"), "leave some out");
    }
    measures
}

pub(super) fn alerts(written: Option<&At<AlertsText>>, pipes: &Pipes, faults: &mut Faults) -> Alerts {
    let Some(written) = written else { return Alerts::default() };
    let AlertsText { webhook, topic, mail, rules, .. } = &written.value;
    let webhook = webhook.as_ref().and_then(|at| {
        let uri = at.value.parse::<http::Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if uri
            .as_ref()
            .and_then(http::Uri::authority)
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            let hint = "what shows who posts belongs in its path: `https://alerts.example/hook/SECRET`";
            faults.bad_value(at.span, "a URL to post to names no user", hint);
            return None;
        }
        let good = uri.is_some();
        if !good {
            let message = format!("`{}` is no URL to post to", shown(&at.value));
            faults.bad_value(at.span, message, "write it like `https://alerts.example/hook`");
        }
        good.then(|| at.value.clone())
    });
    let topic = topic.as_ref().and_then(|at| {
        let (owner, name) =
            at.value.rsplit_once('/').map_or((None, &*at.value), |(owner, name)| (Some(owner), name));
        let of_owner = |name: &PipeName| {
            let topic = pipes.topics.get(name);
            topic.is_some_and(|topic| owner.is_none_or(|owner| topic.owner.as_str() == owner))
        };
        let known = name.parse::<PipeName>().ok().filter(of_owner);
        if known.is_none() {
            let message = format!("no service has a topic `{}`", shown(&at.value));
            faults.bad_value(
                at.span,
                message,
                "declare it under the service that owns it: `topics: [alerts]`",
            );
        }
        known
    });
    let rule = |(name, at): &(String, At<crate::text::slo::RuleText>)| {
        let ask = at.value.ask.as_ref()?; // its absence is told already
        let hold = at.value.hold.as_ref().map(|at| at.value.0).unwrap_or_default();
        Some((name.clone(), AlertRule { ask: ask.value.clone(), hold }))
    };
    let resolved: BTreeMap<String, AlertRule> =
        rules.iter().flat_map(|at| &at.value.0).filter_map(rule).collect();
    if let Some(at) = rules.as_ref().filter(|_| resolved.len() > MOST) {
        faults.bad_value(at.span, format!("there are more than {MOST} rules"), "leave some out");
    }
    let mail = mail.as_ref().and_then(|at| super::mail::resolve(&at.value, faults));
    Alerts { webhook, topic, mail, rules: resolved }
}
