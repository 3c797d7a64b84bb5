//! Signatures of AWS, version 4, as cheaply as a load generator wants them: the key of the day is derived once.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::{digest, hmac};

const REGION: &str = "us-east-1";
const SERVICE: &str = "sqs";

/// What is signed beside the body.
const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";

/// Who signs.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The id of the key.
    pub(crate) id: String,
    /// The key.
    pub(crate) secret: String,
}

/// Signs requests of one moment; a quarter of an hour later they are no longer taken.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    host: String,
    id: String,
    key: hmac::Key,
    /// `20260102T030405Z`.
    moment: String,
}

impl Signer {
    /// For requests to `host`, from now on.
    pub(crate) fn now(keys: &Keys, host: &str) -> Self {
        Self::at(keys, host, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn at(keys: &Keys, host: &str, since_1970: Duration) -> Self {
        let moment = moment(since_1970.as_secs());
        let mut key = format!("AWS4{}", keys.secret).into_bytes();
        for step in [&moment[..8], REGION, SERVICE, "aws4_request"] {
            key = mac(&key, step.as_bytes());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { host: host.to_owned(), id: keys.id.clone(), key, moment }
    }

    /// A whole signed request of the JSON protocol.
    pub(crate) fn request(&self, action: &str, body: &[u8]) -> Vec<u8> {
        let Self { host, id, moment, .. } = self;
        let day = &moment[..8];
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{moment}\n\
             x-amz-target:AmazonSQS.{action}\n\n{SIGNED}\n{}",
            hash(body)
        );
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{moment}\n{day}/{REGION}/{SERVICE}/aws4_request\n{}",
            hash(canonical.as_bytes())
        );
        let signature = hex(hmac::sign(&self.key, to_sign.as_bytes()).as_ref());
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-date: {moment}\r\nx-amz-target: AmazonSQS.{action}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={id}/{day}/{REGION}/{SERVICE}/aws4_request, SignedHeaders={SIGNED}, \
             Signature={signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

/// Seconds since 1970 as `20260102T030405Z`.
fn moment(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that is there every four years is the last one.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        assert_eq!(moment(0), "19700101T000000Z");
        assert_eq!(moment(951_782_400 + 3661), "20000229T010101Z");
        assert_eq!(moment(1_767_225_599), "20251231T235959Z");
        assert_eq!(moment(1_709_251_200), "20240301T000000Z");
    }

    #[test]
    fn a_request_is_signed_for_its_body_its_action_and_its_moment() {
        let keys = Keys { id: "AKID".into(), secret: "secret".into() };
        let signer = Signer::at(&keys, "127.0.0.1:1", Duration::from_secs(1_767_225_599));
        let request = String::from_utf8(signer.request("SendMessage", b"{}")).unwrap();
        assert!(request.ends_with("content-length: 2\r\n\r\n{}"), "{request}");
        assert!(request.contains("Credential=AKID/20251231/us-east-1/sqs/aws4_request"), "{request}");
        let signature = |text: &str| text.split("Signature=").nth(1).unwrap()[..64].to_owned();
        let other = String::from_utf8(signer.request("SendMessage", b"{ }")).unwrap();
        assert_ne!(signature(&request), signature(&other));
        assert_eq!(
            mac(b"key", b"The quick brown fox jumps over the lazy dog")[..4],
            [0xf7, 0xbc, 0x83, 0xf4]
        );
    }
}
