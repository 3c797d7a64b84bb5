//! What a request says about its signature, in its `Authorization` header or in its query.

use std::borrow::Cow;
use std::time::Duration;

use super::canonical::{SIGNATURE, decoded, pairs};
use super::error::SignatureError;
use super::keys::TERMINATOR;
use super::time::SignedAt;
use super::{Form, MOST_PRESIGNED, View};
use crate::text::from_hex32;

/// The one algorithm.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Headers that a signature may name.
const MOST_SIGNED_HEADERS: usize = 128;

/// What a request claims, not yet believed.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub form: Form,
    pub access_key: Cow<'a, str>,
    /// The day of the scope.
    pub day: [u8; 8],
    pub region: Cow<'a, str>,
    pub service: Cow<'a, str>,
    pub signed_headers: Cow<'a, str>,
    /// `None` for a text that cannot be a signature.
    pub signature: Option<[u8; 32]>,
    pub signed_at: SignedAt,
    /// How long it holds, if it is presigned.
    pub expires: Option<Duration>,
    pub token: Option<Cow<'a, str>>,
    /// What stands for the body, if the request says it.
    pub content: Option<Cow<'a, str>>,
}

/// The names of the headers that are signed: `host;x-amz-date`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedHeaders<'a>(&'a str);

impl<'a> SignedHeaders<'a> {
    pub(super) fn text(self) -> &'a str {
        self.0
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.split(';')
    }

    fn has(self, name: &str) -> bool {
        self.names().any(|signed| signed.eq_ignore_ascii_case(name))
    }
}

impl Claim<'_> {
    pub(super) fn signed_headers(&self) -> SignedHeaders<'_> {
        SignedHeaders(&self.signed_headers)
    }
}

fn incomplete(message: impl Into<String>) -> SignatureError {
    SignatureError::IncompleteSignature(message.into())
}

/// Reads the claim of a request.
pub(super) fn read<'a, H>(view: &View<'a, H>) -> Result<Claim<'a>, SignatureError>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let heads = Heads::of(view)?;
    let presigned = !view.query.is_empty() && is_presigned(view.query);
    let claim = match (heads.authorization, presigned) {
        (Some(_), true) => {
            return Err(incomplete(
                "Only one of the Authorization header and the query may carry a signature.",
            ));
        }
        (Some(text), false) => from_header(text, &heads)?,
        (None, true) => from_query(view.query, &heads)?,
        (None, false) => return Err(SignatureError::MissingAuthenticationToken),
    };
    check_signed_headers(view, claim.signed_headers())?;
    Ok(claim)
}

/// The headers that say something about the signature; each of them once.
#[derive(Default)]
struct Heads<'a> {
    authorization: Option<&'a str>,
    amz_date: Option<&'a str>,
    date: Option<&'a str>,
    token: Option<&'a str>,
    content: Option<&'a str>,
}

