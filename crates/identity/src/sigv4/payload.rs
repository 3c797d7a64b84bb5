//! What stands for the body in what is signed.

use ring::digest;

use super::canonical::PathStyle;
use super::claim::Claim;
use super::{Body, Form, Payload, SignatureError, View};
use crate::text::{from_hex32, hex32};

/// Says "the body is not part of what is signed".
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const CHUNKED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// What stands for the body in the canonical request.
pub(super) enum Stands {
    /// What the request itself says.
    AsSaid,
    /// A digest made here.
    Digest([u8; 64]),
    /// Nothing: a presigned request to S3.
    Unsigned,
}

impl Stands {
    pub(super) fn as_bytes<'b>(&'b self, claim: &'b Claim<'_>) -> &'b [u8] {
        match self {
            Self::AsSaid => claim.content.as_deref().unwrap_or_default().as_bytes(),
            Self::Digest(digest) => digest,
            Self::Unsigned => UNSIGNED.as_bytes(),
        }
    }
}

/// What is left to do with the body.
pub(super) enum Rule {
    Plain(Payload),
    Chunks { signed: bool, trailer: bool },
}

/// What stands for the body of a request, and what is left to do with it.
pub(super) fn payload<H>(view: &View<'_, H>, claim: &Claim<'_>) -> Result<(Stands, Rule), SignatureError> {
    let digest = || match view.body {
        Body::Bytes(bytes) => {
            let mut digest = [0; 32];
            digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
            Some(digest)
        }
        Body::Sha256(digest) => Some(digest),
        Body::Later => None,
    };
    let chunks = |signed, trailer| (Stands::AsSaid, Rule::Chunks { signed, trailer });
    Ok(match claim.content.as_deref() {
        Some(UNSIGNED) => (Stands::AsSaid, Rule::Plain(Payload::Unsigned)),
        Some(CHUNKED) => chunks(true, false),
        Some(CHUNKED_TRAILER) => chunks(true, true),
        Some(UNSIGNED_TRAILER) => chunks(false, true),
        Some(text) => {
            let said = from_hex32(text.as_bytes()).ok_or_else(|| {
                SignatureError::IncompleteSignature(
                    "'X-Amz-Content-SHA256' must be UNSIGNED-PAYLOAD, a STREAMING value that this service knows, \
                     or a valid sha256 value."
                        .to_owned(),
                )
            })?;
            match digest() {
                // Nothing secret is compared.
                Some(digest) if digest != said => return Err(SignatureError::DoesNotMatch),
                Some(_) => (Stands::AsSaid, Rule::Plain(Payload::Checked)),
                None => (Stands::AsSaid, Rule::Plain(Payload::Sha256(said))),
            }
        }
        None if claim.form == Form::Query && PathStyle::of(&claim.service) == PathStyle::AsIs => {
            (Stands::Unsigned, Rule::Plain(Payload::Unsigned))
        }
        None => {
            let digest = digest().ok_or_else(|| {
                SignatureError::IncompleteSignature(
                    "A request whose body comes later requires a 'X-Amz-Content-SHA256' header.".to_owned(),
                )
            })?;
            (Stands::Digest(hex32(&digest)), Rule::Plain(Payload::Checked))
        }
    })
}
