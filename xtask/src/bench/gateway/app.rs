//! Atoll under comparison: an app whose instances are the upstream, with a route table of any size and every
//! policy that this build serves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::machine::{self, Tree};
use super::system::{Guard, System};
use super::{Setting, token, upstream};
use crate::atoll::{self, Detached};
use crate::bench::startup::service_program;

/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(20);

/// Instances of a service.
pub(crate) const INSTANCES: usize = 4;

/// Routes of an app with all policies.
pub(crate) const ROUTES: usize = 1000;

/// The path of a unary call.
pub(crate) const UNARY: &str = "/bench.Echo/Unary";

/// A limit that no load meets: a client may have sent as many in any second.
const GENEROUS: &str = "1000000/s per client";

/// A path whose limit everybody meets at the second request.
const PROBE: &str = "/probe";

/// How long a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a line of the access log may take.
const LOG_PATIENCE: Duration = Duration::from_millis(500);

/// What an app may ask for beyond plain proxying. Whether this build serves it is found out by asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// A bearer token is checked, EdDSA.
    Auth,
    /// A rate limit per client that never refuses.
    Limit,
    /// A circuit breaker.
    Breaker,
    /// Power of two choices on peak EWMA.
    PeakEwma,
    /// Explicitly nothing: the default breaker is taken away.
    NoBreaker,
    /// Explicitly simple balancing.
    RoundRobin,
    /// The access log is written.
    LogOn,
    /// The access log is not written.
    LogOff,
    /// TLS at the gateway.
    Tls,
    /// HTTP/2 to the instances.
    Http2Upstream,
    /// More client connections than the default.
    Connections,
}

impl Feature {
    /// The key of the application file that asks for it.
    fn key(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Breaker | Self::NoBreaker => "breaker",
            Self::PeakEwma | Self::RoundRobin => "balance",
            Self::LogOn | Self::LogOff => "access_log",
            Self::Tls => "tls",
            Self::Http2Upstream => "protocol",
            Self::Connections => "limits",
        }
    }

    fn of_route(self) -> Option<&'static str> {
        match self {
            Self::Auth => Some("auth: customer"),
            Self::Limit => Some("limit: 1000000/s per client"),
            Self::Breaker => Some("breaker: { errors: 50%, of: 20, window: 10s }"),
            Self::NoBreaker => Some("breaker: off"),
            _ => None,
        }
    }

    fn of_service(self) -> Option<&'static str> {
        match self {
            Self::PeakEwma => Some("balance: peak-ewma"),
            Self::RoundRobin => Some("balance: { by: round-robin, outlier: off }"),
            Self::Http2Upstream => Some("protocol: h2"),
            _ => None,
        }
    }

    fn of_gateway(self, setting: &Setting) -> Option<String> {
        match self {
            Self::Auth => Some(format!(
                "auth: {{ customer: {{ jwt: {{ jwks: {:?}, issuer: {:?}, audience: {} }} }} }}",
                setting.jwks,
                token::ISSUER,
                token::AUDIENCE
            )),
            Self::LogOn => Some("access_log: true".into()),
            Self::LogOff => Some("access_log: false".into()),
            Self::Tls => Some(format!(
                "tls: {{ cert: {:?}, key: {:?} }}",
                setting.certificate.cert, setting.certificate.key
            )),
            Self::Connections => Some("limits: { connections: 20000 }".into()),
            _ => None,
        }
    }
}

/// An app to run.
pub(crate) struct Shape {
    /// The row's name in tables.
    pub(crate) name: &'static str,
    /// How many routes lead to the service.
    pub(crate) routes: usize,
    /// What it should have; what this build does not serve is left out and told.
    pub(crate) wants: Vec<Feature>,
    /// Without these there is nothing to compare.
    pub(crate) needs: Vec<Feature>,
    /// Services, each with its share of the instances and routes `/s{n}/{id}`; 0: one service, `/r{n}/{id}`.
    pub(crate) services: usize,
}

impl Shape {
    /// A thousand routes, every policy, no access log.
    pub(crate) fn all_on(name: &'static str) -> Self {
        let wants = vec![Feature::Auth, Feature::Limit, Feature::Breaker, Feature::PeakEwma, Feature::LogOff];
        Self { name, routes: ROUTES, wants, needs: Vec::new(), services: 0 }
    }

    /// One route and no policy.
    pub(crate) fn bare(name: &'static str) -> Self {
        let wants = vec![Feature::NoBreaker, Feature::RoundRobin, Feature::LogOff];
        Self { name, routes: 1, wants, needs: Vec::new(), services: 0 }
    }

