//! Alerts by e-mail, to a mail server that others wrote: with TLS both ways, and a password.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::app::{files, has, python_with};
use crate::world::{LIMIT, World};

/// A certificate of `127.0.0.1` with its key, and the authority that vouches for it, in these files of a directory.
fn certificate(directory: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let of_server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = of_server.signed_by(&key, &authority).unwrap();
    for (name, text) in
        [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(directory.join(name), text).unwrap();
    }
}

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn brings_alerts(how: &str) {
    let Some(python) = python_with("aiosmtpd") else {
        has(&["aiosmtpd"]);
        return;
    };
    let world = World::new("");
    certificate(world.path());
    let mut command = Command::new(python);
    command.arg(files().join("mail_server.py")).args(["cert.pem", "key.pem", how]);
    let mut server = Server(command.current_dir(world.path()).stdout(Stdio::piped()).spawn().unwrap());
    let (say, said) = std::sync::mpsc::channel();
    let lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    std::thread::spawn(move || lines.into_iter().try_for_each(|line| say.send(line)));
    let port = said.recv_timeout(LIMIT).unwrap();
    world.write(&format!(
        r#"
telemetry:
  grpc: "127.0.0.1:0"
  http: "127.0.0.1:0"
  alerts:
    mail:
      server: "127.0.0.1:{port}"
      tls: {how}
      user: atoll
      password: ${{SMTP_PASSWORD}}
      from: Zoë <atoll@shop.example>
      to: [gone@shop.example, oncall@shop.example]
    rules: {{ always: {{ ask: "label_replace(vector(7), \"book\", \"Ä\\r\\nBcc: x@y\", \"\", \"\")" }} }}
services: {{ idle: {{ command: [sleep, "1000"] }} }}
"#
    ));
    let mut up = world.command(&["up", "-d"]);
    up.env("SMTP_PASSWORD", "h$sh ä").env("SSL_CERT_FILE", world.path().join("ca.pem"));
    assert!(up.status().unwrap().success());
    let Ok(taken) = said.recv_timeout(LIMIT * 2) else { panic!("no letter: {}", world.ok(&["events"])) };
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!((&taken["from"], &taken["user"]), (&json!("atoll@shop.example"), &json!("atoll")));
    assert_eq!((&taken["to"], &taken["tls"]), (&json!(["oncall@shop.example"]), &json!(true)));
    let letter = taken["letter"].as_str().unwrap();
    let head = letter.split("\r\n\r\n").next().unwrap();
    assert!(head.contains("Subject: [world] page: always") && !head.contains("\nBcc"), "{letter}");
    let read = "import email, email.policy, sys; m = email.message_from_string(sys.stdin.read(), policy=email.policy.default); \
                print(m['from'], m['subject'], m['bcc'], m.get_content())";
    let read = read_by_python(read, letter);
    assert!(read.contains("Zoë <atoll@shop.example>") && read.contains("Ä  Bcc: x@y"), "{read}");
    assert!(read.contains(" None ") && read.contains("/objectives"), "{read}");
    // The address that is gone is told of, once.
    world.until("the event", |_| world.ok(&["events"]).contains("takes nothing for `gone@shop.example`"));
    world.ok(&["down"]);
}

/// What Python's own reader of letters makes of it.
fn read_by_python(script: &str, letter: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", script]).env("PYTHONIOENCODING", "utf-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), letter.replace("\r\n", "\n").as_bytes())
        .unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn aiosmtpd_takes_alerts_after_starttls() {
    brings_alerts("starttls");
}

#[test]
fn aiosmtpd_takes_alerts_over_tls() {
    brings_alerts("implicit");
}
