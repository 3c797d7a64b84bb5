//! Questions as dashboards ask them, answered by a real Prometheus and by us over the same data: the answers must be the same.
//! Left out where Prometheus is not installed, but not where `ATOLL_CI_ALL` is set.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // helpers of tests may fail loudly
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // made-up numbers

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kit::{SteppedClock, Timestamp};
use serde_json::Value as Json;
use telemetry::model::{Buckets, Histogram, MetricPoint, MetricValue, Text};
use telemetry::promql::kept::Kept;
use telemetry::promql::{self, Asked, Limits, PromError, Value};
use telemetry::{Options, Telemetry};

/// Of each question one answer about one moment and one about many.
const QUESTIONS: &[&str] = &[
    // What is there.
    r#"up"#,
    r#"http_requests_total{service="orders"}"#,
    r#"http_requests_total{code!="200"}"#,
    r#"http_requests_total{service=~"or.*|pay.*", code!~"5.."}"#,
    r#"{__name__=~"memory_.*", instance=~".+-1"}"#,
    r#"memory_bytes offset 10m"#,
    r#"memory_bytes offset -3m"#,
    r#"memory_bytes @ end()"#,
    r#"sum(memory_bytes @ start() offset 7m)"#,
    // Rates.
    r#"rate(http_requests_total[1m])"#,
    r#"rate(http_requests_total[5m])"#,
    r#"sum by (service) (rate(http_requests_total[5m]))"#,
    r#"sum without (instance, code) (rate(http_requests_total{code=~"5.."}[2m]))"#,
    r#"irate(http_requests_total{service="orders"}[2m])"#,
    r#"increase(http_requests_total[10m])"#,
    r#"delta(memory_bytes[10m])"#,
    r#"idelta(memory_bytes[2m])"#,
    r#"deriv(memory_bytes[15m])"#,
    r#"predict_linear(memory_bytes[30m], 3600)"#,
    r#"resets(http_requests_total[1h])"#,
    r#"changes(memory_bytes[10m])"#,
    r#"rate(http_requests_total[5m] offset 20m)"#,
    // Over time.
    r#"avg_over_time(memory_bytes[10m])"#,
    r#"min_over_time(memory_bytes[10m])"#,
    r#"max_over_time(memory_bytes[10m])"#,
    r#"sum_over_time(memory_bytes[10m])"#,
    r#"count_over_time(memory_bytes[10m])"#,
    r#"quantile_over_time(0.9, memory_bytes[10m])"#,
    r#"stddev_over_time(memory_bytes[10m])"#,
    r#"stdvar_over_time(memory_bytes[10m])"#,
    r#"last_over_time(memory_bytes[10m])"#,
    r#"present_over_time(memory_bytes[10m])"#,
    r#"absent_over_time(nothing_total{service="x"}[10m])"#,
    r#"absent_over_time(up{instance="payments-2"}[10m])"#,
    r#"max_over_time(sum(rate(http_requests_total[5m]))[30m:1m])"#,
    r#"avg_over_time(rate(http_requests_total{service="orders"}[2m])[10m:])"#,
    // Over series.
    r#"sum(memory_bytes)"#,
    r#"avg by (service) (memory_bytes)"#,
    r#"min(memory_bytes) by (service)"#,
    r#"max without (instance) (memory_bytes)"#,
    r#"count by (code) (http_requests_total)"#,
    r#"group by (service) (up)"#,
    r#"stddev(memory_bytes)"#,
    r#"stdvar by (service) (memory_bytes)"#,
    r#"topk(3, memory_bytes)"#,
    r#"topk by (service) (1, memory_bytes)"#,
    r#"bottomk(2, memory_bytes)"#,
    r#"quantile(0.5, memory_bytes)"#,
    r#"quantile by (service) (0.95, memory_bytes)"#,
    r#"count_values("how_many", up)"#,
    // Buckets.
    r#"histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket[5m])))"#,
    r#"histogram_quantile(0.5, sum by (le, service) (rate(latency_seconds_bucket[5m])))"#,
    r#"histogram_quantile(0.99, rate(latency_seconds_bucket[2m]))"#,
    r#"histogram_quantile(1.5, rate(latency_seconds_bucket[2m]))"#,
    r#"sum(rate(latency_seconds_sum[5m])) by (service) / sum(rate(latency_seconds_count[5m])) by (service)"#,
    r#"sum(rate(latency_seconds_bucket{le="0.1"}[5m])) / sum(rate(latency_seconds_count[5m]))"#,
    // Operators.
    r#"sum by (service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (service) (rate(http_requests_total[5m])) * 100"#,
    r#"1 - sum(rate(http_requests_total{code="500"}[5m])) / sum(rate(http_requests_total[5m]))"#,
    r#"memory_bytes / on (service, instance) memory_limit_bytes"#,
    r#"memory_bytes / ignoring (node) memory_limit_bytes"#,
    r#"memory_bytes * on (service, instance) group_left (node) memory_limit_bytes"#,
    r#"build_info * on (service) group_right (version) up"#,
    r#"up * on (service) group_left (version) build_info"#,
    r#"memory_bytes > 3e8"#,
    r#"memory_bytes > bool 3e8"#,
    r#"3e8 < memory_bytes"#,
    r#"memory_bytes > on (service, instance) memory_limit_bytes / 2"#,
    r#"up == 0 or up == 1"#,
    r#"up and on (service, instance) (memory_bytes > 3e8)"#,
    r#"up unless on (service, instance) (memory_bytes > 3e8)"#,
    r#"memory_bytes or up"#,
    r#"-memory_bytes ^ 2 / 1000 % 7e11 + 2 * 3"#,
    r#"2 ^ 3 ^ 2"#,
    r#"10 % 4 > bool 1"#,
    r#"(memory_bytes - memory_bytes offset 5m) atan2 1e6"#,
    // Values and labels.
    r#"abs(delta(memory_bytes[5m]))"#,
    r#"ceil(memory_bytes / 1e6)"#,
    r#"floor(memory_bytes / 1e6)"#,
    r#"round(memory_bytes / 1e6, 5)"#,
    r#"round(memory_bytes / 1e6)"#,
    r#"clamp(memory_bytes, 2e8, 3e8)"#,
    r#"clamp_min(memory_bytes, 3e8)"#,
    r#"clamp_max(memory_bytes, 3e8)"#,
    r#"ln(memory_bytes) + log2(memory_bytes) + log10(memory_bytes) + sqrt(memory_bytes) + exp(up) + sgn(delta(memory_bytes[5m]))"#,
    r#"label_replace(up, "number", "$1", "instance", ".*-(\\d+)")"#,
    r#"label_replace(up, "instance", "", "instance", ".*-1")"#,
    r#"label_join(up, "both", "/", "service", "instance")"#,
    r#"absent(nothing{service="orders", code=~"5.."})"#,
    r#"absent(up)"#,
    r#"scalar(sum(up)) + time()"#,
    r#"vector(time() % 60)"#,
    r#"timestamp(up)"#,
    r#"hour() + minute() + day_of_week() + day_of_month() + month() + year() + days_in_month() + day_of_year()"#,
    r#"sort(memory_bytes)"#,
    r#"sort_desc(memory_bytes)"#,
    r#"pi()"#,
    r#"sum(rate(http_requests_total[5m])) by (service) > 0.1 and sum(up) by (service) == 2"#,
    r#"0x1F + .5 + 1e2 # remarks are passed over"#,
];

