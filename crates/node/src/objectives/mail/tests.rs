//! Letters, and a mail server on this machine that says what it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::super::moment_of;
use super::*;

fn address(address: &str) -> MailAddress {
    MailAddress { name: None, address: address.to_owned() }
}

fn to(port: u16) -> Mail {
    Mail {
        host: "127.0.0.1".to_owned(),
        port,
        tls: MailTls::Off,
        login: None,
        from: MailAddress {
            name: Some("Zoë \"the\" node".to_owned()),
            address: "atoll@shop.example".to_owned(),
        },
        to: vec![address("oncall@shop.example"), address("boss@shop.example")],
    }
}

fn notice(summary: &str, labels: &[(&str, &str)]) -> Notice {
    Notice {
        name: "few".to_owned(),
        service: "front".parse().ok(),
        route: None,
        labels: labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect(),
        urgency: Urgency::Page,
        summary: summary.to_owned(),
        since: moment_of(1_700_000_000),
        ended: None,
    }
}

fn sender() -> Sender<'static> {
    Sender { app: "shop", host: "node-1", console: Some("http://127.0.0.1:4000".to_owned()) }
}

fn written(notice: &Notice) -> (Vec<String>, String) {
    let letter = String::from_utf8(letter(notice, &to(25), &sender()).unwrap()).unwrap();
    assert!(letter.split("\r\n").all(|line| !line.contains(['\r', '\n'])), "{letter:?}");
    let (head, body) = letter.split_once("\r\n\r\n").unwrap();
    (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
}

fn header<'a>(head: &'a [String], name: &str) -> &'a str {
    let found: Vec<_> = head.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
    assert_eq!(found.len(), 1, "{name}: {head:?}");
    found[0]
}

#[test]
fn a_letter_says_what_where_and_since_when_and_its_end_answers_its_beginning() {
    let fires = notice("few: 3", &[("__name__", "up"), ("instance", "a")]);
    let (head, body) = written(&fires);
    assert_eq!(header(&head, "Subject"), "[shop] page: few: 3");
    assert_eq!(header(&head, "To"), "oncall@shop.example, boss@shop.example");
    assert_eq!(header(&head, "Auto-Submitted"), "auto-generated");
    for said in [
        "few: 3",
        "firing (page)",
        "2023-11-14T22:13:20",
        "shop on node-1",
        "instance   a",
        "http://127.0.0.1:4000/objectives",
        "http://127.0.0.1:4000/services/front",
    ] {
        assert!(body.contains(said), "{said}: {body}");
    }
    let over =
        Notice { ended: Some(moment_of(1_700_000_900)), summary: "few is over".into(), ..fires.clone() };
    let (ended, body) = written(&over);
    assert_eq!(header(&ended, "Subject"), "[shop] over: few is over");
    assert_eq!(header(&ended, "In-Reply-To"), header(&head, "Message-ID"));
    assert_ne!(header(&ended, "Message-ID"), header(&head, "Message-ID"));
    assert!(body.contains("over since 2023-11-14T22:28:20"), "{body}");
    // Tried again it is the same letter; of another series it is another.
    assert_eq!(header(&written(&fires).0, "Message-ID"), header(&head, "Message-ID"));
    let other = written(&notice("few: 3", &[("instance", "b")])).0;
    assert_ne!(header(&other, "Message-ID"), header(&head, "Message-ID"));
}

