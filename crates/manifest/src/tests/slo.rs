//! `slo`, `measures`, `telemetry.alerts`.

use std::time::Duration;

use kit::units::Share;

use super::{app, one_service, service, titles};
use crate::spec::{LatencySlo, Mail, MailTls, Slo};

#[test]
fn an_objective_is_of_a_service_or_of_a_route() {
    let of = |keys: &str| service(keys).slo;
    assert_eq!(of(""), None);
    let slo = of("slo: { availability: 99.9%, latency: \"99% < 100ms\" }").unwrap();
    assert_eq!(slo.availability, "99.9%".parse::<Share>().ok());
    let within = Duration::from_millis(100);
    assert_eq!(slo.latency, Some(LatencySlo { share: Share::percent(99), within }));
    assert_eq!(slo.window, Slo::WINDOW);
    let routes = service("routes: [{ GET /a: { slo: { availability: 99%, window: 7d } } }, GET /b]").routes;
    assert_eq!(routes[0].slo.as_ref().unwrap().window, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(routes[1].slo, None);
}

#[test]
fn what_cannot_be_promised_is_a_fault() {
    for bad in [
        "slo: {}",
        "slo: { window: 7d }",
        "slo: { availability: 100% }",
        "slo: { availability: 0% }",
        "slo: { latency: 99% }",
        "slo: { latency: \"99% < 0s\" }",
        "slo: { latency: \"100% < 1s\" }",
        "slo: { availability: 99%, window: 5m }",
        "slo: { availability: 99%, window: 100d }",
        "slo: { availability: 99%, latencies: x }",
        "measures: { a-b: { field: x } }",
        "measures: { nothing: {} }",
    ] {
        assert!(!titles(&one_service(bad)).is_empty(), "{bad}");
    }
}

#[test]
fn a_measure_is_of_a_field_or_of_a_text() {
    let measures =
        service("measures: { revenue: { field: amount, text: order placed }, orders: { text: placed } }")
            .measures;
    assert_eq!(measures["revenue"].field.as_deref(), Some("amount"));
    assert_eq!((&measures["orders"].field, measures["orders"].text.as_deref()), (&None, Some("placed")));
}

#[test]
fn alerts_go_to_who_is_there() {
    let with = |alerts: &str| {
        format!(
            "name: x\ntelemetry: {{ alerts: {alerts} }}\nservices: {{ a: {{ command: [a], topics: [told] }} }}\n"
        )
    };
    let alerts = app(&with(
        "{ webhook: \"https://a.example/x\", topic: a/told, rules: { few: { ask: up == 0, hold: 5m } } }",
    ));
    let alerts = alerts.telemetry.unwrap().alerts;
    assert_eq!(alerts.webhook.as_deref(), Some("https://a.example/x"));
    assert_eq!(alerts.topic.unwrap().as_str(), "told");
    assert_eq!((alerts.rules["few"].ask.as_str(), alerts.rules["few"].hold.as_secs()), ("up == 0", 300));
    assert_eq!(app(&with("{ topic: told }")).telemetry.unwrap().alerts.topic.unwrap().as_str(), "told");
    for bad in [
        "{ webhook: nowhere }",
        "{ webhook: \"ftp://a.example\" }",
        "{ webhook: \"https://user:secret@a.example/x\" }",
        "{ topic: nobody }",
        "{ topic: b/told }",
        "{ rules: { few: { hold: 5m } } }",
        "{ rules: { few: up } }",
        "{ mail: a@b.example }",
        "{ mail: {} }",
        "{ mail: { server: a, from: a@b } }",
        "{ mail: { server: \"smtp://a\", from: a@b, to: a@b } }",
        "{ mail: { server: a, from: nobody, to: a@b } }",
        "{ mail: { server: a, from: \"a@b\\nBcc: c@d\", to: a@b } }",
        "{ mail: { server: a, from: \"a\\nBcc: c@d <a@b>\", to: a@b } }",
        "{ mail: { server: a, from: a@b, to: [] } }",
        "{ mail: { server: a, from: a@b, to: [a@b, nobody] } }",
        "{ mail: { server: a, from: a@b, to: a@b, tls: maybe } }",
        "{ mail: { server: a, from: a@b, to: a@b, tls: off } }",
        "{ mail: { server: a, from: a@b, to: a@b, user: u } }",
        "{ mail: { server: a, from: a@b, to: a@b, password: p } }",
        "{ mail: { server: a, from: a@b, to: a@b, user: u, password: \"\" } }",
        "{ mail: { server: a, from: a@b, to: a@b, user: u, password: \"a\\r\\nb\" } }",
    ] {
        assert!(!titles(&with(bad)).is_empty(), "{bad}");
    }
}

#[test]
fn alerts_go_out_by_mail_and_never_in_the_clear_but_on_this_machine() {
    let of = |mail: &str| {
        let file = format!(
            "name: x\ntelemetry: {{ alerts: {{ mail: {mail} }} }}\nservices: {{ a: {{ command: [a] }} }}\n"
        );
        app(&file).telemetry.unwrap().alerts.mail.unwrap()
    };
    let plain = of("{ server: smtp.example, from: a@b.example, to: c@d.example }");
    assert_eq!((plain.tls, plain.port, &plain.login), (MailTls::StartTls, 587, &None));
    assert_eq!(plain.to.len(), 1);
    let whole = of(
        "{ server: \"smtp.example:465\", user: u, password: p, from: \"Atoll <a@b.example>\", to: [c@d, e@f] }",
    );
    assert_eq!((whole.tls, whole.port), (MailTls::Implicit, 465));
    assert_eq!((whole.from.name.as_deref(), whole.from.address.as_str()), (Some("Atoll"), "a@b.example"));
    assert_eq!(whole.login, Some(("u".to_owned(), "p".to_owned())));
    assert!(!format!("{whole:?}").contains("\"p\""), "a password is not printed");
    for here in ["127.0.0.1", "localhost", "[::1]:2525"] {
        assert_eq!(of(&format!("{{ server: \"{here}\", tls: off, from: a@b, to: c@d }}")).tls, MailTls::Off);
    }
    let many = |count: usize| {
        let to = vec!["a@b"; count].join(", ");
        format!(
            "name: x\ntelemetry: {{ alerts: {{ mail: {{ server: a, from: a@b, to: [{to}] }} }} }}\nservices: {{ a: {{ command: [a] }} }}\n"
        )
    };
    assert_eq!(titles(&many(Mail::MOST)), "");
    let secret = "name: x\ntelemetry: { alerts: { mail: { server: a, from: a@b, to: a@b, user: u, password: \"hush\\n\" } } }\nservices: { a: { command: [a] } }\n";
    let told = titles(secret);
    assert!(!told.is_empty() && !told.contains("hush"), "{told}");
    assert!(!titles(&many(Mail::MOST + 1)).is_empty());
}
