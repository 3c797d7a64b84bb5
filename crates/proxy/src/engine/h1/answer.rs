//! An answer on its way to the client: its head, then its body as it comes.

use std::cell::Cell;
use std::pin::Pin;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Version};
use http_body::{Body as _, Frame};

use super::incoming::Wire;
use super::wire::Coding;
use super::write;
use crate::body::BodyError;
use crate::fields::{Fields, Known};
use crate::head::forward::Number;
use crate::outgoing::Outgoing;

/// What an answer is an answer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct To {
    /// The client's version.
    pub(super) version: Version,
    /// The method was `HEAD`.
    pub(super) head: bool,
    /// The client takes trailers.
    pub(super) trailers: bool,
    /// The client has asked to keep the connection, or would keep it anyway.
    pub(super) keeps: bool,
}

impl To {
    pub(super) fn of(method: &Method, version: Version, fields: &Fields, keeps: bool) -> Self {
        let te = fields.all_known(Known::Te).flat_map(|value| value.split(|byte| *byte == b','));
        let trailers = te.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        Self { version, head: *method == Method::HEAD, trailers, keeps }
    }

    /// An answer of this status has no body, whatever it says (RFC 9112 §6.3).
    pub(super) fn is_bodiless(self, status: StatusCode) -> bool {
        self.head
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
    }

    /// How a body of this size is put on the wire.
    pub(super) fn coding(self, size: Option<u64>) -> Coding {
        match size {
            Some(size) => Coding::Length(size),
            None if self.version == Version::HTTP_11 => Coding::Chunked,
            None => Coding::UntilClose,
        }
    }
}

/// Writes the head of an answer. `size` is that of the body, whether it is sent or not; `coding` how it is
/// sent, if it is.
pub(super) fn head(
    out: &mut Vec<u8>,
    to: To,
    status: StatusCode,
    fields: &Fields,
    size: Option<u64>,
    coding: Option<Coding>,
) {
    write::status_line(out, to.version, status);
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    let (mut dated, mut sized) = (false, false);
    for field in fields.iter() {
        match field.known {
            Known::Connection | Known::Upgrade if switching => {}
            Known::Connection
            | Known::Upgrade
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding => continue,
            // What would have been sent is told where nothing is (RFC 9110 §8.6).
            Known::ContentLength if coding.is_some() || no_length(status) => continue,
            Known::ContentLength => sized = true,
            _ => dated |= field.name.eq_ignore_ascii_case(b"date"),
        }
        write::field(out, field.name, field.value);
    }
    if !dated && !status.is_informational() {
        DATE.with(|date| write::field(out, b"date", &date.now()));
    }
    let mut number = Number::default();
    match (coding, size) {
        (Some(Coding::Length(length)), _) => write::field(out, b"content-length", number.of(length)),
        (Some(Coding::Chunked), _) => write::field(out, b"transfer-encoding", b"chunked"),
        (Some(Coding::UntilClose), _) => {}
        (None, Some(size)) if to.head && size > 0 && !sized && !no_length(status) => {
            write::field(out, b"content-length", number.of(size));
        }
        (None, _) => {}
    }
    match to.version {
        _ if switching => {}
        _ if !to.keeps => write::field(out, b"connection", b"close"),
        Version::HTTP_11 => {}
        _ => write::field(out, b"connection", b"keep-alive"),
    }
    write::end(out);
}

/// RFC 9110 §8.6: no `Content-Length` there at all.
fn no_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Why an answer did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// Its body broke off.
    #[error("{0}")]
    Short(String),
    /// The client does not take it.
    #[error("the client has gone")]
    Gone,
}

/// Sends a body to its end, paced by whoever is slower. What waits in front of it leaves with its first part.
pub(super) async fn send(
    wire: &Wire,
    body: &mut Outgoing,
    mut coding: Coding,
    trailers: bool,
) -> Result<(), Cut> {
    let mut ended = body.is_end_stream();
    if ended {
        wire.answer(|out| out.put_end(&mut coding)).map_err(|wrong| Cut::Short(wrong.to_string()))?;
    }
    std::future::poll_fn(|cx| {
        loop {
            let mut waits = false;
            while !ended && wire.has_room() {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    waits = true;
                    break;
                };
                match put(wire, body, frame, &mut coding, trailers) {
                    Ok(last) => ended = last,
                    Err(cut) => {
                        let _ = wire.poll_write(cx); // what there is of it
                        return Poll::Ready(Err(cut));
                    }
                }
            }
            match wire.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut::Gone)),
                Poll::Ready(Ok(())) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if waits => {
                    return wire.poll_gone(cx).map(|()| Err(Cut::Gone));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending if ended => return Poll::Pending,
                Poll::Pending => {
                    // Who does not read may still be sending, and the service may be reading that.
                    if let Poll::Ready(error) = body.poll_upload(cx) {
                        return Poll::Ready(Err(Cut::Short(error.to_string())));
                    }
                    return wire.poll_gone(cx).map(|()| Err(Cut::Gone));
                }
            }
        }
    })
    .await
}

