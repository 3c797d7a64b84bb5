//! The script and the stylesheet: part of the binary, known by their digest, kept by browsers for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const SCRIPT: &str = include_str!("assets/console.js");
const STYLE: &str = include_str!("assets/console.css");
const ICON: &str = include_str!("assets/icon.svg");

/// Characters of the digest in a name.
const DIGITS: usize = 16;

/// A file, under the name that pages use.
struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

static ALL: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        ("console", "js", "text/javascript; charset=utf-8", SCRIPT),
        ("console", "css", "text/css; charset=utf-8", STYLE),
        ("icon", "svg", "image/svg+xml", ICON),
    ]
    .map(|(stem, end, kind, text)| {
        let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Asset { name: format!("{stem}-{}.{end}", &digest[..DIGITS]), kind, text }
    })
});

/// Where the script is.
pub(crate) fn script() -> String {
    format!("/assets/{}", ALL[0].name)
}

/// Where the stylesheet is.
pub(crate) fn style() -> String {
    format!("/assets/{}", ALL[1].name)
}

/// Where the icon is.
pub(crate) fn icon() -> String {
    format!("/assets/{}", ALL[2].name)
}

/// `GET /assets/NAME`.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    let Some(asset) = ALL.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_once_is_small() {
        assert!(SCRIPT.len() + STYLE.len() + ICON.len() < 60 << 10, "{} {}", SCRIPT.len(), STYLE.len());
        assert!(!SCRIPT.contains("innerHTML"), "data never becomes markup in the script");
    }
}
