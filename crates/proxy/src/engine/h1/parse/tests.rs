use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { bytes: 1000, lines: 10, empty_before: 1 };

/// The verdict on bytes that come cut at one place.
fn read(bytes: &[u8], cut: usize) -> Result<Option<(Head, usize)>, Fault> {
    let mut scan = Scan::default();
    let (before, _) = bytes.split_at(cut.min(bytes.len()));
    let found = match scan.look(before, &BOUNDS)? {
        Some(whole) => Some(whole),
        None => scan.look(bytes, &BOUNDS)?,
    };
    let Some(whole) = found else { return Ok(None) };
    let mut head = Head::default();
    request(&bytes[whole.begin..whole.end], BOUNDS.lines, &mut head)?;
    Ok(Some((head, whole.end)))
}

#[test]
fn a_head_is_read_wherever_it_was_cut() {
    let text =
        b"\r\nPOST /a%20b?c=d HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX:  two words \t\r\nx: \xe9\r\n\r\nbody\n\n";
    for cut in 0..text.len() {
        let (head, end) = read(text, cut).unwrap().unwrap();
        assert_eq!((head.method, head.version), (Method::POST, Version::HTTP_11));
        assert_eq!(head.fields.len(), 4);
        let values: Vec<&[u8]> = head.fields.iter().map(|field| field.value).collect();
        assert_eq!(values, [&b"a"[..], b"", b"two words", b"\xe9"]);
        assert_eq!(&text[end..], b"body\n\n");
    }
    let mut old = Head::default();
    request(b"GET / HTTP/1.0\r\n\r\n", 10, &mut old).unwrap();
    assert_eq!((old.version, old.target(), old.fields.len()), (Version::HTTP_10, "/", 0));
}