/// Puts a frame on its way. Whether it was the last.
fn put(
    wire: &Wire,
    body: &Outgoing,
    frame: Option<Result<Frame<bytes::Bytes>, BodyError>>,
    coding: &mut Coding,
    trailers: bool,
) -> Result<bool, Cut> {
    let short = |error: BodyError| Cut::Short(error.to_string());
    let wrong = |error: super::wire::WrongLength| Cut::Short(error.to_string());
    match frame.transpose().map_err(short)?.map(Frame::into_data) {
        Some(Ok(data)) => {
            let last = body.is_end_stream();
            wire.answer(|out| out.put_data(data, coding, last)).map_err(wrong)?;
            Ok(last)
        }
        Some(Err(frame)) => {
            let found = frame.into_trailers().unwrap_or_default();
            wire.answer(|out| if trailers { out.put_trailers(&found, coding) } else { out.put_end(coding) })
                .map_err(wrong)?;
            Ok(true)
        }
        None => {
            wire.answer(|out| out.put_end(coding)).map_err(wrong)?;
            Ok(true)
        }
    }
}

thread_local! {
    static DATE: Clock = const { Clock { second: Cell::new(0), text: Cell::new([0; 29]) } };
}

/// `Date` (RFC 9110 §6.6.1), put into words once a second.
struct Clock {
    second: Cell<u64>,
    text: Cell<[u8; 29]>,
}

impl Clock {
    fn now(&self) -> [u8; 29] {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.replace(second) != second {
            self.text.set(date(second));
        }
        self.text.get()
    }
}

/// A time in seconds since 1970 as HTTP writes it (RFC 9110 §5.6.7).
fn date(second: u64) -> [u8; 29] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, time) = (second / 86_400, second % 86_400);
    // Days of years that begin in March, in eras of 400 years: leap days come last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60,
    );
    text.as_bytes().try_into().unwrap_or([b'?'; 29]) // a year of five digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&date(second)).unwrap(), text);
        }
    }

    fn told(method: &Method, version: Version, status: u16, size: Option<u64>, keeps: bool) -> String {
        let mut fields = Fields::new();
        for (name, value) in [
            ("Date", "now"),
            ("Content-Length", "99"),
            ("Transfer-Encoding", "gzip"),
            ("Connection", "x"),
            ("Keep-Alive", "y"),
            ("X", "1"),
        ] {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let to = To::of(method, version, &Fields::new(), keeps);
        let coding = (!to.is_bodiless(status)).then(|| to.coding(size));
        let mut out = Vec::new();
        head(&mut out, to, status, &fields, size, coding);
        let out = String::from_utf8(out).unwrap();
        out.lines().skip(1).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn an_answer_is_framed_by_what_its_body_is_and_never_by_what_its_fields_say() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        let get = |version, status, size, keeps| told(&Method::GET, version, status, size, keeps);
        assert_eq!(get(new, 200, Some(5), true), "Date: now|X: 1|content-length: 5");
        assert_eq!(get(new, 200, Some(0), true), "Date: now|X: 1|content-length: 0");
        assert_eq!(get(new, 200, None, true), "Date: now|X: 1|transfer-encoding: chunked");
        assert_eq!(get(new, 200, Some(5), false), "Date: now|X: 1|content-length: 5|connection: close");
        assert_eq!(get(old, 200, None, false), "Date: now|X: 1|connection: close");
        assert_eq!(get(old, 200, Some(5), true), "Date: now|X: 1|content-length: 5|connection: keep-alive");
        assert_eq!(get(new, 204, Some(0), true), "Date: now|X: 1");
        assert_eq!(get(new, 304, Some(0), true), "Date: now|Content-Length: 99|X: 1");
        assert_eq!(told(&Method::HEAD, new, 200, Some(0), true), "Date: now|Content-Length: 99|X: 1");
    }
}
