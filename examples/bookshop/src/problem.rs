//! How a service says no: `application/problem+json` (RFC 9457), in words its reader can act on.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::CallError;

/// A failed request, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem it is, in a few words that never change.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what can be done about it.
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// A problem of any kind.
    pub fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self { title: title.to_owned(), status: status.as_u16(), detail: detail.into() }
    }

    /// There is nothing at this address.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// The address exists, the method does not.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "this address takes other methods")
    }

    /// The request can be read and makes no sense.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail)
    }
}

/// A body that cannot be read: too large, not JSON, or a field missing.
impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        Self::new(error.status(), "cannot read the request", error.body_text())
    }
}

/// A query that cannot be read: `?limit=many`.
impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::new(error.status(), "cannot read the query", error.body_text())
    }
}

/// A neighbour that failed is not the caller's fault: 503, try again.
impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let detail = format!("{} is not available at the moment, please try again", error.upstream());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service unavailable", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        (status, [(header::CONTENT_TYPE, kind)], Json(self)).into_response()
    }
}
