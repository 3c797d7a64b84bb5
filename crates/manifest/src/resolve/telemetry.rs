//! `telemetry` → what is kept, and where services may send theirs.

use std::net::SocketAddr;
use std::time::Duration;

use super::gateway::parse_listen;
use crate::spec::Telemetry;
use crate::text::File;
use crate::text::decode::{At, Faults, shown};
use crate::text::scalar::Word;
use crate::text::shape::Switch;

/// `None`: nothing is kept, nothing listens.
pub(crate) fn resolve(file: &File, faults: &mut Faults) -> Option<Telemetry> {
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
