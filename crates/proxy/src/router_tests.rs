use std::cmp::Reverse;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn criteria(text: &str) -> Criteria {
    let mut criteria = Criteria::default();
    for word in text.split(' ') {
        if let Some((name, value)) = word.split_once(':') {
            let value = Some(value).filter(|v| !v.is_empty()).map(str::to_owned);
            criteria.headers.push((name.parse().unwrap(), value));
        } else if let Some(at) = word.find('/') {
            criteria.host = Some(word[..at].to_owned()).filter(|host| !host.is_empty());
            criteria.path = word[at..].to_owned();
        } else {
            criteria.methods.extend(word.split(',').map(|m| m.parse::<Method>().unwrap()));
        }
    }
    criteria
}

fn router(routes: &[&'static str]) -> Router<&'static str> {
    Router::new(routes.iter().map(|text| (criteria(text), *text)))
}

fn find(router: &Router<&'static str>, request: &str) -> Result<&'static str, Miss> {
    let asked = criteria(request);
    let method = asked.methods.first().cloned().unwrap_or(Method::GET);
    let wanted = Wanted { host: asked.host.as_deref(), path: &asked.path, method: &method };
    router.find(&wanted, |name, value| has(&asked, name, value)).copied()
}

fn has(asked: &Criteria, name: &HeaderName, value: Option<&str>) -> bool {
    asked.headers.iter().any(|(n, v)| n == name && value.is_none_or(|value| v.as_deref() == Some(value)))
}

#[test]
fn literal_segments_win_over_names_and_names_over_the_rest() {
    let router = router(&["/{*rest}", "/books/{id}", "/books/new", "/books/{id}/reviews"]);
    assert_eq!(find(&router, "/books/new"), Ok("/books/new"));
    assert_eq!(find(&router, "/books/7"), Ok("/books/{id}"));
    assert_eq!(find(&router, "/books/new/reviews"), Ok("/books/{id}/reviews"));
    assert_eq!(find(&router, "/books/"), Ok("/{*rest}"));
    assert_eq!(find(&router, "/"), Ok("/{*rest}"));
    assert_eq!(find(&router, "/a/b/c"), Ok("/{*rest}"));
}

#[test]
fn an_exact_host_wins_over_a_wildcard_and_the_longer_wildcard_over_the_shorter() {
    let router = router(&["/x", "*.example.com/x", "*.eu.example.com/x", "shop.example.com/x"]);
    assert_eq!(find(&router, "shop.example.com/x"), Ok("shop.example.com/x"));
    assert_eq!(find(&router, "a.example.com/x"), Ok("*.example.com/x"));
    assert_eq!(find(&router, "a.b.eu.example.com/x"), Ok("*.eu.example.com/x"));
    assert_eq!(find(&router, "example.com/x"), Ok("/x"));
    assert_eq!(find(&router, "badexample.com/x"), Ok("/x"));
}

#[test]
fn a_route_that_does_not_take_the_request_does_not_hide_a_less_specific_one() {
    let router = router(&["GET /books/{id}", "/{*rest}", "shop.example/only"]);
    assert_eq!(find(&router, "POST /books/7"), Ok("/{*rest}"));
    assert_eq!(find(&router, "shop.example/books/7"), Ok("GET /books/{id}"));
}

#[test]
fn a_method_that_no_route_takes_names_those_that_are_taken() {
    let router = router(&["GET /books", "POST /books", "PUT /books x-admin:"]);
    let miss = Miss::Method(vec![Method::GET, Method::HEAD, Method::POST]);
    assert_eq!(find(&router, "DELETE /books"), Err(miss));
    assert_eq!(find(&router, "OPTIONS /other"), Err(Miss::NoRoute));
}

#[test]
fn head_goes_where_get_goes_unless_it_is_listed() {
    let router = router(&["GET /a", "GET /b", "HEAD /b"]);
    assert_eq!(find(&router, "HEAD /a"), Ok("GET /a"));
    assert_eq!(find(&router, "HEAD /b"), Ok("HEAD /b"));
}

#[test]
fn more_headers_win_and_an_unmet_header_does_not_match() {
    let router = router(&["/a", "/a x-v:1", "/a x-v:1 x-w:"]);
    assert_eq!(find(&router, "/a x-v:1 x-w:9"), Ok("/a x-v:1 x-w:"));
    assert_eq!(find(&router, "/a x-v:1"), Ok("/a x-v:1"));
    assert_eq!(find(&router, "/a x-v:2"), Ok("/a"));
}

#[test]
fn a_path_is_compared_with_its_needless_escapes_decoded() {
    assert_eq!(normal_path("/%61dmin/%2f%7Ea").as_deref(), Some("/admin/%2F~a"));
    assert_eq!(normal_path("/100%").as_deref(), Some("/100%"));
    assert_eq!(normal_path("/a/%zz/ü%4").as_deref(), Some("/a/%zz/ü%4"));
    let parted_elsewhere = ["/a/..%2fb", "/a%5c..%5cb", "/a\\..\\b", "/a/..;x=1/b", "/a/%2e.%3b/b"];
    for dotted in ["/a/../b", "/a/%2e%2E/b", "/./b", "/a/.."].into_iter().chain(parted_elsewhere) {
        assert_eq!(normal_path(dotted), None, "{dotted}");
    }
    for fine in ["/a/...", "/.well-known/x", "/a/..b", "/a%2Fb.c", "/a;b/.c%2F"] {
        assert!(normal_path(fine).is_some(), "{fine}");
    }
}

/// The specification as a program: every route that takes the request, the smallest key wins.
fn naive(routes: &[Criteria], asked: &Criteria, method: &Method) -> Option<usize> {
    let host_rank = |host: &Option<String>| match host.as_deref() {
        None => Some((2, Reverse(0))),
        Some(pattern) => {
            let host = asked.host.as_deref()?;
            match pattern.strip_prefix('*') {
                Some(suffix) if host.len() > suffix.len() && host.ends_with(suffix) => {
                    Some((1, Reverse(suffix.len())))
                }
                None if pattern == host => Some((0, Reverse(0))),
                _ => None,
            }
        }
    };
    let path_key = |pattern: &str| {
        let asked: Vec<&str> = asked.path[1..].split('/').collect();
        let mut key = Vec::new();
        let pattern = segments(pattern);
        for (index, segment) in pattern.iter().enumerate() {
            match (segment, asked.get(index)) {
                (Segment::Literal(text), Some(asked)) if text == asked => key.push(0),
                (Segment::One, Some(asked)) if !asked.is_empty() => key.push(1),
                (Segment::Rest, Some(_)) => {
                    key.push(2);
                    return Some(key);
                }
                _ => return None,
            }
        }
        (pattern.len() == asked.len()).then_some(key)
    };
    let keys = routes.iter().enumerate().filter_map(|(index, route)| {
        let host = host_rank(&route.host)?;
        let path = path_key(&route.path)?;
        let rank = method_rank(&route.methods, method)?;
        let headers = route.headers.iter().all(|(name, value)| has(asked, name, value.as_deref()));
        headers.then_some((host, path, rank, Reverse(route.headers.len()), index))
    });
    keys.min().map(|key| key.4)
}

fn any_path(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(segments), 1..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn any_methods() -> impl Strategy<Value = Vec<Method>> {
    proptest::collection::vec(select(&[Method::GET, Method::HEAD, Method::POST][..]), 0..3)
}

fn any_headers() -> impl Strategy<Value = Vec<(HeaderName, Option<String>)>> {
    let name = select(&["x-a", "x-b"][..]).prop_map(HeaderName::from_static);
    let value = select(&[None, Some("1"), Some("2")][..]).prop_map(|v| v.map(str::to_owned));
    proptest::collection::vec((name, value), 0..3)
}

fn any_route() -> impl Strategy<Value = Criteria> {
    let hosts = select(&[None, Some("a.b.c"), Some("b.c"), Some("*.b.c"), Some("*.c")][..]);
    let pattern = any_path(&["a", "b", "", "{x}"]);
    let rest = select(&["", "", "/{*r}"][..]);
    (hosts, pattern, rest, any_methods(), any_headers()).prop_map(|(host, path, rest, methods, headers)| {
        Criteria { host: host.map(str::to_owned), path: format!("{path}{rest}"), methods, headers }
    })
}

proptest! {
    #[test]
    fn the_router_agrees_with_the_naive_matcher(
        routes in proptest::collection::vec(any_route(), 0..12),
        host in select(&[None, Some("a.b.c"), Some("b.c"), Some("x.y.b.c"), Some("c"), Some("z")][..]),
        path in any_path(&["a", "b", "c", ""]),
        method in select(&[Method::GET, Method::HEAD, Method::POST, Method::PUT][..]),
        headers in any_headers(),
    ) {
        let asked = Criteria { host: host.map(str::to_owned), path, methods: Vec::new(), headers };
        let router = Router::new(routes.iter().cloned().zip(0usize..));
        let wanted = Wanted { host: asked.host.as_deref(), path: &asked.path, method: &method };
        let found = router.find(&wanted, |name, value| has(&asked, name, value));
        let naive_found = naive(&routes, &asked, &method);
        prop_assert_eq!(found.as_ref().ok().copied(), naive_found.as_ref());
        // 405 exactly when some other method would have been taken.
        if let Err(miss) = found {
            let other = [Method::GET, Method::HEAD, Method::POST].iter().any(|m| naive(&routes, &asked, m).is_some());
            prop_assert_eq!(matches!(miss, Miss::Method(_)), other);
        }
    }

    #[test]
    fn normalising_a_path_never_panics_and_is_done_once(path in "/[a-z%0-9./~]{0,20}") {
        if let Some(normal) = normal_path(&path) {
            let again = normal_path(&normal).map(std::borrow::Cow::into_owned);
            // `%2561` becomes `%2561`, never `a`: only one layer is ever decoded.
            prop_assert!(again.is_none() || !path.contains("%25") || normal.contains("%25"));
        }
    }
}
