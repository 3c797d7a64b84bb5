//! What routes of the gateway and edges of the mesh have carried. Their names come from the app's file, so
//! nobody outside adds any; those without a request are left out.

use manifest::spec::ServiceName;
use proxy::signals::{Label, RouteStats};

use super::text::{Text, Type};

/// Classes of status, as `RouteStats` and `Stats` count them.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// `route`, `service` and `caller`; empty where there is none (the gateway has no caller).
fn labels(label: &Label) -> [(&'static str, &str); 3] {
    let Label { route, service, caller } = label;
    [("route", route), ("service", name(service.as_ref())), ("caller", name(caller.as_ref()))]
}

fn name(service: Option<&ServiceName>) -> &str {
    service.map_or("", ServiceName::as_str)
}

pub(super) fn write(text: &mut Text, routes: &[(Label, RouteStats)]) {
    let help = "Exchanges that have ended, by class of the status that the client was given.";
    let mut family = text.family("atoll_route_requests", Type::Counter, help);
    for (label, stats) in routes {
        let [route, service, caller] = labels(label);
        for (class, count) in CLASSES.into_iter().zip(stats.classes).filter(|(_, count)| *count > 0) {
            family.sample(&[route, service, caller, ("class", class)], count as f64);
        }
    }
    let help = "Exchanges in which something went wrong, by RFC 9209 error type and Atoll's code.";
    let mut family = text.family("atoll_route_errors", Type::Counter, help);
    for (label, stats) in routes {
        let [route, service, caller] = labels(label);
        for (kind, count) in &stats.errors {
            let cause = [("error", kind.token()), ("code", kind.code())];
            family.sample(&[route, service, caller, cause[0], cause[1]], *count as f64);
        }
    }
    let help = "Time from the head of the request to the last byte of the answer; to its head for tunnels.";
    let mut family = text.family("atoll_route_duration_seconds", Type::Histogram, help).unit("seconds");
    for (label, stats) in routes {
        family.histogram(&labels(label), &stats.latency);
    }
    for (name, help, of) in [
        ("atoll_route_retries", "Tries beyond the first.", (|stats| stats.retries) as fn(&RouteStats) -> u64),
        ("atoll_route_hedges", "Second tries beside slow ones.", |stats| stats.hedges),
        ("atoll_route_fallbacks", "Answers that were not the service's own.", |stats| stats.fallbacks),
        ("atoll_route_request_bytes", "Bytes of request bodies passed on.", |stats| stats.bytes_in),
        ("atoll_route_response_bytes", "Bytes of answer bodies passed on.", |stats| stats.bytes_out),
    ] {
        let mut family = text.family(name, Type::Counter, help);
        if name.ends_with("_bytes") {
            family = family.unit("bytes");
        }
        for (label, stats) in routes {
            family.sample(&labels(label), of(stats) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::check::check;
    use super::super::text::Format;
    use super::*;
    use proxy::Kind;
    use proxy::policy::histogram::Recorder;

    #[test]
    fn a_route_is_shown_with_causes_and_times_of_its_requests() {
        let (recorder, histogram) = Recorder::new();
        [1, 2, 400].into_iter().for_each(|ms| recorder.record(Duration::from_millis(ms)));
        let mut stats =
            RouteStats { classes: [0, 2, 0, 0, 1], retries: 4, bytes_out: 99, ..Default::default() };
        stats.errors = vec![(Kind::AnswerTimeout, 1)];
        stats.latency.add(&histogram);
        let route = |name: &str, caller: Option<&str>| Label {
            route: name.to_owned(),
            service: "web".parse().ok(),
            caller: caller.and_then(|caller| caller.parse().ok()),
        };
        let routes =
            [(route("GET /a\"b", None), stats.clone()), (route("cart -> web", Some("cart")), stats.clone())];
        for format in [Format::Classic, Format::OpenMetrics] {
            let mut text = Text::new(format);
            write(&mut text, &routes);
            let samples = check(format, &text.finish());
            let edge = r#"route="cart -> web",service="web",caller="cart""#;
            let (error, code) = (Kind::AnswerTimeout.token(), Kind::AnswerTimeout.code());
            for (sample, value) in [
                (format!("atoll_route_requests_total{{{edge},class=\"2xx\"}}"), 2.0),
                (format!("atoll_route_errors_total{{{edge},error=\"{error}\",code=\"{code}\"}}"), 1.0),
                (format!("atoll_route_duration_seconds_bucket{{{edge},le=\"0.001\"}}"), 1.0),
                (format!("atoll_route_duration_seconds_bucket{{{edge},le=\"1.0\"}}"), 3.0),
                (format!("atoll_route_duration_seconds_count{{{edge}}}"), 3.0),
                (format!("atoll_route_retries_total{{{edge}}}"), 4.0),
                (format!("atoll_route_response_bytes_total{{{edge}}}"), 99.0),
            ] {
                assert_eq!(samples[&sample], value, "{sample}");
            }
            let gateway = r#"{route="GET /a\"b",service="web",caller="",class="5xx"}"#;
            assert_eq!(samples[&format!("atoll_route_requests_total{gateway}")], 1.0);
            assert!(!samples.keys().any(|name| name.contains("3xx")));
        }
    }
}