#[test]
fn what_others_wrote_begins_no_header_and_no_letter() {
    let evil = "x\r\nBcc: evil@example.com\r\n\r\n.\r\nMAIL FROM:<evil@example.com>\u{2028}\u{85}\0 ü";
    let long = "y".repeat(100_000);
    let hostile = notice(evil, &[("la\r\nbel", evil), ("long", &long), ("\n", "\n.\n")]);
    let (head, body) = written(&hostile);
    assert!(head.iter().all(|line| !line.to_ascii_lowercase().starts_with("bcc")), "{head:?}");
    assert_eq!(head.iter().filter(|line| line.starts_with("Subject: ")).count(), 1);
    assert!(body.len() < 10_000, "{}", body.len());
    let begins = |line: &str| line.starts_with("Bcc") || line.starts_with("MAIL FROM");
    assert!(!body.split("\r\n").any(|line| begins(line) || line == "."), "{body}");
    let many: Vec<(String, String)> = (0..1000).map(|n| (format!("l{n}"), "v".repeat(1000))).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
    assert!(written(&notice("many", &many)).1.len() < 60_000);
}

#[test]
fn a_line_is_cut_at_characters() {
    assert_eq!(line("äöü", 2), "äö…");
    assert_eq!(line("äö", 2), "äö");
    assert_eq!(line("a\u{2028}b\u{7f}c", 9), "a b c");
}

type Said = Arc<Mutex<Vec<String>>>;

/// A mail server that answers as told, or else well; and what was said to it.
async fn server(answers: &'static [(&'static str, &'static str)]) -> (u16, Said) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Said::default();
    let to = Arc::clone(&said);
    let serving = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 here\r\n").await.unwrap();
            let mut in_letter = false;
            while let Ok(Some(line)) = lines.next_line().await {
                to.lock().unwrap().push(line.clone());
                in_letter &= line != ".";
                if in_letter {
                    continue;
                }
                let usual = match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => "250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
                    "DATA" => "354 go on",
                    "AUTH" => "235 welcome",
                    "QUIT" => "221 bye",
                    _ => "250 well",
                };
                let told = answers.iter().find(|(begins, _)| line.starts_with(begins));
                let answer = told.map_or(usual, |(_, answer)| answer);
                in_letter = answer.starts_with("354");
                if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    };
    kit::Tasks::new().spawn("test.mail", kit::OnError::Log, |_| async move {
        serving.await;
        Ok::<_, std::convert::Infallible>(())
    });
    (port, said)
}

/// Handed in for the first time.
async fn handed(notice: Notice, mail: &Mail, sender: &Sender<'_>) -> Result<(), Untold> {
    send(&Arc::new(notice), mail, sender, &Mutex::default()).await
}

fn said(to: &Said) -> Vec<String> {
    to.lock().unwrap().clone()
}

#[tokio::test]
async fn a_server_gets_the_letter_as_it_is() {
    let (port, heard) = server(&[]).await;
    let mail = Mail { login: Some(("me".to_owned(), "hush".to_owned())), ..to(port) };
    let dots = notice(".\n..", &[("dot", ".")]);
    handed(dots, &mail, &sender()).await.unwrap();
    let heard = said(&heard);
    assert_eq!(heard[0], "EHLO node-1");
    assert_eq!(heard[1], "AUTH PLAIN AG1lAGh1c2g=");
    assert_eq!(
        &heard[2..6],
        [
            "MAIL FROM:<atoll@shop.example>",
            "RCPT TO:<oncall@shop.example>",
            "RCPT TO:<boss@shop.example>",
            "DATA"
        ]
    );
    assert_eq!(&heard[heard.len() - 2..], [".", "QUIT"]);
    assert_eq!(heard.iter().filter(|line| *line == ".").count(), 1);
}

#[tokio::test]
async fn one_address_that_is_gone_keeps_it_from_nobody_else() {
    let (port, heard) = server(&[("RCPT TO:<oncall", "550 gone")]).await;
    let untold = handed(notice("few: 3", &[]), &to(port), &sender()).await.unwrap_err();
    assert!(!untold.again, "others have it: {untold:?}");
    assert!(format!("{untold:?}").contains("oncall@shop.example"), "{untold:?}");
    assert!(said(&heard).contains(&"DATA".to_owned()));
    let (port, heard) = server(&[("RCPT", "550 gone")]).await;
    let untold = handed(notice("few: 3", &[]), &to(port), &sender()).await.unwrap_err();
    assert!(!untold.again, "{untold:?}");
    assert!(!said(&heard).contains(&"DATA".to_owned()));
}

