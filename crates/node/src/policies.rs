//! What applies to a route or a call, in the words of the file: only what is not as it is without a word.

use kit::units::format_duration;
use manifest::spec::{Breaker, Bulkhead, Fallback, Guard, HeaderMatch, LimitKey, Priority};

/// Characters of a policy at most: the file has the rest.
const MOST: usize = 120;

/// The policies of a guard, and who may come in.
pub(crate) fn said(guard: &Guard, auth: Option<&str>) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(auth) = auth {
        said.push(format!("auth {auth}"));
    }
    for limit in &guard.limits {
        let per = match &limit.per {
            LimitKey::Route => String::new(),
            LimitKey::Client => " per client".to_owned(),
            LimitKey::Header(name) => format!(" per header {name}"),
            LimitKey::User => " per user".to_owned(),
        };
        let period = match format_duration(limit.period) {
            period if period == "1s" => "s".to_owned(),
            period => period,
        };
        said.push(format!("limit {}/{period}{per}", limit.rate));
    }
    if guard.retry.written {
        let per_try =
            guard.retry.per_try.map_or_else(String::new, |time| format!(", each {}", format_duration(time)));
        let any = if guard.retry.any_method { ", any method" } else { "" };
        said.push(format!("retry {}{per_try}{any}", guard.retry.attempts));
    }
    if let Some(hedge) = guard.hedge {
        said.push(format!("hedge {}", format_duration(hedge.after)));
    }
    match guard.breaker {
        None => said.push("breaker off".to_owned()),
        Some(breaker) if breaker != Breaker::default() => {
            let slow = breaker.slow.map_or_else(String::new, |slow| {
                format!(", {} over {}", slow.share, format_duration(slow.over))
            });
            let open = format_duration(breaker.open);
            said.push(format!("breaker {} of {}{slow}, open {open}", breaker.errors, breaker.of));
        }
        Some(_) => {}
    }
    if guard.bulkhead != Bulkhead::default() {
        said.push(format!("bulkhead {}, {} wait", guard.bulkhead.concurrency, guard.bulkhead.queue));
    }
    if let Some(adaptive) = guard.adaptive {
        said.push(format!("adaptive {} to {}", adaptive.min, adaptive.max));
    }
    said.extend(
        match guard.priority {
            Priority::Low => Some("priority low"),
            Priority::Normal => None,
            Priority::High => Some("priority high"),
            Priority::Critical => Some("priority critical"),
        }
        .map(str::to_owned),
    );
    said.extend(guard.fallback.as_ref().map(|fallback| match fallback {
        Fallback::Static { status, .. } => format!("fallback {status}"),
        Fallback::Stale { max_age } => format!("fallback stale {}", format_duration(*max_age)),
        Fallback::From { service, path } => {
            let service = service.as_ref().map(ToString::to_string);
            let parts = [service.as_deref(), path.as_deref()].into_iter().flatten();
            format!("fallback {}", parts.collect::<Vec<_>>().join(" "))
        }
    }));
    for split in &guard.split {
        said.push(format!("split {} to {}{}", split.share, split.to, only(&split.headers)));
    }
    if let Some(mirror) = &guard.mirror {
        said.push(format!("mirror {} to {}", mirror.share, mirror.to));
    }
    for fault in &guard.faults {
        let parts = [
            fault.delay.map(|delay| format!("delay {}", format_duration(delay))),
            fault.abort.map(|status| format!("abort {status}")),
            fault.truncate.map(|bytes| format!("truncate {bytes}")),
        ];
        let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        said.push(format!("fault {} {parts}{}", fault.share, only(&fault.headers)));
    }
    said.iter().map(|one| one.chars().take(MOST).collect()).collect()
}

fn only(headers: &[HeaderMatch]) -> &'static str {
    if headers.is_empty() { "" } else { " with its headers" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use manifest::spec::{Hedge, RateLimit, Retry};

    use super::*;

    #[test]
    fn only_what_the_file_says_is_told_and_in_its_words() {
        assert_eq!(said(&Guard::default(), None), Vec::<String>::new());
        let guard = Guard {
            retry: Retry {
                attempts: 2,
                per_try: Some(Duration::from_millis(300)),
                any_method: true,
                written: true,
                ..Retry::default()
            },
            hedge: Some(Hedge { after: Duration::from_millis(50) }),
            breaker: Some(Breaker { of: 10, ..Breaker::default() }),
            limits: vec![RateLimit {
                rate: 5,
                period: Duration::from_secs(1),
                burst: 1,
                per: LimitKey::Client,
            }],
            fallback: Some(Fallback::From { service: None, path: Some("/popular".into()) }),
            priority: Priority::Low,
            ..Guard::default()
        };
        assert_eq!(
            said(&guard, Some("customer")),
            [
                "auth customer",
                "limit 5/s per client",
                "retry 2, each 300ms, any method",
                "hedge 50ms",
                "breaker 50% of 10, open 5s",
                "priority low",
                "fallback /popular"
            ]
        );
    }
}
