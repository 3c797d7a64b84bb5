//! `telemetry` → what is kept, and where services may send theirs.

use std::net::SocketAddr;
use std::time::Duration;

use super::gateway::parse_listen;
use crate::spec::{Compression, Export, ExportProtocol, Pipes, QueryDoor, Telemetry};
use crate::text::File;
use crate::text::decode::{At, Faults, shown};
use crate::text::scalar::Word;
use crate::text::shape::{Form, Switch};
use crate::text::telemetry::{ExportText, QueryText};

/// `None`: nothing is kept, nothing listens.
pub(crate) fn resolve(file: &File, pipes: &Pipes, faults: &mut Faults) -> Option<Telemetry> {
    let mut telemetry = Telemetry::default();
    let written = match file.telemetry.as_ref().map(|at| &at.value) {
        None | Some(Switch::Plain(true)) => return Some(telemetry),
        Some(Switch::Plain(false)) => return None,
        Some(Switch::Detail(written)) => written,
    };
    telemetry.grpc = listen(written.grpc.as_ref(), Telemetry::GRPC, faults);
    telemetry.http = listen(written.http.as_ref(), Telemetry::HTTP, faults);
    if let (Some(grpc), Some(http), Some(at)) = (telemetry.grpc, telemetry.http, &written.http)
        && grpc == http
        && grpc.port() != 0
    {
        let message = format!("`grpc` and `http` both want {grpc}");
        faults.bad_value(at.span, message, "give one of them another port");
    }
    telemetry.query = written.query.as_ref().and_then(|at| query(at, faults));
    if let (Some(door), Some(at)) = (&telemetry.query, &written.query)
        && [telemetry.grpc, telemetry.http].contains(&Some(door.listen))
    {
        let message = format!("services send telemetry to {} already", door.listen);
        faults.bad_value(at.span, message, "give `query` another port");
    }
    telemetry.export = written.export.as_ref().and_then(|at| export(at, faults));
    if let (Some(at), Some(port)) =
        (&written.export, telemetry.export.as_ref().and_then(Export::port_of_this_machine))
        && [telemetry.grpc, telemetry.http].into_iter().flatten().any(|own| own.port() == port)
    {
        let message =
            format!("services send telemetry to port {port} of this machine: it would go round and round");
        faults.bad_value(
            at.span,
            message,
            "name the port of the other backend, or give `grpc` and `http` others",
        );
        telemetry.export = None;
    }
    telemetry.alerts = super::slo::alerts(written.alerts.as_ref(), pipes, faults);
    if let Some(at) = &written.keep {
        telemetry.keep = at.value.0;
        if at.value.0 < Telemetry::MIN_KEEP {
            faults.bad_value(
                at.span,
                "this is less than an hour",
                "telemetry goes by whole hours: `keep: 1h`",
            );
        }
    }
    if let Some(at) = &written.size {
        match at.value.0.filter(|size| *size >= Telemetry::MIN_SIZE) {
            Some(size) => telemetry.size = size,
            None => faults.bad_value(at.span, "this is no room for telemetry", "write at least `64mb`"),
        }
    }
    if let Some(at) = &written.sample {
        telemetry.sample = at.value.0;
    }
    if let Some(at) = &written.slow {
        telemetry.slow = at.value.0;
        if at.value.0 == Duration::ZERO {
            faults.bad_value(at.span, "every trace would be slow", "write `sample: 100%` to keep them all");
        }
    }
    Some(telemetry)
}

fn listen(written: Option<&At<Word>>, usual: u16, faults: &mut Faults) -> Option<SocketAddr> {
    let at = written?;
    let address = parse_listen(&at.value.0);
    if address.is_none() {
        let message = format!("`{}` is not an address to listen on", shown(&at.value.0));
        let hint = format!(
            "write a port (`{usual}`: this machine only), `0.0.0.0:{usual}` or `:{usual}` (everywhere)"
        );
        faults.bad_value(at.span, message, hint);
    }
    address
}

