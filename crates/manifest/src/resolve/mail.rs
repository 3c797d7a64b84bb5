//! `telemetry.alerts.mail` → who gets alerts by e-mail. Whatever goes into a line of a letter or of what is said to its server is
//! checked here, once: nothing past this can begin a line of its own.

use std::net::IpAddr;

use crate::spec::{Mail, MailAddress, MailTls};
use crate::text::decode::{At, Faults, shown};
use crate::text::scalar::Word;
use crate::text::slo::MailText;

/// Bytes of an address (RFC 5321), of what stands before its `@`, of a name before it.
const ADDRESS: usize = 254;
const LOCAL: usize = 64;
const NAME: usize = 100;
/// Bytes of a user and of a password.
const LOGIN: usize = 512;

pub(super) fn resolve(written: &MailText, faults: &mut Faults) -> Option<Mail> {
    let MailText { server, tls, user, password, from, to, .. } = written;
    // What is missing of these is told already.
    let (server, from, to) = (server.as_ref()?, from.as_ref()?, to.as_ref()?);
    let place = host_and_port(&server.value.0);
    if place.is_none() {
        let message = format!("`{}` is no mail server", shown(&server.value.0));
        faults.bad_value(
            server.span,
            message,
            "write a name, and a port where it is not the usual one: `smtp.example:587`",
        );
    }
    let wish = wished(tls.as_ref(), place.as_ref().and_then(|(_, port)| *port), faults);
    let login = login(user.as_ref(), password.as_ref(), faults);
    let from = address(from, faults);
    let to = addresses(to, faults);
    let ((host, port), tls) = (place?, wish?);
    if tls == MailTls::Off && !is_this_machine(&host) {
        let message = format!("alerts would go to `{host}` for everybody on the way to read");
        faults.bad_value(server.span, message, "leave `tls: off` out: it is for a server on this machine");
        return None;
    }
    Some(Mail { port: port.unwrap_or(tls.port()), host, tls, login: login?, from: from?, to: to? })
}

