//! Why a request is not let in, and how that is told (RFC 6750 §3).

use http::HeaderValue;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use proxy::{Failure, Kind};

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It brings no bearer token.
    Missing,
    /// It has more than one `Authorization`.
    Several,
    /// It is no signed JWT.
    Malformed,
    /// It is longer than `MAX_TOKEN`.
    TooLong,
    /// It asks for extensions to be understood.
    Critical,
    /// It says that it is for another use.
    Type,
    /// It never expires.
    NoExpiry,
    /// Its time has passed.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is another issuer's.
    Issuer,
    /// No key has the name it asks for.
    UnknownKey,
    /// The key is for another algorithm.
    Algorithm,
    /// Its signature is not the key's.
    Signature,
    /// It is genuine, and for others.
    Audience,
    /// It is genuine, and whom it speaks for cannot be passed on.
    Subject,
    /// Too many tokens from this address were not genuine.
    TooManyBad,
    /// There are no keys: their file could not be read since the node started.
    NoKeys,
}

impl Refusal {
    /// What the client is told: a lowercase fragment of the characters that RFC 6750 §3 allows.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Missing => "a bearer token is required",
            Self::Several => "there is more than one Authorization",
            Self::Malformed => "the token is not a signed JWT",
            Self::TooLong => "the token is longer than 8 KiB",
            Self::Critical => "the token has critical extensions, which are not understood",
            Self::Type => "the token is for another use",
            Self::NoExpiry => "the token has no expiry",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token is of another issuer",
            Self::UnknownKey => "the token is signed with an unknown key",
            Self::Algorithm => "the token is signed with another algorithm than the key's",
            Self::Signature => "the signature of the token does not hold",
            Self::Audience => "the token is for another audience",
            Self::Subject => "the subject of the token is too long",
            Self::TooManyBad => "too many tokens from this address had signatures that do not hold",
            Self::NoKeys => "the keys for tokens cannot be read",
        }
    }

    /// The failure that `proxy` words; `realm` is the name of the check in the file.
    pub(crate) fn failure(self, realm: &str) -> Failure {
        let (kind, error) = match self {
            Self::Several => (Kind::BadRequest, Some("invalid_request")),
            // Who brings no token is told what is asked for, and nothing is wrong yet (RFC 6750 §3.1).
            Self::Missing => (Kind::Unauthorized, None),
            // 401 would make a client fetch another token of the same kind.
            Self::Audience | Self::Subject => (Kind::Forbidden, Some("insufficient_scope")),
            Self::TooManyBad => {
                let failure = Failure::new(Kind::TooManyBadTokens, self.description());
                return failure.header(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::NoKeys => return Failure::new(Kind::Internal, self.description()),
            _ => (Kind::Unauthorized, Some("invalid_token")),
        };
        let mut challenge = format!("Bearer realm=\"{}\"", realm.replace(['"', '\\'], "_"));
        if let Some(error) = error {
            challenge.push_str(&format!(", error=\"{error}\", error_description=\"{}\"", self.description()));
        }
        let failure = Failure::new(kind, self.description());
        match HeaderValue::from_str(&challenge) {
            Ok(challenge) => failure.header(WWW_AUTHENTICATE, challenge),
            Err(_) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(refusal: Refusal) -> (Kind, String) {
        let failure = refusal.failure("us\"ers");
        let value = failure.headers.iter().find(|(name, _)| name == WWW_AUTHENTICATE).unwrap();
        (failure.kind, value.1.to_str().unwrap().to_owned())
    }

    #[test]
    fn who_brings_no_token_is_told_what_is_asked_for_and_nothing_else() {
        assert_eq!(challenge(Refusal::Missing), (Kind::Unauthorized, "Bearer realm=\"us_ers\"".to_owned()));
    }

    #[test]
    fn who_brings_a_wrong_one_is_told_why() {
        let told =
            "Bearer realm=\"us_ers\", error=\"invalid_token\", error_description=\"the token has expired\"";
        assert_eq!(challenge(Refusal::Expired), (Kind::Unauthorized, told.to_owned()));
        assert_eq!(challenge(Refusal::Audience).0, Kind::Forbidden);
    }

    #[test]
    fn whose_check_is_put_off_keeps_the_token() {
        let failure = Refusal::TooManyBad.failure("users");
        assert_eq!(failure.kind, Kind::TooManyBadTokens);
        assert_eq!(failure.headers, [(RETRY_AFTER, HeaderValue::from_static("1"))]);
    }
}
