//! The certificate that signatures are verified with, where `SigningCertURL` says.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::envelope::Signer;
use crate::face::{Reply, Told};
use crate::gate::RequestView;

/// What the names of certificates begin with, as those of the service do: clients look for it.
const PREFIX: &str = "/SimpleNotificationService-";
/// What they end with.
const SUFFIX: &str = ".pem";
/// What a request for one is called where requests are told of.
const ACTION: &str = "SigningCertificate";

/// The answer to a request for a certificate; `None`: it is for something else.
pub(super) fn serve(signer: &dyn Signer, request: &RequestView<'_>) -> Option<Reply> {
    let asks = matches!(request.method, "GET" | "HEAD");
    let named = request.path.starts_with(PREFIX) && request.path.ends_with(SUFFIX);
    let name = request.path.strip_prefix('/').filter(|_| asks && named)?;
    let (status, body, error) = match signer.certificate(name) {
        Some(pem) => (StatusCode::OK, pem, None),
        None => (StatusCode::NOT_FOUND, "there is no such certificate\n".to_owned(), Some("NotFound")),
    };
    let kind = if error.is_none() { "application/x-pem-file" } else { "text/plain" };
    Some(Reply {
        status,
        content_type: Some(HeaderValue::from_static(kind)),
        query_error: None,
        body: Bytes::from(body),
        told: Told { action: ACTION, error, ..Told::default() },
    })
}
