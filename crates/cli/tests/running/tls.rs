//! The gateway with TLS, as a person and curl see it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::world::{LIMIT, World, text};

const APP: &str = r#"
name: world
gateway:
  tls: TLS
  listen: [{ address: "127.0.0.1:0" }, { address: "127.0.0.1:0", tls: true }]
services:
  web:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/{*rest}"]
"#;

fn write(world: &World, tls: &str) {
    let text = APP.replace("TLS", tls).replace("ECHO", &crate::world::echo().display().to_string());
    fs::write(world.path().join("atoll.yaml"), text).unwrap();
}

/// `curl` is needed; a test without it is left out, but not where everything must be tried.
fn has_curl() -> bool {
    let has = Command::new("curl").arg("--version").output().is_ok();
    assert!(has || std::env::var_os("ATOLL_CI_ALL").is_none(), "curl is not installed");
    has
}

/// What curl prints that trusts `ca` and nothing else.
fn curl(ca: &Path, url: &str) -> Result<String, String> {
    let curl = Command::new("curl").args(["-sS", "--max-time", "10", "--cacert"]).arg(ca).arg(url).output();
    let output = curl.unwrap();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn secure(world: &World) -> String {
    let gateway = world.status().unwrap().gateway;
    gateway.into_iter().find(|url| url.starts_with("https://")).unwrap()
}

/// A certificate for `localhost` in the project directory, and the file with what a client is to trust.
fn certify(world: &World, name: &str) -> std::path::PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let trusted = world.path().join(format!("{name}-ca.pem"));
    fs::write(&trusted, &pem).unwrap();
    for (file, text) in [("cert.pem", pem), ("key.pem", key.serialize_pem())] {
        fs::write(world.path().join("beside"), text).unwrap();
        fs::rename(world.path().join("beside"), world.path().join(file)).unwrap();
    }
    trusted
}

#[test]
fn a_gateway_with_the_development_authority_is_trusted_by_whoever_trusts_that() {
    let world = World::new("");
    write(&world, "development");
    let shown = world.ok(&["up", "-d", "--wait"]);
    world.until_ready();
    let url = secure(&world);
    assert!(url.starts_with("https://localhost:"), "{url}");
    assert!(shown.contains(&url) || world.ok(&["ps"]).contains(&url), "{shown}");
    let ca = world.ok(&["trust", "--print"]);
    let ca = Path::new(ca.trim_end());
    assert!(ca.starts_with(world.path().join("ca")), "{ca:?}");
    if has_curl() {
        let answer = curl(ca, &format!("{url}/headers")).unwrap();
        assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
    }
    let told: serde_json::Value = serde_json::from_str(&world.ok(&["trust", "--format", "json"])).unwrap();
    assert_eq!(told["certificate"], ca.display().to_string());
    let page = world.ok(&["trust"]);
    assert!(page.contains(told["fingerprint"].as_str().unwrap()), "{page}");
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn certificate_files_are_taken_renewed_without_a_restart_and_refused_when_broken() {
    let world = World::new("");
    let first = certify(&world, "first");
    write(&world, "{ cert: cert.pem, key: key.pem }");
    world.ok(&["up", "-d", "--wait"]);
    world.until_ready();
    let url = secure(&world);
    if !has_curl() {
        return;
    }
    curl(&first, &format!("{url}/headers")).unwrap();
    let second = certify(&world, "second");
    let until = Instant::now() + LIMIT;
    while let Err(error) = curl(&second, &format!("{url}/headers")) {
        assert!(Instant::now() < until, "{error}");
    }
    assert!(curl(&first, &url).is_err());
    assert!(world.ok(&["events"]).contains("new certificate"));

    // A key of another certificate: the wish is refused, the gateway goes on.
    fs::write(world.path().join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let said = world.fails(1, &["up", "-d"]);
    assert!(said.contains("A0752") && said.contains("key.pem"), "{said}");
    curl(&second, &format!("{url}/headers")).unwrap();
    fs::remove_file(world.path().join("cert.pem")).unwrap();
    let said = world.fails(1, &["up", "-d"]);
    assert!(said.contains("A0640") && said.contains("cert.pem"), "{said}");
    curl(&second, &format!("{url}/headers")).unwrap();
}

#[test]
fn a_copy_beside_others_speaks_tls_too() {
    let world = World::new("");
    write(&world, "development");
    world.ok(&["--isolated", "up", "-d", "--wait"]);
    let gateway = world.status().unwrap().gateway;
    let (secure, plain): (Vec<_>, Vec<_>) = gateway.into_iter().partition(|url| url.starts_with("https://"));
    assert_eq!((secure.len(), plain.len()), (1, 1), "{secure:?} {plain:?}");
}