/// `smtp.example`, `smtp.example:25`, `[::1]:25`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let address = |host: &str| host.parse::<IpAddr>().is_ok();
    if address(text) {
        return Some((text.to_owned(), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (text, None),
    };
    let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => return address(inner).then(|| (inner.to_owned(), port)),
        None => {
            let letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.len() <= 253 && host.chars().all(letter)
        }
    };
    good.then(|| (host.to_owned(), port))
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn wished(written: Option<&At<Word>>, port: Option<u16>, faults: &mut Faults) -> Option<MailTls> {
    match written.map(|at| (at, at.value.0.as_str())) {
        None if port == Some(MailTls::Implicit.port()) => Some(MailTls::Implicit),
        None | Some((_, "starttls")) => Some(MailTls::StartTls),
        Some((_, "implicit")) => Some(MailTls::Implicit),
        Some((_, "off" | "false")) => Some(MailTls::Off),
        Some((at, other)) => {
            let message = format!("`{}` is no way to speak with a mail server", shown(other));
            faults.bad_value(
                at.span,
                message,
                "there are `starttls`, `implicit` and, on this machine, `off`",
            );
            None
        }
    }
}

/// A user with a password, or neither.
fn login(
    user: Option<&At<String>>,
    password: Option<&At<String>>,
    faults: &mut Faults,
) -> Option<Option<(String, String)>> {
    let (user, password) = match (user, password) {
        (None, None) => return Some(None),
        (Some(user), Some(password)) => (user, password),
        (Some(one), None) | (None, Some(one)) => {
            faults.bad_value(one.span, "a user and a password go together", "write both, or neither");
            return None;
        }
    };
    let mut whole = true;
    for (at, what) in [(user, "user"), (password, "password")] {
        let value = &at.value;
        if value.is_empty() || value.len() > LOGIN || value.chars().any(char::is_control) {
            // What it is stays unsaid: it may be a secret.
            let message = format!("this {what} cannot be told to a server");
            faults.bad_value(
                at.span,
                message,
                "write it in one line; `${SMTP_PASSWORD}` is filled in from the environment",
            );
            whole = false;
        }
    }
    whole.then(|| Some((user.value.clone(), password.value.clone())))
}

fn addresses(
    written: &At<crate::text::shape::Items<String>>,
    faults: &mut Faults,
) -> Option<Vec<MailAddress>> {
    let all = &written.value.0;
    if all.is_empty() || all.len() > Mail::MOST {
        let message = if all.is_empty() {
            "nobody is written to".to_owned()
        } else {
            format!("{} addresses are too many", all.len())
        };
        let hint = format!("write one to {}; a list of your mail server's reaches more", Mail::MOST);
        faults.bad_value(written.span, message, hint);
        return None;
    }
    let good: Vec<_> = all.iter().filter_map(|at| address(at, faults)).collect();
    (good.len() == all.len()).then_some(good)
}

fn address(at: &At<String>, faults: &mut Faults) -> Option<MailAddress> {
    let read = read(&at.value);
    if read.is_none() {
        let message = format!("`{}` is no address of e-mail", shown(&at.value));
        faults.bad_value(
            at.span,
            message,
            "write it like `oncall@shop.example` or `On call <oncall@shop.example>`",
        );
    }
    read
}

/// `oncall@shop.example`, `On call <oncall@shop.example>`.
fn read(text: &str) -> Option<MailAddress> {
    let (name, address) = match text.trim().strip_suffix('>') {
        Some(named) => {
            let (name, address) = named.rsplit_once('<')?;
            (Some(name.trim()).filter(|name| !name.is_empty()), address)
        }
        None => (None, text.trim()),
    };
    let (local, domain) = address.rsplit_once('@')?;
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let dotted = |part: &str, of: fn(char) -> bool| {
        part.split('.').all(|label| !label.is_empty() && label.chars().all(of))
    };
    let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let good = address.len() <= ADDRESS
        && local.len() <= LOCAL
        && local.split('.').all(|part| !part.is_empty() && part.chars().all(atom))
        && dotted(domain, label);
    let named = name.is_none_or(|name| {
        name.len() <= NAME && !name.chars().any(|c| c.is_control() || "<>\"\\,;:@()[]".contains(c))
    });
    (good && named).then(|| MailAddress { name: name.map(str::to_owned), address: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_line_and_needs_no_quotes() {
        let of = |text: &str| read(text).map(|read| (read.name.unwrap_or_default(), read.address));
        let plain = "a.b+c@shop.example";
        assert_eq!(of(plain), Some((String::new(), plain.to_owned())));
        assert_eq!(of(" On call <a@b> "), Some(("On call".to_owned(), "a@b".to_owned())));
        assert_eq!(of("Zoë <a@b>").unwrap().0, "Zoë");
        assert_eq!(of("<a@b>"), Some((String::new(), "a@b".to_owned())));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a..b@c",
            ".a@b",
            "a@b.",
            "a@.b",
            "a@b\r\nBcc: c@d",
            "a\nb@c",
            "x\ny <a@b>",
            "x\ty <a@b>",
            "\"x\" <a@b>",
            "x, y <a@b>",
            "x <a@b> y",
            "x <<a@b>",
            "a@[127.0.0.1]",
            "\"a b\"@c",
            "ä@b",
            "a@ä",
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(of(&format!("{}@b", "a".repeat(65))), None);
        assert_eq!(of(&format!("a@{}", "b".repeat(260))), None);
    }

    #[test]
    fn a_server_is_a_name_or_an_address() {
        let of = |text: &str| host_and_port(text);
        assert_eq!(of("smtp.example"), Some(("smtp.example".into(), None)));
        assert_eq!(of("smtp.example:2525"), Some(("smtp.example".into(), Some(2525))));
        assert_eq!(of("[::1]:25"), Some(("::1".into(), Some(25))));
        assert_eq!(of("::1"), Some(("::1".into(), None)));
        for bad in
            ["", ":25", "a:b", "a:0", "a:99999", "smtp://a", "a/b", "a b", "u@a", "a\r\nb", "[::1", "[a]:1"]
        {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert!(["localhost", "LOCALHOST", "127.0.0.9", "::1"].iter().all(|host| is_this_machine(host)));
        assert!(
            ["localhost.example", "127.0.0.1.example", "10.0.0.1", "::"]
                .iter()
                .all(|host| !is_this_machine(host))
        );
    }
}
