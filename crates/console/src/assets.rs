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
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_sent_once_is_small() {
        assert!(SCRIPT.len() + STYLE.len() + ICON.len() < 60 << 10, "{} {}", SCRIPT.len(), STYLE.len());
        assert!(!SCRIPT.contains("innerHTML"), "data never becomes markup in the script");
    }

    /// The variables of one theme.
    fn theme(begin: &str) -> BTreeMap<&'static str, [f64; 3]> {
        let block = STYLE.split_once(begin).unwrap().1.split_once('}').unwrap().0;
        let pairs = block.split(';').filter_map(|line| line.trim().split_once(": #"));
        let channel =
            |hex: &str, at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        pairs.map(|(name, hex)| (name, [0, 2, 4].map(|at| channel(hex, at)))).collect()
    }

    /// As the guidelines for accessible content (WCAG 2) define it.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        let light = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_can_be_read_in_both_themes() {
        let (light, dark) =
            (theme(":root {"), theme("prefers-color-scheme: dark) {\n  :root:not([data-theme=\"light\"]) {"));
        assert_eq!(dark, theme(":root[data-theme=\"dark\"] {"), "dark is the same however it is chosen");
        for theme in [light, dark] {
            let check = |front: &str, back: &str, least: f64| {
                let found = contrast(theme[front], theme[back]);
                assert!(found >= least, "{front} on {back}: {found:.2}");
            };
            for back in ["--bg", "--surface", "--sunken"] {
                for front in ["--text", "--muted", "--accent", "--bad", "--warn"] {
                    check(front, back, 4.5);
                }
            }
            for tone in ["--good", "--busy", "--warn", "--bad", "--quiet", "--accent"] {
                check(tone, &format!("{tone}-soft"), 4.5);
            }
            check("--text", "--accent-soft", 4.5);
            check("--on-accent", "--accent", 4.5);
            check("--surface", "--bad", 4.5);
            // What is no text: edges of fields, lines of charts.
            check("--edge", "--surface", 3.0);
            (0..8).for_each(|number| check(&format!("--c{number}"), "--surface", 3.0));
        }
    }
}
