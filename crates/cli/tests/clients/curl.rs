//! curl: every version of HTTP and TLS that it has, and what people do with it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::app::{App, WEB, has, output, token};
use crate::world::text;

/// Ways to reach the gateway: options, whether with TLS, the version of HTTP that is spoken then.
const WAYS: [(&[&str], bool, &str); 8] = [
    (&["--http1.1"], false, "1.1"),
    (&["--http2"], false, "1.1"), // asks for an upgrade, which nobody has to grant (RFC 9113 §3.1)
    (&["--http2-prior-knowledge"], false, "2"),
    (&["--http1.1", "--tlsv1.3"], true, "1.1"),
    (&["--http1.1", "--tls-max", "1.2"], true, "1.1"),
    (&["--http2", "--tlsv1.3"], true, "2"),
    (&["--http2", "--tls-max", "1.2"], true, "2"),
    (&["--no-alpn"], true, "1.1"),
];

/// As many bytes go up and down.
const LARGE: usize = 10_000_000;

impl App {
    fn url(&self, secure: bool, path: &str) -> String {
        format!("{}{path}", if secure { &self.secure } else { &self.plain })
    }

    fn curl(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "25", "--cacert"]).arg(&self.ca);
        command
    }

    /// Runs curl, which must succeed, and gives what it prints.
    #[track_caller]
    fn curls(&self, arguments: &[&str]) -> String {
        let mut command = self.curl();
        command.args(arguments);
        let output = output(command);
        assert!(output.status.success(), "curl {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }
}

#[test]
fn curl_gets_and_posts_over_every_version_of_http_and_tls() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    for (options, secure, version) in WAYS {
        let with = |more: &[&str], path: &str| {
            let url = app.url(secure, path);
            app.curls(&[options, more, &["-w", "\n%{http_version} %{http_code}", &url]].concat())
        };
        let got = with(&[], "/web/");
        assert!(got.ends_with(&format!("\n{version} 200")), "{options:?}: {got}");
        assert!(got.contains(r#""method": "GET""#), "{got}");
        let proto = format!(r#""x-forwarded-proto": "{}""#, if secure { "https" } else { "http" });
        assert!(got.contains(&proto), "{got}");
        assert_eq!(with(&["-d", "a=1&b=2"], "/web/echo"), format!("a=1&b=2\n{version} 200"), "{options:?}");
        let head = with(&["-I"], "/web/bytes/1000");
        assert!(head.to_lowercase().contains("content-length: 1000"), "{head}");
        let chunked = ["-H", "transfer-encoding: chunked", "-d", "in chunks"];
        // HTTP/2 has frames instead: there curl sends the length or nothing.
        let chunked = if version == "2" { &["-d", "in chunks"][..] } else { &chunked };
        assert_eq!(with(chunked, "/web/echo"), format!("in chunks\n{version} 200"), "{options:?}");
        let trailers = with(&["-D", "-", "-H", "te: trailers"], "/web/trailers");
        assert!(trailers.contains("x-checksum: 4711"), "{options:?}: {trailers}");
        let missing = with(&[], "/nowhere");
        assert!(missing.ends_with(&format!("{version} 404")) && missing.contains("A0"), "{missing}");
    }
    // An old client: no chunks, the end of the connection is the end of the body.
    let old = app.curls(&["--http1.0", "-i", &app.url(false, "/web/trailers")]);
    assert!(old.ends_with("\r\n\r\nbody\n") && !old.to_lowercase().contains("transfer-encoding"), "{old}");
    // By address; the certificate is for that, too.
    app.curls(&["-f", &app.url(true, "/web/").replace("localhost", "127.0.0.1")]);
    app.down();
}

#[test]
fn ten_megabytes_arrive_whole_in_both_directions() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    let file = app.path().join("large");
    let there = app.path().join("there");
    let body: Vec<u8> =
        (0..LARGE / 4).flat_map(|word| (word as u32).wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&file, &body).unwrap();
    let (file, there) = (file.to_str().unwrap(), there.to_str().unwrap());
    let sum = |path: &str| {
        let mut command = Command::new("sha256sum");
        command.arg(path);
        text(&output(command).stdout).split(' ').next().unwrap().to_owned()
    };
    let expected = format!("{LARGE} {}\n", sum(file));
    for (options, secure, version) in [WAYS[0], WAYS[2], WAYS[3], WAYS[5]] {
        let with =
            |more: &[&str], path: &str| app.curls(&[options, more, &[&app.url(secure, path)]].concat());
        assert_eq!(with(&["-T", file], "/web/sum"), expected, "{options:?}");
        assert_eq!(with(&["--data-binary", &format!("@{file}")], "/web/sum"), expected, "{options:?}");
        if version == "1.1" {
            let chunked = ["-X", "POST", "-H", "transfer-encoding: chunked", "-T", file];
            assert_eq!(with(&chunked, "/web/sum"), expected, "{options:?}");
        }
        let head = with(&["-D", "-", "-o", there], &format!("/web/bytes/{LARGE}"));
        assert!(head.contains(&format!("x-sha256: {}", sum(there))), "{options:?}: {head}");
        // Up and down at once, neither waiting for the other.
        with(&["-X", "POST", "-H", "transfer-encoding: chunked", "-T", file, "-o", there], "/web/echo");
        assert_eq!(sum(there), sum(file), "{options:?}");
    }
    app.down();
}

#[test]
fn connections_are_kept_and_shared() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    // Not by prior knowledge: curl 7.88 cannot use such a connection twice, whoever serves it (curl issue 10634).
    for (options, secure, version) in [WAYS[0], WAYS[3], WAYS[5]] {
        let url = app.url(secure, "/web/bytes/100000");
        let numbers = ["-w", "%{num_connects} %{http_code} %{size_download}\n", "-o", "/dev/null"];
        let four = [&numbers[2..], &[url.as_str()]].concat().repeat(4);
        let said = app.curls(&[options, &numbers[..2], &four].concat());
        assert_eq!(said, format!("1 200 100000\n{}", "0 200 100000\n".repeat(3)), "{options:?}");
        if version == "2" {
            let at_once = [&["--parallel", "--parallel-max", "20"][..], &numbers[..2]].concat();
            let twenty = [&numbers[2..], &[url.as_str()]].concat().repeat(20);
            let said = app.curls(&[options, &at_once, &twenty].concat());
            assert_eq!(said.matches(" 200 100000\n").count(), 20, "{said}");
        }
    }
    app.down();
}

#[test]
fn a_body_is_sent_when_the_service_wants_it_and_not_when_it_is_refused() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    let file = app.path().join("large");
    std::fs::write(&file, vec![b'x'; LARGE]).unwrap();
    let body = format!("@{}", file.display());
    let waits = [
        "-v",
        "--http1.1",
        "--expect100-timeout",
        "20",
        "-H",
        "expect: 100-continue",
        "--data-binary",
        &body,
    ];
    for secure in [false, true] {
        let said = app.curls(&[&waits[..], &[&app.url(secure, "/web/sum")]].concat());
        assert!(said.contains("< HTTP/1.1 100 Continue") && said.contains("10000000 "), "{said}");
        let counts = ["-w", "\nsent %{size_upload}\n"];
        let said = app.curls(&[&waits[..], &counts, &[&app.url(secure, "/private")]].concat());
        assert!(said.contains("< HTTP/1.1 401 ") && said.contains("\nsent 0\n"), "{said}");
    }
    app.down();
}

