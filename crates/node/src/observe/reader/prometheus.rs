//! The HTTP API of Prometheus, as Grafana and `promtool query` use it: questions of PromQL, and what there is to ask about.
//! Paths, parameters and JSON are theirs; what a question means is `telemetry::promql`'s.

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::body::Bytes;
use axum::http::StatusCode;
use telemetry::Query;
use telemetry::promql::kept::Kept;
use telemetry::promql::{self, Labels, Limits, Matcher, PromError, Row, Sampled, Value};

use super::parameters::Parameters;
use super::{Answer, MAX_ANSWER, Waits};

/// Whose language is spoken: what clients choose their questions by.
const VERSION: &str = "2.42.0";

/// Selectors in one question about names.
const MOST_SELECTORS: usize = 10;

/// What is asked, by the path behind `/api/v1/`.
pub(super) enum Asked {
    Once,
    OverTime,
    Labels,
    ValuesOf(String),
    Series,
    Metadata,
    Build,
    /// There are none: rules, alerts, examples.
    Empty(&'static str),
}

impl Asked {
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "query" => Self::Once,
            "query_range" => Self::OverTime,
            "labels" => Self::Labels,
            "series" => Self::Series,
            "metadata" => Self::Metadata,
            "status/buildinfo" => Self::Build,
            "query_exemplars" => Self::Empty("[]"),
            "rules" => Self::Empty(r#"{"groups":[]}"#),
            "alerts" => Self::Empty(r#"{"alerts":[]}"#),
            _ => {
                let name = path.strip_prefix("label/")?.strip_suffix("/values")?;
                (!name.is_empty() && !name.contains('/')).then(|| Self::ValuesOf(name.to_owned()))?
            }
        })
    }
}

/// Why there is no answer, as Prometheus tells it.
#[derive(Debug, PartialEq)]
struct Fault {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Fault {
    fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", text: text.into() }
    }

    fn of(name: &str, error: &PromError) -> Self {
        match error {
            PromError::Syntax { .. } => Self::bad(format!("invalid parameter {name:?}: {error}")),
            PromError::TooMuch { .. } | PromError::NoAnswer(_) => {
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, kind: "execution", text: error.to_string() }
            }
            PromError::TooLong(_) => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "timeout", text: error.to_string() }
            }
        }
    }
}

