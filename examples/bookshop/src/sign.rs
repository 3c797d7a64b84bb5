//! Who a request is from: AWS Signature Version 4, for `POST /` with a body, which is all that queues and topics are asked
//! with. A library of the cloud's would do the same.

use std::fmt::Write;

use jiff::Timestamp;
use ring::{digest, hmac};

/// What requests are signed with.
#[derive(Clone)]
pub struct Keys {
    /// Which key it is.
    pub id: String,
    /// What goes with it and is never sent.
    pub secret: String,
    /// What goes with keys that are good for a while only.
    pub session: Option<String>,
}

/// The value of `Authorization` for `POST /`, in a region, to a service (`sqs`, `sns`).
///
/// `headers` are all that are signed, `host` and `x-amz-date` among them: lower case, in alphabetical order.
pub fn authorization(
    keys: &Keys,
    at: Timestamp,
    (region, service): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let signed: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let signed = signed.join(";");
    let mut request = "POST\n/\n\n".to_owned();
    for (name, value) in headers {
        request += &format!("{name}:{}\n", value.trim());
    }
    request += &format!("\n{signed}\n{}", hash(body));

    let time = stamp(at);
    let day = &time[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(request.as_bytes()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", keys.secret).as_bytes());
    for part in [day, region, service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", keys.id)
}

/// A time as `x-amz-date` has it.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// SHA-256 in hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a text takes all
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        };
        let at = "2015-08-30T12:36:00Z".parse().unwrap();
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let text = authorization(&keys, at, ("us-east-1", "service"), &headers, b"");
        assert_eq!(
            text,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }
}