impl<'a> Heads<'a> {
    fn of<H>(view: &View<'a, H>) -> Result<Self, SignatureError>
    where
        H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
    {
        let mut heads = Self::default();
        for (name, value) in view.headers.clone() {
            let place = match name.len() {
                4 if name.eq_ignore_ascii_case("date") => &mut heads.date,
                10 if name.eq_ignore_ascii_case("x-amz-date") => &mut heads.amz_date,
                13 if name.eq_ignore_ascii_case("authorization") => &mut heads.authorization,
                20 if name.eq_ignore_ascii_case("x-amz-security-token") => &mut heads.token,
                20 if name.eq_ignore_ascii_case("x-amz-content-sha256") => &mut heads.content,
                _ => continue,
            };
            let value =
                std::str::from_utf8(value).map_err(|_| incomplete(format!("'{name}' is not text.")))?;
            if place.replace(value.trim()).is_some() {
                return Err(incomplete(format!("Header '{name}' must be given once.")));
            }
        }
        Ok(heads)
    }
}

/// Whether a query carries a signature.
fn is_presigned(query: &str) -> bool {
    pairs(query).any(|(name, _)| {
        let name = text_of(name);
        matches!(name.as_ref(), "X-Amz-Algorithm" | "X-Amz-Credential" | SIGNATURE)
    })
}

fn from_header<'a>(text: &'a str, heads: &Heads<'a>) -> Result<Claim<'a>, SignatureError> {
    let (scheme, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if scheme != ALGORITHM {
        // Another kind of authorization is none; another kind of this one is one that nobody here knows.
        return Err(if scheme.starts_with("AWS4-") {
            incomplete(format!("Unsupported AWS 'algorithm': '{}'.", shown(scheme)))
        } else {
            SignatureError::MissingAuthenticationToken
        });
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in rest.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(incomplete("Invalid key=value pair (missing equal-sign) in Authorization header."));
        };
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(incomplete(format!("Authorization header has '{name}' more than once.")));
        }
    }
    let signed_at = match (heads.amz_date, heads.date) {
        (Some(text), _) => Some(SignedAt::parse_basic(text.as_bytes()).ok_or_else(|| bad_date(text))?),
        (None, Some(text)) => {
            Some(SignedAt::parse_date_header(text.as_bytes()).ok_or_else(|| bad_date(text))?)
        }
        (None, None) => None,
    };
    let filled = |value: Option<&'a str>| value.filter(|value| !value.is_empty());
    let (Some(credential), Some(signature), Some(signed_headers), Some(signed_at)) =
        (filled(credential), filled(signature), filled(signed_headers), signed_at)
    else {
        let mut missing = String::new();
        for (name, is_there) in [
            ("Credential", filled(credential).is_some()),
            ("Signature", filled(signature).is_some()),
            ("SignedHeaders", filled(signed_headers).is_some()),
        ] {
            if !is_there {
                missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if signed_at.is_none() {
            missing.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        return Err(incomplete(missing.trim_end()));
    };
    let scope = Credential::parse(credential)?;
    Ok(Claim {
        form: Form::Header,
        access_key: scope.access_key.into(),
        day: scope.day,
        region: scope.region.into(),
        service: scope.service.into(),
        signed_headers: signed_headers.into(),
        signature: from_hex32(signature.as_bytes()),
        signed_at,
        expires: None,
        token: heads.token.map(Cow::Borrowed),
        content: heads.content.map(Cow::Borrowed),
    })
}

fn from_query<'a>(query: &'a str, heads: &Heads<'a>) -> Result<Claim<'a>, SignatureError> {
    const NAMES: [&str; 8] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        SIGNATURE,
        "X-Amz-SignedHeaders",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    ];
    let mut values: [Option<Cow<'a, str>>; 8] = Default::default();
    for (name, value) in pairs(query) {
        let name = text_of(name);
        let Some(at) = NAMES.iter().position(|known| *known == name) else { continue };
        if values[at].replace(text_of(value)).is_some() {
            return Err(incomplete(format!("AWS query-string parameter '{name}' must be given once.")));
        }
    }
    let [algorithm, credential, signature, signed_headers, date, expires, token, content] = values;
    let mut missing = String::new();
    let mut needed = |value: Option<Cow<'a, str>>, name: &str| {
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            missing.push_str(&format!("AWS query-string parameters must include '{name}'. "));
        }
        value.unwrap_or_default()
    };
    let algorithm = needed(algorithm, NAMES[0]);
    let credential = needed(credential, NAMES[1]);
    let signature = needed(signature, NAMES[2]);
    let signed_headers = needed(signed_headers, NAMES[3]);
    let date = needed(date, NAMES[4]);
    let expires = needed(expires, NAMES[5]);
    if !missing.is_empty() {
        return Err(incomplete(missing.trim_end()));
    }
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", shown(&algorithm))));
    }
    let signed_at = SignedAt::parse_basic(date.as_bytes()).ok_or_else(|| bad_date(&date))?;
    let seconds: u64 = Some(&expires)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| incomplete("X-Amz-Expires must be a number of seconds."))?;
    let expires = Duration::from_secs(seconds);
    if expires > MOST_PRESIGNED {
        return Err(incomplete(
            "X-Amz-Expires must be less than a week (in seconds); that is, 604800 at most.",
        ));
    }
    let scope = Credential::parse(&credential)?;
    Ok(Claim {
        form: Form::Query,
        access_key: scope.access_key.to_owned().into(),
        day: scope.day,
        region: scope.region.to_owned().into(),
        service: scope.service.to_owned().into(),
        signed_headers,
        signature: from_hex32(signature.as_bytes()),
        signed_at,
        expires: Some(expires),
        token: token.or(heads.token.map(Cow::Borrowed)),
        content: heads.content.map(Cow::Borrowed).or(content),
    })
}

/// `AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request`, in its parts.
struct Credential<'t> {
    access_key: &'t str,
    day: [u8; 8],
    region: &'t str,
    service: &'t str,
}

impl<'t> Credential<'t> {
    fn parse(text: &'t str) -> Result<Self, SignatureError> {
        // An access key may have slashes in it, the scope may not.
        let mut parts = text.rsplitn(5, '/');
        let (Some(end), Some(service), Some(region), Some(day), Some(access_key)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            ));
        };
        if end != TERMINATOR {
            return Err(SignatureError::WrongScope(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                shown(end)
            )));
        }
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if ![access_key, region, service].into_iter().all(is_plain) {
            return Err(incomplete("Credential has elements that are empty or not plain text."));
        }
        let day: [u8; 8] = day
            .as_bytes()
            .try_into()
            .ok()
            .filter(|day: &[u8; 8]| day.iter().all(u8::is_ascii_digit))
            .ok_or_else(|| incomplete("Date in Credential scope must be of the form YYYYMMDD."))?;
        Ok(Self { access_key, day, region, service })
    }
}

/// Everything that changes what a request means must be signed: to which host it goes, and every `x-amz-*`.
fn check_signed_headers<'a, H>(view: &View<'a, H>, signed: SignedHeaders<'_>) -> Result<(), SignatureError>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    };
    if signed.names().count() > MOST_SIGNED_HEADERS || !signed.names().all(is_name) {
        return Err(incomplete(
            "'SignedHeaders' must be a list of lower-case names with semicolons between them.",
        ));
    }
    if !signed.has("host") && !signed.has(":authority") {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    for (name, _) in view.headers.clone() {
        let is_amz = name.len() >= 6 && name.as_bytes()[..6].eq_ignore_ascii_case(b"x-amz-");
        if is_amz && !signed.has(name) {
            return Err(incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    Ok(())
}

/// A name or value of a query, decoded.
fn text_of(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes: Vec<u8> = decoded(text.as_bytes(), true).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn bad_date(text: &str) -> SignatureError {
    incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{}'.", shown(text)))
}

/// What somebody else wrote, short enough for a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