pub(super) fn answer(
    asked: &Asked,
    parameters: &Parameters,
    query: &Query,
    now_ms: i64,
    waits: &Waits,
) -> Answer {
    let data = || {
        let limits = limits(parameters)?;
        let may_go_on = waits.within(limits.time);
        let query = query.as_long_as(may_go_on.clone());
        let kept = Kept(&query);
        match asked {
            Asked::Once => once(parameters, &kept, now_ms, &limits, &may_go_on),
            Asked::OverTime => over_time(parameters, &kept, &limits, &may_go_on),
            Asked::Labels => labels(parameters, &kept, &limits).map(|names| list(&names)),
            Asked::ValuesOf(name) => values(name, parameters, &kept, &limits).map(|values| list(&values)),
            Asked::Series => series(parameters, &kept, &limits),
            Asked::Metadata => metadata(parameters, &kept, &limits),
            Asked::Build => Ok(format!(
                r#"{{"version":"{VERSION}","revision":"atoll","branch":"","buildUser":"","buildDate":"","goVersion":""}}"#
            )),
            Asked::Empty(json) => Ok((*json).to_owned()),
        }
    };
    match data() {
        Ok(data) => Answer(StatusCode::OK, format!(r#"{{"status":"success","data":{data}}}"#).into()),
        Err(Fault { status, kind, text }) => {
            let json = serde_json::json!({ "status": "error", "errorType": kind, "error": text });
            Answer(status, Bytes::from(json.to_string()))
        }
    }
}

fn question(parameters: &Parameters, limits: &Limits) -> Result<promql::Expr, Fault> {
    let text = parameters.get("query").unwrap_or_default();
    if text.len() > limits.text {
        return Err(Fault::bad(format!("invalid parameter \"query\": more than {} bytes", limits.text)));
    }
    promql::parse(text).map_err(|error| Fault::of("query", &error))
}

/// The limits of a question that may ask for less time than it has.
fn limits(parameters: &Parameters) -> Result<Limits, Fault> {
    let mut limits = Limits::default();
    if let Some(text) = parameters.get("timeout") {
        let ms = duration(text, "timeout")?;
        limits.time = limits.time.min(std::time::Duration::from_millis(ms.max(0).unsigned_abs()));
    }
    Ok(limits)
}

fn once(
    parameters: &Parameters,
    kept: &Kept<'_>,
    now_ms: i64,
    limits: &Limits,
    may_go_on: &dyn Fn() -> bool,
) -> Result<String, Fault> {
    let at = moment(parameters, "time")?.unwrap_or(now_ms);
    let expr = question(parameters, limits)?;
    let answer = promql::evaluate(&expr, promql::Asked::once(at), kept, limits, may_go_on);
    let answer = answer.map_err(|error| Fault::of("query", &error))?;
    let mut json = String::new();
    match answer {
        Value::Scalar(cells) => {
            result(&mut json, "scalar", |json| sample(json, at, cells.first().copied().unwrap_or(f64::NAN)));
        }
        Value::Text(text) => result(&mut json, "string", |json| {
            let _ = write!(json, "[{},{}]", seconds(at), quoted(&text));
        }),
        Value::Vector(rows) => result(&mut json, "vector", |json| {
            each(json, &rows, |json, row: &Row| {
                metric(json, &row.labels);
                json.push_str(",\"value\":");
                sample(json, at, row.cells.first().copied().flatten().unwrap_or(f64::NAN));
                json.push('}');
            });
        }),
        Value::Matrix(series) => result(&mut json, "matrix", |json| {
            each(json, &series, |json, series: &Sampled| {
                metric(json, &series.labels);
                json.push_str(",\"values\":");
                each(json, &series.samples, |json, (at, value)| sample(json, *at, *value));
                json.push('}');
            });
        }),
    }
    Ok(json)
}

fn over_time(
    parameters: &Parameters,
    kept: &Kept<'_>,
    limits: &Limits,
    may_go_on: &dyn Fn() -> bool,
) -> Result<String, Fault> {
    let needed = |name: &'static str| {
        moment(parameters, name)?.ok_or_else(|| {
            Fault::bad(format!("invalid parameter {name:?}: cannot parse \"\" to a valid timestamp"))
        })
    };
    let (start_ms, end_ms) = (needed("start")?, needed("end")?);
    if end_ms < start_ms {
        return Err(Fault::bad("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    let step_ms = duration(parameters.get("step").unwrap_or_default(), "step")?;
    if step_ms <= 0 {
        return Err(Fault::bad(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. \
             Try a positive integer",
        ));
    }
    let asked = promql::Asked { start_ms, end_ms, step_ms };
    if asked.steps() > limits.steps {
        return Err(Fault::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    let expr = question(parameters, limits)?;
    let answer = promql::evaluate(&expr, asked, kept, limits, may_go_on);
    let rows = match answer.map_err(|error| Fault::of("query", &error))? {
        Value::Vector(mut rows) => {
            rows.sort_by(|a, b| a.labels.cmp(&b.labels));
            rows
        }
        Value::Scalar(cells) => {
            vec![Row { labels: Labels::new(), cells: cells.into_iter().map(Some).collect() }]
        }
        Value::Matrix(_) | Value::Text(_) => {
            return Err(Fault::bad(
                "invalid parameter \"query\": invalid expression type for range query, must be Scalar or instant Vector",
            ));
        }
    };
    let moments: Vec<i64> = asked.moments().collect();
    let mut json = String::new();
    result(&mut json, "matrix", |json| {
        each(json, &rows, |json, row: &Row| {
            metric(json, &row.labels);
            json.push_str(",\"values\":");
            let there = moments.iter().zip(&row.cells).filter_map(|(at, cell)| Some((*at, (*cell)?)));
            each(json, there, |json, (at, value)| sample(json, at, value));
            json.push('}');
        });
    });
    Ok(json)
}

/// The series that `match[]` means, from `start` to `end`.
fn meant(parameters: &Parameters, kept: &Kept<'_>, limits: &Limits) -> Result<BTreeSet<Labels>, Fault> {
    let asked: Vec<&str> = parameters.all("match[]").collect();
    if asked.len() > MOST_SELECTORS {
        return Err(Fault::bad(format!("invalid parameter \"match[]\": more than {MOST_SELECTORS} of them")));
    }
    let sets: Vec<Vec<Matcher>> = asked
        .into_iter()
        .map(|text| {
            if text.len() > limits.text {
                return Err(Fault::bad(format!(
                    "invalid parameter \"match[]\": more than {} bytes",
                    limits.text
                )));
            }
            promql::selector(text).map_err(|error| Fault::of("match[]", &error))
        })
        .collect::<Result<_, _>>()?;
    let start = moment(parameters, "start")?.unwrap_or(0);
    let end = moment(parameters, "end")?.unwrap_or(i64::MAX / 2_000_000);
    kept.series(&sets, start, end, limits).map_err(|error| Fault::of("match[]", &error))
}

fn labels(parameters: &Parameters, kept: &Kept<'_>, limits: &Limits) -> Result<BTreeSet<String>, Fault> {
    let series = meant(parameters, kept, limits)?;
    Ok(series.iter().flatten().map(|(name, _)| name.to_string()).collect())
}

fn values(
    name: &str,
    parameters: &Parameters,
    kept: &Kept<'_>,
    limits: &Limits,
) -> Result<BTreeSet<String>, Fault> {
    let series = meant(parameters, kept, limits)?;
    let of_name = series.iter().flatten().filter(|(label, _)| *label == name);
    Ok(of_name.map(|(_, value)| value.to_string()).collect())
}

fn series(parameters: &Parameters, kept: &Kept<'_>, limits: &Limits) -> Result<String, Fault> {
    if parameters.all("match[]").next().is_none() {
        return Err(Fault::bad("no match[] parameter provided"));
    }
    let series = meant(parameters, kept, limits)?;
    let mut json = String::new();
    each(&mut json, &series, |json, labels: &Labels| object(json, labels));
    Ok(json)
}

fn metadata(parameters: &Parameters, kept: &Kept<'_>, limits: &Limits) -> Result<String, Fault> {
    let mut found = kept.metadata(limits).map_err(|error| Fault::of("metric", &error))?;
    if let Some(metric) = parameters.get("metric") {
        found.retain(|name, _| name == metric);
    }
    let limit = parameters.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let entries = found.into_iter().take(limit).map(|(name, about)| {
        let about =
            serde_json::json!([{ "type": about.kind.as_str(), "help": "", "unit": about.unit.as_str() }]);
        (name, about)
    });
    Ok(serde_json::Value::Object(entries.collect()).to_string())
}

fn moment(parameters: &Parameters, name: &str) -> Result<Option<i64>, Fault> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    let moment = promql::moment_ms(text).map(Some);
    moment.ok_or_else(|| {
        Fault::bad(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"))
    })
}

/// Seconds, or as the language writes it.
fn duration(text: &str, name: &str) -> Result<i64, Fault> {
    let ms = promql::duration_ms(text).or_else(|| text.parse().ok().and_then(promql::seconds_ms));
    ms.ok_or_else(|| {
        Fault::bad(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid duration"))
    })
}

fn seconds(ms: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
    let seconds = ms as f64 / 1000.0;
    seconds.to_string()
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(texts: &BTreeSet<String>) -> String {
    let mut json = String::new();
    each(&mut json, texts, |json, text: &String| json.push_str(&quoted(text)));
    json
}

fn result(json: &mut String, kind: &str, put: impl FnOnce(&mut String)) {
    let _ = write!(json, r#"{{"resultType":"{kind}","result":"#);
    put(json);
    json.push('}');
}

/// Stops where the answer is longer already than any may be: whoever is to send it will say so.
fn each<T>(json: &mut String, items: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut String, T)) {
    json.push('[');
    for (place, item) in items.into_iter().enumerate() {
        if json.len() > MAX_ANSWER {
            break;
        }
        if place > 0 {
            json.push(',');
        }
        put(json, item);
    }
    json.push(']');
}

/// The start of an object: its labels.
fn metric(json: &mut String, labels: &Labels) {
    json.push_str("{\"metric\":");
    object(json, labels);
}

fn object(json: &mut String, labels: &Labels) {
    json.push('{');
    for (place, (name, value)) in labels.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let _ = write!(json, "{comma}{}:{}", quoted(name), quoted(value));
    }
    json.push('}');
}

fn sample(json: &mut String, at: i64, value: f64) {
    let _ = write!(json, "[{},\"{}\"]", seconds(at), number(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        Parameters::read(text.as_bytes(), b"")
    }

    #[test]
    fn moments_and_steps_are_read_as_prometheus_reads_them() {
        let at = |text: &str| moment(&parameters(&format!("time={text}")), "time");
        assert_eq!(at("1700000000.123"), Ok(Some(1_700_000_000_123)));
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(Some(1_700_000_000_000)));
        assert_eq!(at(""), Ok(None));
        assert!(at("NaN").is_err() && at("1e300").is_err() && at("yesterday").is_err());
        assert_eq!(duration("15", "step"), Ok(15_000));
        assert_eq!(duration("1m30s", "step"), Ok(90_000));
        assert!(duration("soon", "step").is_err() && duration("", "step").is_err());
    }

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        let mut json = String::new();
        for (at, value) in
            [(1_700_000_000_000, 1e21), (1_500, f64::NAN), (1, f64::NEG_INFINITY), (0, 0.1 + 0.2)]
        {
            sample(&mut json, at, value);
        }
        assert_eq!(
            json,
            "[1700000000,\"1000000000000000000000\"][1.5,\"NaN\"][0.001,\"-Inf\"][0,\"0.30000000000000004\"]"
        );
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_written_to_its_end() {
        let mut json = String::new();
        each(&mut json, 0..u64::MAX, |json, _| json.push_str(&"x".repeat(1 << 20)));
        assert!((MAX_ANSWER..MAX_ANSWER + (2 << 20)).contains(&json.len()));
    }

    #[test]
    fn paths_are_those_of_prometheus() {
        assert!(
            matches!(Asked::of("label/__name__/values"), Some(Asked::ValuesOf(name)) if name == "__name__")
        );
        for other in ["", "label//values", "label/a/b/values", "query/", "admin/tsdb/delete_series"] {
            assert!(Asked::of(other).is_none(), "{other}");
        }
    }
}
