//! Requests as they come in, from the access log.

use api::LogLine;
use kit::Timestamp;
use maud::{Markup, html};

use super::{Missing, has, lines};
use crate::bits;
use crate::desk::{Desk, all};
use crate::place::Query;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Lines that are looked through.
const LOOKED: usize = 2_000;
/// Requests that a page begins with.
const SHOWN: usize = 100;

const STATUSES: [(&str, &str); 5] =
    [("", "any status"), ("2", "2xx"), ("3", "3xx"), ("4", "4xx"), ("5", "5xx")];
const SIDES: [(&str, &str); 2] = [("", "at the gateway"), ("mesh", "between services")];

/// What a line of the access log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    at: Timestamp,
    status: u16,
    method: String,
    path: String,
    took_us: u64,
    instance: String,
    caller: Option<String>,
    route: Option<String>,
    trace: Option<String>,
    error: Option<String>,
    /// Further tries, a fallback: what else is worth seeing.
    flags: Vec<String>,
}

impl Request {
    /// Reads a line; nothing if it is none of the access log.
    pub(crate) fn parse(line: &LogLine) -> Option<Self> {
        let mut words = line.text.splitn(6, ' ');
        let status = words.next()?.parse().ok()?;
        let (method, path, took, instance) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let took_us = (took.strip_suffix("ms")?.parse::<f64>().ok()? * 1e3) as u64;
        let mut request = Self {
            at: line.at,
            status,
            method: method.to_owned(),
            path: path.to_owned(),
            took_us,
            instance: instance.to_owned(),
            caller: None,
            route: None,
            trace: None,
            error: None,
            flags: Vec::new(),
        };
        for (key, value) in fields(words.next().unwrap_or_default()) {
            match key {
                "caller" => request.caller = Some(value),
                "route" => request.route = Some(value),
                "trace" => request.trace = Some(value),
                "error" => request.error = Some(value),
                "attempts" => request.flags.push(format!("{value} attempts")),
                "hedged" | "fallback" | "upgraded" => request.flags.push(key.to_owned()),
                _ => {}
            }
        }
        Some(request)
    }

    /// Whether it is one of those that are asked for.
    pub(crate) fn fits(&self, query: &Query) -> bool {
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        let slow = query.number::<u64>("slow").is_none_or(|ms| self.took_us >= ms * 1_000);
        let status = query.get("status").is_none_or(|begins| self.status.to_string().starts_with(begins));
        let texts = [
            &self.method,
            &self.path,
            &self.instance,
            &text(&self.route),
            &text(&self.error),
            &text(&self.caller),
        ];
        slow && status && has(query.text("q"), &texts.map(String::as_str))
    }
}

/// `key=value`, `key="some value"` and single words.
fn fields(text: &str) -> Vec<(&str, String)> {
    let mut fields = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let key = &rest[..end];
        rest = &rest[end..];
        let Some(value) = rest.strip_prefix('=') else {
            fields.push((key, String::new()));
            rest = rest.trim_start();
            continue;
        };
        let end = match value.strip_prefix('"') {
            Some(quoted) => quoted.find("\" ").map_or(value.len(), |at| at + 2),
            None => value.find(' ').unwrap_or(value.len()),
        };
        fields.push((key, value[..end].trim_matches('"').to_owned()));
        rest = value[end..].trim_start();
    }
    fields
}

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let side = lines::side(&at.query);
    let logged = desk.client.logs(&[side.to_owned()], Some(LOOKED), None, false).await;
    let (status, logged) = tokio::join!(desk.feed.status(), all(logged, LOOKED));
    let (status, logged) = (status?, logged?);
    let gateway = status.gateway.first().map(String::as_str).filter(|_| side == "gateway");
    let since = logged.last().map_or_else(|| desk.now(), |line| line.at);
    let all: Vec<Request> =
        logged.iter().filter_map(Request::parse).filter(|request| request.fits(&at.query)).collect();
    let follow = lines::address("requests", &at.query, since);
    let filters = html! {
        (bits::field(&at.query, "q", "Search", "path, route, instance"))
        (bits::choice(&at.query, "status", "Status", &STATUSES))
        (bits::choice(&at.query, "side", "Where", &SIDES))
        label.field { span { "Slower than (ms)" } input type="number" min="0" name="slow" value=(at.query.text("slow")); }
    };
    let table = html! {
        div.row { (lines::pause()) span.muted { "The newest first, as they come." } }
        div.scroll { table.rows {
            caption.hidden { "Requests" }
            thead { tr {
                th scope="col" { "Time" } th scope="col" { "Status" } th scope="col" { "Method" } th scope="col" { "Path" }
                th.num scope="col" { "Took" } th scope="col" { "Instance" } th scope="col" { "Route" } th scope="col" { "Trace" } th scope="col" { span.hidden { "Actions" } }
            } }
            tbody data-tail=(follow) data-first data-most="300" { @for request in all.iter().rev().take(SHOWN) { (row(request, gateway)) } }
        } }
        @if all.is_empty() { (bits::empty("No request yet that fits. They appear here as they come.")) }
    };
    Ok(View::new("Requests").still("filters", bits::filters("/requests", &filters)).still("requests", table))
}