    /// The same with something else.
    pub(crate) fn with(mut self, feature: Feature) -> Self {
        self.wants.retain(|other| other.key() != feature.key());
        self.wants.push(feature);
        self
    }

    /// The same, and nothing to compare without this feature.
    pub(crate) fn needing(mut self, feature: Feature) -> Self {
        self.needs.push(feature);
        self.with(feature)
    }

    fn file(&self, features: &BTreeSet<Feature>, setting: &Setting) -> anyhow::Result<String> {
        let mut text = String::from("name: gateway-bench\nservices:\n");
        for service in 0..self.services.max(1) {
            self.service(service, features, setting, &mut text)?;
        }
        // Spelled out for TLS only, so that a build without it can be compared in the other groups.
        let tls = features.contains(&Feature::Tls);
        let listen = if tls { "{ address: 127.0.0.1:0, tls: true }" } else { "127.0.0.1:0" };
        writeln!(text, "gateway:\n  listen: {listen}")?;
        for line in features.iter().filter_map(|feature| feature.of_gateway(setting)) {
            writeln!(text, "  {line}")?;
        }
        Ok(text)
    }

    fn service(
        &self,
        number: usize,
        features: &BTreeSet<Feature>,
        setting: &Setting,
        text: &mut String,
    ) -> anyhow::Result<()> {
        let (program, core) = (service_program()?, setting.cores.load);
        let scale = if self.services == 0 { INSTANCES } else { 1 };
        writeln!(text, "  s{number}:\n    command: [{program:?}, {}, \"{core}\"]", upstream::VERB)?;
        writeln!(text, "    scale: {scale}")?;
        for line in features.iter().filter_map(|feature| feature.of_service()) {
            writeln!(text, "    {line}")?;
        }
        let mut options = vec![if self.services == 0 { "timeout: 5s" } else { "timeout: 1s" }];
        options.extend(features.iter().filter_map(|feature| feature.of_route()));
        let options = options.join(", ");
        writeln!(text, "    routes:")?;
        if number == 0 {
            let options = options.replace(GENEROUS, "1/m per client");
            writeln!(text, "      - GET {PROBE}: {{ {options} }}")?;
        }
        if self.services > 0 {
            writeln!(text, "      - GET /s{number}/{{id}}: {{ {options} }}")?;
            return Ok(());
        }
        if features.contains(&Feature::Http2Upstream) {
            writeln!(text, "      - POST {UNARY}: {{ {options} }}")?;
        }
        for route in 0..self.routes {
            writeln!(text, "      - GET /r{route}/{{id}}: {{ {options} }}")?;
        }
        Ok(())
    }
}

/// What came of starting an app.
pub(crate) enum Started {
    /// It runs.
    Running {
        /// The proxy.
        system: System,
        /// Features this build does not serve.
        inactive: Vec<String>,
    },
    /// This build lacks something that the comparison cannot do without.
    Lacks(String),
}

/// Starts Atoll on the proxy's core.
pub(crate) fn start(setting: &Setting, shape: &Shape) -> anyhow::Result<Started> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("atoll.yaml");
    let (mut served, mut inactive) = (BTreeSet::new(), Vec::new());
    for feature in &shape.wants {
        match lack(setting, *feature, &file)? {
            None => {
                served.insert(*feature);
            }
            Some(reason) if shape.needs.contains(feature) => {
                return Ok(Started::Lacks(format!("{}: {reason}", shape.name)));
            }
            Some(reason) => inactive.push(reason),
        }
    }
    std::fs::write(&file, shape.file(&served, setting)?)?;
    let state = folder.path().join("state");
    let app = machine::on_core(setting.cores.proxy, || Detached::up(&file, &state, &[]))?;
    app.wait_ready(LOOK)?;
    let status = app.get("/v1/status")?;
    let address = gateway(&status)?;
    if !served.contains(&Feature::Tls) {
        inactive.extend(idle_policies(setting, address, &served)?);
        inactive.extend(wrong_log(&state, &served));
    }
    let system = System {
        name: shape.name.to_owned(),
        address,
        tree: Tree::Atoll(state),
        guard: Guard::App { _app: app, _folder: folder },
    };
    Ok(Started::Running { system, inactive })
}

