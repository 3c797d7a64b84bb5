//! The proxies beside Atoll, as the distribution ships them: each with a configuration for speed, one
//! worker, connections to the upstream kept.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::certificate::Certificate;
use super::child::Process;
use super::machine::{self, Tree};
use super::system::{Guard, System};
use super::{Setting, floor};
use crate::atoll;

/// Idle connections to the upstream that are kept.
const KEPT: usize = 256;

/// What a proxy is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Plain proxying of HTTP/1.1.
    Plain,
    /// With a rate limit that never refuses, and an access log.
    Guarded,
    /// TLS before HTTP/1.1.
    Tls,
    /// HTTP/2 before HTTP/1.1.
    Http2,
    /// HTTP/2 on both sides.
    Grpc,
}

/// nginx; `None` if it is not installed.
pub(crate) fn nginx(setting: &Setting, kind: Kind) -> anyhow::Result<Option<System>> {
    nginx_by(setting, kind, |command| command)
}

/// The same, by another command that is made from its own.
pub(crate) fn nginx_by(
    setting: &Setting,
    kind: Kind,
    by: impl Fn(Command) -> Command,
) -> anyhow::Result<Option<System>> {
    let Some(program) = machine::find("nginx") else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("nginx.conf");
    std::fs::write(
        &file,
        nginx_file(folder.path(), address, &setting.upstreams, kind, &setting.certificate),
    )?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "error.log"]);
    let name = match kind {
        Kind::Guarded => "nginx, limit_req + access_log",
        _ => "nginx",
    };
    start(name, by(command), address, setting, folder).map(Some)
}

fn nginx_file(
    folder: &Path,
    address: SocketAddr,
    upstreams: &[SocketAddr],
    kind: Kind,
    certificate: &Certificate,
) -> String {
    let here = folder.display();
    let mut text = format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid {here}/nginx.pid;\n\
         events {{ worker_connections 15000; multi_accept off; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_timeout 300s;\n  \
         keepalive_requests 1000000000;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "  {kind}_temp_path {here}/{kind};"); // writing to a String cannot fail
    }
    let _ = writeln!(text, "  upstream app {{");
    for upstream in upstreams {
        let _ = writeln!(text, "    server {upstream};");
    }
    let _ = writeln!(text, "    keepalive {KEPT};\n    keepalive_requests 1000000000;\n  }}");
    if kind == Kind::Guarded {
        text.push_str("  limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;\n");
    }
    let flags = match kind {
        Kind::Tls => " ssl",
        Kind::Http2 | Kind::Grpc => " http2",
        Kind::Plain | Kind::Guarded => "",
    };
    let _ = writeln!(text, "  server {{\n    listen {address}{flags} backlog=4096;");
    if kind == Kind::Tls {
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let _ = writeln!(text, "    ssl_certificate {cert};\n    ssl_certificate_key {key};");
        text.push_str(
            "    ssl_protocols TLSv1.3;\n    ssl_session_cache off;\n    ssl_session_tickets off;\n",
        );
    }
    text.push_str("    location / {\n");
    if kind == Kind::Guarded {
        let _ = writeln!(text, "      limit_req zone=clients burst=100000 nodelay;");
        let _ = writeln!(text, "      access_log {here}/access.log combined;");
    }
    if kind == Kind::Grpc {
        text.push_str("      grpc_pass grpc://app;\n");
    } else {
        text.push_str("      proxy_pass http://app;\n      proxy_http_version 1.1;\n");
        text.push_str("      proxy_set_header Connection \"\";\n");
    }
    text.push_str("    }\n  }\n}\n");
    text
}

/// HAProxy; `None` if it is not installed.
pub(crate) fn haproxy(setting: &Setting, kind: Kind) -> anyhow::Result<Option<System>> {
    haproxy_by(setting, kind, |command| command)
}

/// The same, by another command that is made from its own.
pub(crate) fn haproxy_by(
    setting: &Setting,
    kind: Kind,
    by: impl Fn(Command) -> Command,
) -> anyhow::Result<Option<System>> {
    let Some(program) = machine::find("haproxy") else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, haproxy_file(address, &setting.upstreams, kind, &setting.certificate))?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    start("HAProxy", by(command), address, setting, folder).map(Some)
}

fn haproxy_file(
    address: SocketAddr,
    upstreams: &[SocketAddr],
    kind: Kind,
    certificate: &Certificate,
) -> String {
    let listen = match kind {
        Kind::Tls => format!(" ssl crt {} ssl-min-ver TLSv1.3 no-tls-tickets", certificate.both.display()),
        Kind::Http2 | Kind::Grpc => " proto h2".to_owned(),
        Kind::Plain | Kind::Guarded => String::new(),
    };
    let server = if kind == Kind::Grpc { " proto h2" } else { "" };
    let mut text = format!(
        "global\n  nbthread 1\n  no strict-limits\n  maxconn 15000\n  tune.ssl.cachesize 0\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 60s\n  \
         timeout http-keep-alive 300s\n  http-reuse always\n\
         frontend in\n  bind {address}{listen}\n  default_backend app\n\
         backend app\n  balance roundrobin\n"
    );
    for (number, upstream) in upstreams.iter().enumerate() {
        let _ = writeln!(text, "  server s{number} {upstream}{server}"); // writing to a String cannot fail
    }
    text
}

/// The forwarder that parses nothing.
pub(crate) fn floor(setting: &Setting) -> anyhow::Result<System> {
    floor_by(setting, |command| command)
}

/// The same, by another command that is made from its own.
pub(crate) fn floor_by(setting: &Setting, by: impl Fn(Command) -> Command) -> anyhow::Result<System> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(floor::VERB).arg(address.to_string());
    command.args(setting.upstreams.iter().map(SocketAddr::to_string));
    start("floor: forwarder without parsing", by(command), address, setting, tempfile::tempdir()?)
}

fn start(
    name: &str,
    mut command: Command,
    address: SocketAddr,
    setting: &Setting,
    folder: tempfile::TempDir,
) -> anyhow::Result<System> {
    let log = folder.path().join("output.log");
    let output = std::fs::File::create(&log)?;
    command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output));
    let mut process = Process::start(name, command, setting.cores.proxy)?;
    process.wait_listening(address).with_context(|| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        format!("{name} does not start\n{}", said.trim_end())
    })?;
    let tree = Tree::Of(process.pid());
    let guard = Guard::Process { _process: process, _folder: folder };
    Ok(System { name: name.to_owned(), address, tree, guard })
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], atoll::free_port()?)))
}