#[tokio::test]
async fn who_is_refused_for_now_gets_it_later_and_nobody_twice() {
    let (port, heard) = server(&[("RCPT TO:<oncall", "450 come again")]).await;
    let (few, left) = (Arc::new(notice("few: 3", &[])), Mutex::default());
    let untold = send(&few, &to(port), &sender(), &left).await.unwrap_err();
    assert!(untold.again && untold.why.contains("oncall@shop.example"), "{untold:?}");
    assert!(said(&heard).contains(&"DATA".to_owned()), "the other one has it");
    // The same again, where it is taken.
    let (port, heard) = server(&[]).await;
    send(&few, &to(port), &sender(), &left).await.unwrap();
    let to_whom: Vec<_> = said(&heard).into_iter().filter(|line| line.starts_with("RCPT")).collect();
    assert_eq!(to_whom, ["RCPT TO:<oncall@shop.example>"]);
    // Another letter is for both.
    let (port, heard) = server(&[]).await;
    send(&Arc::new(notice("few: 2", &[])), &to(port), &sender(), &left).await.unwrap();
    assert_eq!(said(&heard).iter().filter(|line| line.starts_with("RCPT")).count(), 2);
    // As long as nobody takes it, it is tried again.
    let (port, _) = server(&[("RCPT TO:<oncall", "450 come again"), ("RCPT TO:<boss", "550 gone")]).await;
    assert!(handed(notice("few: 3", &[]), &to(port), &sender()).await.unwrap_err().again);
}

#[tokio::test]
async fn it_is_tried_again_where_the_server_may_take_it_later() {
    for (answers, again) in [
        (&[("MAIL", "451 busy")][..], true),
        (&[(".", "452 full")], true),
        (&[("EHLO", "421 closing")], true),
        (&[("MAIL", "530 who are you")], false),
        (&[(".", "554 no")], false),
        (&[("MAIL", "nonsense")], true),
    ] {
        let (port, _) = server(answers).await;
        let untold = handed(notice("few: 3", &[]), &to(port), &sender()).await.unwrap_err();
        assert_eq!(untold.again, again, "{answers:?}: {untold:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let untold = handed(notice("few: 3", &[]), &to(nobody), &sender()).await.unwrap_err();
    assert!(untold.again, "{untold:?}");
    let (port, _) = server(&[("AUTH", "535 wrong password")]).await;
    let mail = Mail { login: Some(("me".to_owned(), "hush".to_owned())), ..to(port) };
    let untold = handed(notice("few: 3", &[]), &mail, &sender()).await.unwrap_err();
    assert!(!untold.again && !format!("{untold:?}").contains("hush"), "{untold:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    let (port, heard) = server(&[]).await;
    let mail = Mail { tls: MailTls::StartTls, login: Some(("me".to_owned(), "hush".to_owned())), ..to(port) };
    let untold = handed(notice("few: 3", &[]), &mail, &sender()).await.unwrap_err();
    assert!(!untold.again, "{untold:?}");
    let heard = said(&heard);
    assert!(heard.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = to(listener.local_addr().unwrap().port());
    let untold = handed(notice("few: 3", &[]), &mail, &sender()).await.unwrap_err();
    assert!(untold.again, "{untold:?}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_told_nothing() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = Mail { tls: MailTls::Implicit, ..to(listener.local_addr().unwrap().port()) };
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await
    };
    let dots = notice("few: 3", &[]);
    let by = sender();
    let (untold, served) = tokio::join!(handed(dots, &mail, &by), serving);
    assert!(served.is_err(), "it has hung up before a word was said");
    assert!(format!("{untold:?}").to_ascii_lowercase().contains("certificate"), "{untold:?}");
}
