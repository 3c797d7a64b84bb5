//! Who gets in: every request passes here before a page sees it. What is decided is pure; the middleware at the
//! end applies it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::desk::Desk;
use crate::words;

/// What a page may do: nothing that does not come from here. Neither scripts nor styles stand in pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Set on every answer.
const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: with it browsers send forms with `Origin: null`, as a page of anybody could.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Names by which the console may be called, against names on the Internet that lead here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// It listens on other addresses than this machine's own: any address is good, but still no name.
    pub(crate) everywhere: bool,
}

impl Reach {
    /// Whether `Host` is one of ours. A port is not looked at: tunnels change it.
    pub(crate) fn is_ours(self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
                _ => "",
            },
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.everywhere || address.is_loopback();
        }
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }
}

/// Whether a browser says that a page of ours sent this. What it does not say is not held against it: every
/// form carries the token of its session as well.
pub(crate) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site"))
        && site != "same-origin"
        && site != "none"
    {
        return false;
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    let Some(host) = text(header::HOST) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The path to go to after a login: one of ours, whatever somebody wrote there.
pub(crate) fn next_place(wanted: &str) -> &str {
    let ours = wanted.starts_with('/')
        && !wanted.starts_with("//")
        && !wanted.contains(['\\', '\r', '\n'])
        && !wanted.starts_with("/login");
    if ours { wanted } else { "/" }
}

/// Looks at a request before anybody else does, and puts on every answer what browsers must know.
pub(crate) async fn check(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if !host.is_some_and(|host| desk.reach.is_ours(host)) {
        let text = "this name does not lead to the console: use the address that `atoll console` prints\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if request.method() != Method::GET && !is_own(request.headers()) {
        (StatusCode::FORBIDDEN, "another site sent this\n").into_response()
    } else if is_open(request.uri().path()) {
        next.run(request).await
    } else {
        match desk.who(request.headers()) {
            Some(who) => {
                request.extensions_mut().insert(who);
                next.run(request).await
            }
            None => refuse(&request),
        }
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let private = HeaderValue::from_static("no-store");
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(private);
    response
}

/// What anybody may see: how to log in, and nothing of the app.
fn is_open(path: &str) -> bool {
    path == "/login" || path.starts_with("/assets/")
}

fn refuse(request: &Request) -> Response {
    let wants_page = request.method() == Method::GET && !request.uri().path().starts_with("/live");
    if !wants_page {
        return (StatusCode::UNAUTHORIZED, "log in first: `atoll console`\n").into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |place| place.as_str());
    match wanted {
        "/" => Redirect::to("/login").into_response(),
        wanted => Redirect::to(&format!("/login?next={}", words::encode(wanted))).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_name_on_the_internet_that_leads_here_is_not_ours() {
        let here = Reach { everywhere: false };
        for ours in [
            "localhost:4000",
            "127.0.0.1:4000",
            "[::1]:4000",
            "shop.localhost:4000",
            "LOCALHOST",
            "127.0.0.1",
        ] {
            assert!(here.is_ours(ours), "{ours}");
        }
        for other in [
            "[::1].example",
            "rebind.example:4000",
            "localhost.example",
            "10.0.0.5:4000",
            "",
            "[::2",
            "evillocalhost",
            "[::1",
        ] {
            assert!(!here.is_ours(other), "{other}");
        }
        let everywhere = Reach { everywhere: true };
        assert!(everywhere.is_ours("10.0.0.5:4000") && !everywhere.is_ours("rebind.example:4000"));
    }

    #[test]
    fn what_another_page_sends_is_told_apart() {
        let host = ("host", "127.0.0.1:4000");
        assert!(is_own(&headers(&[host])));
        assert!(is_own(&headers(&[
            host,
            ("origin", "http://127.0.0.1:4000"),
            ("sec-fetch-site", "same-origin")
        ])));
        for wrong in [
            &[host, ("origin", "http://127.0.0.1:8080")][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://evil.example")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:4000")],
            &[("origin", "http://127.0.0.1:4000")],
        ] {
            assert!(!is_own(&headers(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn after_a_login_nobody_is_sent_elsewhere() {
        for (wanted, place) in [
            ("/services?q=a", "/services?q=a"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/login", "/"),
            ("", "/"),
        ] {
            assert_eq!(next_place(wanted), place);
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let of = headers(&[("cookie", "a=1; atoll_console_4000=secret; b=2")]);
        assert_eq!(cookie(&of, "atoll_console_4000"), Some("secret"));
        assert_eq!(cookie(&of, "atoll_console_400"), None);
    }
}