/// What must be refused, with the rule that is broken.
const REFUSED: &[(&[u8], Fault)] = &[
    (b"\n", Fault::BareLineFeed),
    (b"GET / HTTP/1.1\n", Fault::BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n", Fault::BareLineFeed),
    (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", Fault::EmptyLines),
    (b"\r\r\nGET / HTTP/1.1\r\n\r\n", Fault::BareReturn),
    (b"\x16\x03\x01\x02\x00", Fault::FirstLine),
    (b" GET / HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET  / HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET /  HTTP/1.1\r\n\r\n", Fault::Version),
    (b"GET\t/ HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET / HTTP/1.1 \r\n\r\n", Fault::BareReturn),
    (b"GET /\r\n\r\n", Fault::FirstLine), // HTTP/0.9
    (b"GET /\0 HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET /\x7f HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET /a b HTTP/1.1\r\n\r\n", Fault::Version),
    (b"G(T / HTTP/1.1\r\n\r\n", Fault::FirstLine),
    (b"GET / HTTP/1.2\r\n\r\n", Fault::Version),
    (b"GET / HTTP/2.0\r\n\r\n", Fault::Version),
    (b"PRI * HTTP/2.0\r\n\r\n", Fault::Version),
    (b"GET / HTTP/0.9\r\n\r\n", Fault::Version),
    (b"GET / http/1.1\r\n\r\n", Fault::Version),
    (b"GET / HTTP/1.10\r\n\r\n", Fault::BareReturn),
    (b"GET / HTTP/1.1\r\nX: 1\rY: 2\r\n\r\n", Fault::Value),
    (b"GET / HTTP/1.1\r\nX: 1\r\r\n\r\n", Fault::Value),
    (b"GET / HTTP/1.1\r\nX: 1\0\r\n\r\n", Fault::Value),
    (b"GET / HTTP/1.1\r\nX: \x0bchunked\r\n\r\n", Fault::Value),
    (b"GET / HTTP/1.1\r\nX: 1\x7f\r\n\r\n", Fault::Value),
    (b"GET / HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX: 1\r\n\tfolded\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\n X: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX : 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX\t: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX Y: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\n: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX\0: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX\rY: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\n\xc3\xa9: 1\r\n\r\n", Fault::Name),
    (b"GET / HTTP/1.1\r\nX\"Y: 1\r\n\r\n", Fault::Name),
];

#[test]
fn what_breaks_a_rule_is_refused_wherever_it_was_cut() {
    let mut wrong = Vec::new();
    for (text, fault) in REFUSED {
        for cut in 0..text.len() {
            let refused = read(text, cut).err();
            if refused != Some(*fault) {
                wrong.push(format!("{} cut at {cut}: {refused:?}", text.escape_ascii()));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_head_has_bounds_that_hold_before_it_is_whole() {
    let long = [b"GET /".to_vec(), b"x".repeat(1000)].concat();
    assert_eq!(read(&long, 500).unwrap_err(), Fault::TargetTooLong);
    let at_once = [&long[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    assert_eq!(read(&at_once, 500).unwrap_err(), Fault::TargetTooLong);
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), b"x".repeat(1000)].concat();
    assert_eq!(read(&long, 500).unwrap_err(), Fault::TooLong);
    let whole = [long, b"\r\n\r\n".to_vec()].concat();
    assert_eq!(read(&whole, whole.len()).unwrap_err(), Fault::TooLong);
    let lines = |count: usize| [b"GET / HTTP/1.1\r\n".to_vec(), b"a:b\r\n".repeat(count)].concat();
    assert_eq!(read(&lines(11), 20).unwrap_err(), Fault::TooManyLines);
    assert!(read(&lines(10), 20).unwrap().is_none());
    // More lines than fit on the stack are allowed when somebody says so.
    let mut head = Head::default();
    let many = [lines(250), b"\r\n".to_vec()].concat();
    request(&many, 250, &mut head).unwrap();
    assert_eq!(head.fields.len(), 250);
}

#[test]
fn an_answer_is_read_with_and_without_a_reason() {
    let mut fields = Fields::new();
    for (text, status) in [
        (&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..], 200),
        (b"HTTP/1.1 404\r\nA: b\r\n\r\n", 404),
        (b"HTTP/1.0 299 \r\nA: b\r\n\r\n", 299),
        (b"HTTP/1.1 500 \xe9\xe8 !\r\nA: b\r\n\r\n", 500),
    ] {
        let (found, _) = answer(text, 10, &mut fields).unwrap();
        assert_eq!((found.as_u16(), fields.len()), (status, 1));
    }
    for (text, fault) in [
        (&b"HTTP/1.1 20 OK\r\n\r\n"[..], Fault::Status),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Fault::Status),
        (b"HTTP/1.1 099 OK\r\n\r\n", Fault::Status),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", Fault::Status),
        (b"HTTP/2 200 OK\r\n\r\n", Fault::Version),
        (b"HTTP/1.2 200 OK\r\n\r\n", Fault::Version),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", Fault::Status),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Fault::Name),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Fault::Name),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Fault::Value),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Fault::Version),
    ] {
        assert_eq!(answer(text, 10, &mut fields).unwrap_err(), fault, "{}", text.escape_ascii());
    }
}

proptest! {
    /// Where it is cut changes nothing, and no byte is looked at twice.
    #[test]
    fn bytes_that_trickle_say_the_same_as_all_at_once(text in "[GET/ HTTP1.\r\n:a\\x00é]{0,60}", whole: bool) {
        let text = if whole { format!("GET / HTTP/1.1\r\n{text}\r\n\r\n") } else { text };
        let bytes = text.as_bytes();
        let at_once = Scan::default().look(bytes, &BOUNDS);
        let mut scan = Scan::default();
        let mut trickled = Ok(None);
        for end in 1..=bytes.len() {
            trickled = scan.look(&bytes[..end], &BOUNDS);
            prop_assert!(scan.at <= end);
            if trickled != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(trickled, at_once);
    }
}