/// What both must refuse.
const REFUSED: &[&str] = &[
    "",
    "up{",
    "up{service=}",
    "up{service=\"x\"",
    "{}",
    r#"{service=~".*"}"#,
    "rate(up)",
    "sum(up[5m])",
    "rate(up[5m]) +",
    "nonsense(up)",
    "1 > 2",
    "up offset",
    "up[5m] offset 5m offset 5m",
    "up[0s]",
    "topk(up)",
    r#"up{service=~"("}"#,
    "up and 1",
    "sum by service (up)",
    "up * on (service) group_left memory_bytes",
    "memory_bytes * on (service) up",
    "label_replace(up, \"instance\", \"\", \"instance\", \".*\")",
    "1 + \"x\"",
    "\"unterminated",
];

#[test]
fn a_real_prometheus_and_we_answer_alike() {
    if Command::new("promtool").arg("--version").output().is_err()
        || Command::new("prometheus").arg("--version").output().is_err()
    {
        assert!(std::env::var_os("ATOLL_CI_ALL").is_none(), "may not be skipped here: no prometheus");
        eprintln!("skipped: prometheus and promtool are not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let base_ms = (now_s / 3600 * 3600 - 4 * 3600) * 1000;
    let data = Data::new(base_ms);
    let theirs = Prometheus::start(directory.path(), &data.openmetrics());
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros((base_ms + 3 * 3_600_000) * 1000)));
    let ours = Telemetry::open(&directory.path().join("ours"), Options::default(), clock).unwrap();
    for points in data.points().chunks(5000) {
        ours.intake().offer_points(points.to_vec());
        ours.flush();
    }
    let query = ours.query();
    let base = base_ms as i64;
    // One that no sample comes at, one that some come at, and one long after a gap has begun.
    let moments = [base + 5_400_123, base + 3_600_000, base + 6_999_999];
    let ranges = [(base + 600_000, base + 7_100_000, 60_000), (base + 1_800_007, base + 5_400_000, 15_000)];
    let mut differing = Vec::new();
    let answer = |text: &str, asked| {
        promql::evaluate(&promql::parse(text)?, asked, &Kept(&query), &Limits::default(), &|| true)
    };
    let mut numbers = 0;
    for text in QUESTIONS {
        for at in moments {
            let theirs = theirs.ask("query", &[("query", text), ("time", &seconds(at))]);
            let mine = shown(&answer(text, Asked::once(at)), at);
            numbers += compare(text, &theirs, &mine, &mut differing);
        }
        for (start_ms, end_ms, step_ms) in ranges {
            let step = seconds(step_ms);
            let wanted =
                [("query", *text), ("start", &seconds(start_ms)), ("end", &seconds(end_ms)), ("step", &step)];
            let theirs = theirs.ask("query_range", &wanted);
            let asked = Asked { start_ms, end_ms, step_ms };
            let mine = over_time(&answer(text, asked), asked);
            numbers += compare(text, &theirs, &mine, &mut differing);
        }
    }
    // What was sampled, as it was.
    let (text, at) = (r#"http_requests_total{service="orders"}[2m]"#, base + 4_000_123);
    let raw = theirs.ask("query", &[("query", text), ("time", &seconds(at))]);
    numbers += compare(text, &raw, &shown(&answer(text, Asked::once(at)), at), &mut differing);
    for text in REFUSED {
        let theirs = theirs.ask("query", &[("query", text), ("time", &seconds(moments[0]))]);
        let mine = answer(text, Asked::once(moments[0]));
        if theirs["status"] != "error" || mine.is_ok() {
            differing.push(format!("{text} is refused by one only: {theirs} {mine:?}"));
        }
    }
    assert!(differing.is_empty(), "{} answers differ:\n{}", differing.len(), differing.join("\n"));
    assert!(numbers > 50_000, "only {numbers} numbers were compared");
    eprintln!("{} questions, {numbers} numbers, all alike", QUESTIONS.len());
}

/// Three services with two instances each, over two hours: counters that begin anew, gauges, buckets, a gap.
struct Data {
    base_ms: u64,
    plain: Vec<Plain>,
    /// Labels, samples.
    histograms: Vec<(Labels, Vec<(u64, Histogram)>)>,
}

type Labels = Vec<(String, String)>;
/// Name, labels, whether it counts, samples.
type Plain = (String, Labels, bool, Vec<(u64, f64)>);

const BOUNDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

impl Data {
    fn new(base_ms: u64) -> Self {
        let mut data = Self { base_ms, plain: Vec::new(), histograms: Vec::new() };
        let mut seed = 42u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as f64 / f64::from(1u32 << 31)
        };
        for (number, service) in ["orders", "payments", "catalog"].into_iter().enumerate() {
            for replica in 1..=2u64 {
                let own = |more: &[(&str, &str)]| -> Labels {
                    let mut labels = vec![
                        ("service".to_owned(), service.to_owned()),
                        ("instance".to_owned(), format!("{service}-{replica}")),
                    ];
                    labels.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
                    labels
                };
                // Orders are sampled on whole steps, the others beside them; one instance is gone for a while.
                let beside =
                    number as u64 * 4_321 + replica * 137 - if number == 0 { replica * 137 } else { 0 };
                let times: Vec<u64> = (0..480u64)
                    .map(|step| base_ms + step * 15_000 + beside)
                    .filter(|at| {
                        (service, replica) != ("payments", 2)
                            || !(2_000..4_500).contains(&((at - base_ms) / 1000))
                    })
                    .collect();
                for code in ["200", "404", "500"] {
                    let mut total = 0.0;
                    let samples = times.iter().enumerate().map(|(step, at)| {
                        if step == 200 + number * 50 {
                            total = 0.0;
                        }
                        total += (random() * if code == "200" { 50.0 } else { 3.0 }).floor();
                        (*at, total)
                    });
                    let samples = samples.collect();
                    data.plain.push(("http_requests_total".into(), own(&[("code", code)]), true, samples));
                }
                let memory = times.iter().map(|at| (*at, (2e8 + random() * 2e8).floor())).collect();
                data.plain.push(("memory_bytes".into(), own(&[]), false, memory));
                let limit = times.iter().map(|at| (*at, 4e8 + 1e7 * replica as f64)).collect();
                data.plain.push(("memory_limit_bytes".into(), own(&[("node", "one")]), false, limit));
                let up =
                    times.iter().enumerate().map(|(step, at)| (*at, f64::from(u8::from(step % 37 != 0))));
                data.plain.push(("up".into(), own(&[]), false, up.collect()));
                if replica == 1 {
                    let labels = vec![
                        ("service".to_owned(), service.to_owned()),
                        ("version".to_owned(), format!("1.{number}")),
                    ];
                    data.plain.push((
                        "build_info".into(),
                        labels,
                        false,
                        times.iter().map(|at| (*at, 1.0)).collect(),
                    ));
                }
                let (mut counts, mut sum) = ([0u64; 7], 0.0);
                let of = |at: &u64| {
                    for _ in 0..(random() * 20.0) as usize {
                        let took = 0.001 * (random() * 9.5).exp();
                        sum += took;
                        counts[BOUNDS.partition_point(|bound| *bound < took)] += 1;
                    }
                    let buckets = Buckets::Explicit { bounds: BOUNDS.into(), counts: counts.into() };
                    (*at, Histogram { cumulative: true, count: counts.iter().sum(), sum, buckets })
                };
                data.histograms.push((own(&[]), times.iter().map(of).collect()));
            }
        }
        data
    }

    fn openmetrics(&self) -> String {
        let mut families: BTreeMap<String, String> = BTreeMap::new();
        let shown = |labels: &[(String, String)], more: &str| {
            let mut shown: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            shown.extend((!more.is_empty()).then(|| more.to_owned()));
            format!("{{{}}}", shown.join(","))
        };
        for (name, labels, counts, samples) in &self.plain {
            let family = if *counts { name.trim_end_matches("_total") } else { name };
            let kind = if *counts { "counter" } else { "gauge" };
            let text =
                families.entry(family.to_owned()).or_insert_with(|| format!("# TYPE {family} {kind}\n"));
            for (at, value) in samples {
                writeln!(text, "{name}{} {value} {}", shown(labels, ""), seconds(*at as i64)).unwrap();
            }
        }
        let text = families
            .entry("latency_seconds".into())
            .or_insert_with(|| "# TYPE latency_seconds histogram\n".to_owned());
        for (labels, samples) in &self.histograms {
            for (at, histogram) in samples {
                let Buckets::Explicit { bounds, counts } = &histogram.buckets else { unreachable!() };
                let at = seconds(*at as i64);
                let mut total = 0;
                for (bound, count) in
                    bounds.iter().map(ToString::to_string).chain(["+Inf".into()]).zip(counts)
                {
                    total += count;
                    let labels = shown(labels, &format!("le=\"{bound}\""));
                    writeln!(text, "latency_seconds_bucket{labels} {total} {at}").unwrap();
                }
                let labels = shown(labels, "");
                writeln!(text, "latency_seconds_count{labels} {total} {at}").unwrap();
                writeln!(text, "latency_seconds_sum{labels} {} {at}", histogram.sum).unwrap();
            }
        }
        format!("{}# EOF\n", families.into_values().collect::<String>())
    }

    fn points(&self) -> Vec<MetricPoint> {
        let point = |name: &str, labels: &[(String, String)], at: u64, value| MetricPoint {
            name: name.into(),
            unit: Text::default(),
            labels: labels
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            time_ns: at * 1_000_000,
            value,
        };
        let mut points = Vec::new();
        for (name, labels, counts, samples) in &self.plain {
            points.extend(samples.iter().map(|(at, value)| {
                let value = if *counts { MetricValue::Counter(*value) } else { MetricValue::Gauge(*value) };
                point(name, labels, *at, value)
            }));
        }
        for (labels, samples) in &self.histograms {
            points.extend(samples.iter().map(|(at, histogram)| {
                point("latency_seconds", labels, *at, MetricValue::Histogram(Box::new(histogram.clone())))
            }));
        }
        points.sort_by_key(|point| point.time_ns);
        assert!(points.iter().all(|point| point.time_ns >= self.base_ms * 1_000_000));
        points
    }
}

struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(directory: &Path, openmetrics: &str) -> Self {
        let (text, blocks) = (directory.join("data.txt"), directory.join("theirs"));
        std::fs::write(&text, openmetrics).unwrap();
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&text, &blocks])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", blocks.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("theirs.log")).unwrap())
            .spawn()
            .unwrap();
        let started = Self { child, address };
        let give_up = Instant::now() + Duration::from_secs(60);
        while started.send("GET /-/ready HTTP/1.0\r\n\r\n").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < give_up, "prometheus does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        started
    }

    fn send(&self, request: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Json {
        let body: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let body = body.join("&");
        let request = format!(
            "POST /api/v1/{what} HTTP/1.0\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (_, body) = self.send(&request).expect("prometheus answers");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// What is compared: the type, and of each series what it said when.
type Shown = (String, Vec<Said>);
type Said = (BTreeMap<String, String>, Vec<(i64, f64)>);

fn of_labels(labels: &promql::Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn shown(answer: &Result<Value, PromError>, at: i64) -> Option<Shown> {
    Some(match answer.as_ref().ok()? {
        Value::Scalar(cells) => ("scalar".into(), vec![(BTreeMap::new(), vec![(at, cells[0])])]),
        Value::Text(_) => return None,
        Value::Vector(rows) => {
            let row = |row: &promql::Row| (of_labels(&row.labels), vec![(at, row.cells[0].unwrap())]);
            ("vector".into(), rows.iter().map(row).collect())
        }
        Value::Matrix(series) => {
            let series = series.iter().map(|series| (of_labels(&series.labels), series.samples.clone()));
            ("matrix".into(), series.collect())
        }
    })
}

fn over_time(answer: &Result<Value, PromError>, asked: Asked) -> Option<Shown> {
    let dated = |cells: &[Option<f64>]| {
        asked.moments().zip(cells).filter_map(|(at, cell)| Some((at, (*cell)?))).collect::<Vec<_>>()
    };
    let series = match answer.as_ref().ok()? {
        Value::Scalar(cells) => {
            let cells: Vec<_> = cells.iter().map(|cell| Some(*cell)).collect();
            vec![(BTreeMap::new(), dated(&cells))]
        }
        Value::Vector(rows) => rows.iter().map(|row| (of_labels(&row.labels), dated(&row.cells))).collect(),
        Value::Matrix(_) | Value::Text(_) => return None,
    };
    Some(("matrix".into(), series))
}

fn theirs_shown(answer: &Json) -> Option<Shown> {
    let data = answer.get("data")?;
    let kind = data["resultType"].as_str()?.to_owned();
    let sample = |pair: &Json| {
        let number = match pair[1].as_str().unwrap() {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            text => text.parse().unwrap(),
        };
        ((pair[0].as_f64().unwrap() * 1000.0).round() as i64, number)
    };
    if kind == "scalar" {
        return Some((kind, vec![(BTreeMap::new(), vec![sample(&data["result"])])]));
    }
    let series = data["result"].as_array()?.iter().map(|series| {
        let labels = series["metric"].as_object().unwrap();
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let samples = match series.get("values") {
            Some(values) => values.as_array().unwrap().iter().map(sample).collect(),
            None => vec![sample(&series["value"])],
        };
        (labels.collect(), samples)
    });
    Some((kind, series.collect()))
}

/// How many numbers were compared.
fn compare(text: &str, theirs: &Json, mine: &Option<Shown>, differing: &mut Vec<String>) -> usize {
    let (Some((their_kind, theirs)), Some((kind, mine))) = (theirs_shown(theirs), mine.clone()) else {
        differing.push(format!("{text}: theirs {theirs}, ours {mine:?}"));
        return 0;
    };
    let order = |mut series: Vec<Said>| {
        if !text.starts_with("sort") || kind == "matrix" {
            series.sort_by(|(a, _): &Said, (b, _)| a.cmp(b));
        }
        series
    };
    let (theirs, mine) = (order(theirs), order(mine));
    let labels = |series: &[Said]| series.iter().map(|(labels, _)| format!("{labels:?}")).collect::<Vec<_>>();
    if kind != their_kind || labels(&theirs) != labels(&mine) {
        differing.push(format!(
            "{text}: {their_kind} of {:?}\n   and {kind} of {:?}",
            labels(&theirs),
            labels(&mine)
        ));
        return 0;
    }
    let mut compared = 0;
    for ((labels, theirs), (_, mine)) in theirs.iter().zip(&mine) {
        let alike = |a: f64, b: f64| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9)
        };
        let differs = theirs.len() != mine.len()
            || theirs.iter().zip(mine).any(|((t, a), (u, b))| t != u || !alike(*a, *b));
        if differs {
            let first = theirs.iter().zip(mine).find(|((t, a), (u, b))| t != u || !alike(*a, *b));
            differing.push(format!(
                "{text} {labels:?}: {} and {} numbers; first {first:?}",
                theirs.len(),
                mine.len()
            ));
            return 0;
        }
        compared += mine.len();
    }
    compared
}
