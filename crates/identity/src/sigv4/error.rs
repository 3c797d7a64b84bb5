//! Why a signature is refused, in the words that AWS services have for it.

use kit::Timestamp;

use super::time::show;

/// Which family of error codes a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0 and 1.1.
    Json,
    /// The query protocol with answers in XML.
    Query,
}

/// Why a request is not who it says it is. `Display` is the message that the service gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It carries no signature at all.
    #[error("Request is missing Authentication Token")]
    MissingAuthenticationToken,
    /// Part of the signature is missing or cannot be read.
    #[error("{0}")]
    IncompleteSignature(String),
    /// Nobody has this access key, or it goes with another session token.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The credentials were good once.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The scope of the signature is not this service, region or day.
    #[error("{0}")]
    WrongScope(String),
    /// What was signed is not what came.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details."
    )]
    DoesNotMatch,
    /// Signed longer ago than clocks may differ.
    #[error(
        "Signature expired: {} is now earlier than {} ({} - {minutes} min.)",
        show(*.signed), show(*.limit), show(*.now)
    )]
    Expired {
        /// When it was signed.
        signed: Timestamp,
        /// The earliest that would do.
        limit: Timestamp,
        /// The time here.
        now: Timestamp,
        /// How far clocks may differ.
        minutes: u64,
    },
    /// Signed further in the future than clocks may differ.
    #[error(
        "Signature not yet current: {} is still later than {} ({} + {minutes} min.)",
        show(*.signed), show(*.limit), show(*.now)
    )]
    NotYetCurrent {
        /// When it was signed.
        signed: Timestamp,
        /// The latest that would do.
        limit: Timestamp,
        /// The time here.
        now: Timestamp,
        /// How far clocks may differ.
        minutes: u64,
    },
    /// A presigned URL whose time is over.
    #[error("Request has expired.")]
    RequestExpired,
}

impl SignatureError {
    /// The code that a service answers with.
    pub fn code(&self, protocol: Protocol) -> &'static str {
        let (json, query) = match self {
            Self::MissingAuthenticationToken => {
                ("MissingAuthenticationTokenException", "MissingAuthenticationToken")
            }
            Self::IncompleteSignature(_) => ("IncompleteSignatureException", "IncompleteSignature"),
            Self::UnknownKey => ("UnrecognizedClientException", "InvalidClientTokenId"),
            Self::ExpiredToken => ("ExpiredTokenException", "ExpiredToken"),
            // A clock that is wrong has no code of its own: clients look at the message and set their clock.
            Self::WrongScope(_) | Self::DoesNotMatch | Self::Expired { .. } | Self::NotYetCurrent { .. } => {
                ("InvalidSignatureException", "SignatureDoesNotMatch")
            }
            Self::RequestExpired => ("RequestExpired", "RequestExpired"),
        };
        match protocol {
            Protocol::Json => json,
            Protocol::Query => query,
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self, protocol: Protocol) -> u16 {
        match (protocol, self) {
            (Protocol::Json, _) | (Protocol::Query, Self::IncompleteSignature(_) | Self::RequestExpired) => {
                400
            }
            (Protocol::Query, _) => 403,
        }
    }
}