/// A request as a row.
pub(crate) fn row(request: &Request, gateway: Option<&str>) -> Markup {
    let Request { at, status, method, path, took_us, instance, caller, route, trace, error, flags } = request;
    html! {
        tr {
            td { (bits::time(*at)) }
            td { (lines::status(*status)) }
            td { (clip(method, 12)) }
            th.mono scope="row" { (clip(path, 90)) @if let Some(error) = error { " " span.bad { (clip(error, 60)) } } @for flag in flags { " " span.tag { (flag) } } }
            td.num { (words::micros(*took_us)) }
            td { (clip(instance, 70)) }
            td.mono { @if let Some(route) = route { (clip(route, 50)) } @else if let Some(caller) = caller { (clip(caller, 50)) } }
            td { @if let Some(trace) = trace { (bits::trace(trace)) } }
            td { @if let Some(gateway) = gateway { (bits::copy("curl", &curl(request, gateway))) } }
        }
    }
}

fn curl(request: &Request, gateway: &str) -> String {
    let verb = if request.method == "GET" {
        String::new()
    } else {
        format!(" -X {}", words::shell(&request.method))
    };
    format!("curl -i{verb} {}", words::shell(&format!("{gateway}{}", request.path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            at: Timestamp::from_micros(7),
            instance: "gateway".into(),
            stream: "stdout".into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_line_of_the_access_log_is_understood() {
        let text = "504 GET /books/7 12.3ms payments-2 caller=orders route=\"orders -> payments\" host=\"a b\" peer=1.2.3.4:5 \
            in=0 out=3 upstream=11.007ms attempts=3 hedged fallback request=r-1 trace=abcd error=answer_timeout";
        let request = Request::parse(&line(text)).unwrap();
        assert_eq!((request.status, request.took_us), (504, 12_300));
        assert_eq!(request.route.as_deref(), Some("orders -> payments"));
        assert_eq!(request.trace.as_deref(), Some("abcd"));
        assert_eq!(request.error.as_deref(), Some("answer_timeout"));
        assert_eq!(request.flags, ["3 attempts", "hedged", "fallback"]);
        assert!(row(&request, None).into_string().contains("orders -&gt; payments"));
    }

    #[test]
    fn what_is_no_request_is_none() {
        for text in ["", "hello", "200 GET", "abc GET / 1ms -", "200 GET / soon -"] {
            assert_eq!(Request::parse(&line(text)), None, "{text}");
        }
        for text in [
            "200 GET / 1.0ms - route=\"",
            "200 GET / 1.0ms - =",
            "200 GET / 1.0ms - a=\"b",
            "200 GET / 1.0ms - trace=",
        ] {
            assert!(Request::parse(&line(text)).is_some(), "{text}");
        }
    }

    #[test]
    fn a_filter_lets_through_what_it_says() {
        let request =
            Request::parse(&line("404 GET /books/9 30.0ms catalog-1 route=\"GET /books/{id}\"")).unwrap();
        let fits = |query: &str| request.fits(&Query::parse(&format!("/requests?{query}").parse().unwrap()));
        assert!(fits("") && fits("q=books%20catalog") && fits("status=4") && fits("slow=30"));
        assert!(!fits("q=orders") && !fits("status=5") && !fits("slow=31"));
    }
}