/// Where tools of others ask: only where this machine alone can, or with a token.
fn query(written: &At<Form<Word, QueryText>>, faults: &mut Faults) -> Option<QueryDoor> {
    const PORT: &str =
        "write a port, such as `9464` (this machine only), or `{ listen: \"0.0.0.0:9464\", token: … }`";
    let (word, span, token) = match &written.value {
        Form::Short(word) => (&word.0, written.span, None),
        Form::Long(long) => {
            let listen = long.listen.as_ref()?; // its absence is told already
            (&listen.value.0, listen.span, long.token.as_ref())
        }
    };
    let Some(listen) = parse_listen(word).filter(|address| address.port() != 0) else {
        faults.bad_value(span, format!("`{}` is not an address to ask at", shown(word)), PORT);
        return None;
    };
    if let Some(token) = token.filter(|token| token.value.len() < QueryDoor::TOKEN_BYTES) {
        let message = format!("a token of {} bytes can be guessed", token.value.len());
        faults.bad_value(token.span, message, "write 16 at least: `openssl rand -hex 16` makes some");
        return None;
    }
    if !listen.ip().is_loopback() && token.is_none() {
        let message = format!("everybody who reaches {listen} could read what is kept");
        faults.bad_value(
            span,
            message,
            "add a token, `{ listen: …, token: ${TOKEN} }`, or listen on this machine only",
        );
        return None;
    }
    Some(QueryDoor { listen, token: token.map(|token| token.value.clone()) })
}

/// Where what is kept goes on to.
fn export(written: &At<Form<Word, ExportText>>, faults: &mut Faults) -> Option<Export> {
    let none = ExportText::default();
    let (endpoint, span, more) = match &written.value {
        Form::Short(word) => (&word.0, written.span, &none),
        Form::Long(long) => {
            let endpoint = long.endpoint.as_ref()?; // its absence is told already
            (&endpoint.value.0, endpoint.span, &**long)
        }
    };
    let mut whole = true;
    let mut fault = |span, message: String, hint: &str| {
        faults.bad_value(span, message, hint);
        whole = false;
    };
    let good = endpoint.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    });
    if !good {
        fault(
            span,
            format!("`{}` is no address to send to", shown(endpoint)),
            "write it like `https://otlp.example`",
        );
    }
    let protocol = match more.protocol.as_ref().map(|at| (at, at.value.0.as_str())) {
        None | Some((_, "http/protobuf")) => ExportProtocol::Http,
        Some((_, "grpc")) => ExportProtocol::Grpc,
        Some((at, other)) => {
            fault(
                at.span,
                format!("`{}` is no protocol of OTLP here", shown(other)),
                "write `http/protobuf` or `grpc`",
            );
            ExportProtocol::Http
        }
    };
    let compression = match more.compression.as_ref().map(|at| (at, at.value.0.as_str())) {
        None | Some((_, "gzip")) => Compression::Gzip,
        Some((_, "none")) => Compression::None,
        Some((at, other)) => {
            let message = format!("`{}` is no way to pack requests", shown(other));
            fault(at.span, message, "write `gzip` or `none`");
            Compression::Gzip
        }
    };
    let mut export = Export {
        endpoint: endpoint.clone(),
        protocol,
        compression,
        headers: std::collections::BTreeMap::new(),
        traces: more.signals.is_none(),
        logs: more.signals.is_none(),
        metrics: more.signals.is_none(),
    };
    for (name, at) in more.headers.iter().flat_map(|at| &at.value.0) {
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(&at.value).is_err() {
            fault(
                at.span,
                format!("`{}` cannot be sent as a header", shown(name)),
                "a name of letters and `-`, a value in one line",
            );
        }
        export.headers.insert(name.clone(), at.value.clone());
    }
    for at in more.signals.iter().flat_map(|at| &at.value.0) {
        match at.value.as_str() {
            "traces" => export.traces = true,
            "logs" => export.logs = true,
            "metrics" => export.metrics = true,
            other => fault(
                at.span,
                format!("`{}` is no signal", shown(other)),
                "there are `traces`, `logs`, `metrics`",
            ),
        }
    }
    whole.then_some(export)
}