/// Why this build does not serve a feature; `None`: it does.
fn lack(setting: &Setting, feature: Feature, file: &Path) -> anyhow::Result<Option<String>> {
    let shape = Shape { name: "", routes: 1, wants: Vec::new(), needs: Vec::new(), services: 0 };
    std::fs::write(file, shape.file(&BTreeSet::from([feature]), setting)?)?;
    let state = file.with_file_name("unused");
    let mut check = atoll::command("check", &state);
    let output = check.args(["--format", "json"]).arg(file).stdout(std::process::Stdio::piped()).output()?;
    let findings: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("atoll check: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = findings.as_array().context("atoll check prints no list")?;
    Ok(judge(findings, feature.key()))
}

/// What findings say against a key: an error, or that it has no effect yet.
fn judge(findings: &[Value], key: &str) -> Option<String> {
    let against = findings.iter().find(|finding| {
        let message = finding["message"].as_str().unwrap_or_default();
        finding["severity"] == "error"
            || (finding["code"] == "A0206" && message.contains(&format!("`{key}`")))
    })?;
    let (code, message) = (&against["code"], against["message"].as_str().unwrap_or_default());
    let message = message.trim_start_matches("service `s0`: ");
    Some(format!("{message} ({})", code.as_str().unwrap_or_default()))
}

fn gateway(status: &Value) -> anyhow::Result<SocketAddr> {
    let url = status["gateway"][0].as_str().context("the app has no gateway")?;
    let address = url.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    Ok(SocketAddr::from(([127, 0, 0, 1], port.with_context(|| format!("the gateway's address `{url}`"))?)))
}

/// Policies that the file may have and the data path does not act upon: what is on must show.
fn idle_policies(
    setting: &Setting,
    address: SocketAddr,
    served: &BTreeSet<Feature>,
) -> anyhow::Result<Vec<String>> {
    let mut idle = Vec::new();
    let token = setting.tokens.first().map(String::as_str);
    let strangers = status(address, PROBE, None)?;
    if served.contains(&Feature::Auth) && strangers != 401 {
        idle.push(format!("`auth` is accepted, and a request without a token is answered with {strangers}"));
    }
    if served.contains(&Feature::Limit) {
        let (first, second) = (status(address, PROBE, token)?, status(address, PROBE, token)?);
        if (first, second) != (200, 429) {
            idle.push(format!(
                "`limit` is accepted, and two requests where one may come get {first} and {second}"
            ));
        }
    }
    Ok(idle)
}

/// Whether lines are written or not as the file says; asked after the probes.
fn wrong_log(state: &Path, served: &BTreeSet<Feature>) -> Option<String> {
    let wanted = match (served.contains(&Feature::LogOn), served.contains(&Feature::LogOff)) {
        (true, _) => true,
        (_, true) => false,
        _ => return None,
    };
    let end = Instant::now() + LOG_PATIENCE;
    while Instant::now() < end && !has_log(state) {
        std::thread::sleep(LOOK);
    }
    match (wanted, has_log(state)) {
        (true, false) => Some("`access_log: true` is accepted, and no line is written".into()),
        (false, true) => Some("`access_log: false` is accepted, and lines are written all the same".into()),
        _ => None,
    }
}

fn has_log(state: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(state.join("logs")) else { return false };
    files.flatten().any(|file| {
        let named = file.file_name().to_string_lossy().starts_with("gateway");
        named && file.metadata().is_ok_and(|metadata| metadata.len() > 0)
    })
}

/// Asks once; the status of the answer.
fn status(address: SocketAddr, path: &str, token: Option<&str>) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PROBE_PATIENCE))?;
    let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bench.test\r\n{token}connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.with_context(|| format!("GET {path}: {answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_feature_is_lacking_if_its_key_is_an_error_or_has_no_effect() {
        let unknown =
            json!([{ "severity": "error", "code": "A0201", "message": "a service has no key `balance`" }]);
        let later = json!([{ "severity": "warning", "code": "A0206", "message": "`auth` is accepted and has no effect yet" }]);
        let other =
            json!([{ "severity": "warning", "code": "A0404", "message": "a route without a timeout" }]);
        let judge = |findings: &Value, key| super::judge(findings.as_array().unwrap(), key).is_some();
        assert!(judge(&unknown, "balance"));
        assert!(judge(&later, "auth"));
        assert!(!judge(&later, "tls"));
        assert!(!judge(&other, "auth"));
    }

    #[test]
    fn wanting_a_feature_takes_the_place_of_its_opposite() {
        let shape = Shape::all_on("x").with(Feature::LogOn);
        assert!(shape.wants.contains(&Feature::LogOn) && !shape.wants.contains(&Feature::LogOff));
    }
}