#[test]
fn events_arrive_one_by_one() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    for (index, (options, secure, _)) in WAYS.into_iter().enumerate() {
        let mut command = app.curl();
        command.args(options).arg("-N").arg(app.url(secure, &format!("/web/events/{index}")));
        let mut curl = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("data: first"), "{options:?}");
        // Only now the service is let go on: the first event was not held back for the second.
        app.curls(&["-X", "POST", &app.url(false, &format!("/web/go/{index}"))]);
        let rest: Vec<_> = lines.collect();
        assert_eq!(rest, ["", "data: second", ""], "{options:?}");
        assert!(curl.wait().unwrap().success());
    }
    app.down();
}

#[test]
fn only_whoever_has_a_token_comes_in_and_only_so_often() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let app = App::start(&[WEB]);
    let good = token(r#"{"sub":"ada","aud":"clients","exp":4102444800}"#);
    let expired = token(r#"{"sub":"ada","aud":"clients","exp":1000000000}"#);
    let other = token(r#"{"sub":"ada","aud":"others","exp":4102444800}"#);
    let forged = format!("{}x", &good[..good.len() - 1]);
    for (options, secure, _) in WAYS {
        let asks = |more: &[&str]| {
            app.curls(&[options, &["-i"], more, &[&app.url(secure, "/private")]].concat()).to_lowercase()
        };
        let answer = asks(&[]);
        assert!(answer.contains(" 401") && answer.contains("www-authenticate: bearer"), "{answer}");
        let bad = [(&expired, " 401", "invalid_token"), (&forged, " 401", "invalid_token")];
        for (bad, status, why) in bad.into_iter().chain([(&other, " 403", "insufficient_scope")]) {
            let answer = asks(&["-H", &format!("authorization: Bearer {bad}")]);
            assert!(answer.contains(status) && answer.contains(why), "{answer}");
        }
        let answer = asks(&["-H", &format!("authorization: Bearer {good}")]);
        assert!(answer.contains(" 200") && answer.contains(r#""method": "get""#), "{answer}");
    }
    let limited = app.url(false, "/limited");
    let statuses: Vec<_> =
        (0..5).map(|_| app.curls(&["-o", "/dev/null", "-w", "%{http_code}", &limited])).collect();
    assert_eq!(statuses, ["200", "200", "200", "429", "429"]);
    let answer = app.curls(&["-i", &limited]).to_lowercase();
    let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((1..=30).contains(&after.trim().parse::<u64>().unwrap()), "{answer}");
    // Another version of HTTP is no other client.
    let again = app.curls(&["--http2", "-w", "%{http_code}", "-o", "/dev/null", &app.url(true, "/limited")]);
    assert_eq!(again, "429");
    app.down();
}

#[test]
fn curl_works_from_one_service_to_another() {
    if !has(&["curl", "python3"]) {
        return;
    }
    let script = r#"
        set -e
        head -c 3000000 /dev/urandom > body
        sum=$$(sha256sum body | cut -d" " -f1)
        for way in --http1.1 --http2-prior-knowledge --http1.0; do
          [ "$$(curl -sSf $$way --data-binary @body $$WEB_URL/sum)" = "3000000 $$sum" ] || echo FAILED $$way
          curl -sSf $$way $$WEB_URL/ | grep -q '"x-atoll-caller": "client"' || echo FAILED $$way
        done
        echo all well"#;
    let lines: String = script.lines().map(|line| format!("        {}\n", line.trim_start())).collect();
    let client = format!(
        "\n  client:\n    restart: \"no\"\n    depends_on: {{ web: {{ condition: service_healthy }} }}\n    \
         calls: [web]\n    command:\n      - sh\n      - -c\n      - |{lines}"
    );
    let app = App::start(&[WEB, &client]);
    app.until_well("client");
    app.down();
}
