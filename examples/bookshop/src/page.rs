//! HTML, by hand: one frame for every page, and text that cannot break out of it.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// A whole page: `body` is HTML, `title` is text.
pub fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{css}</style>\n</head>\n<body>\n\
         <header><h1><a href=\"/\">The Lagoon Bookshop</a></h1>\n\
         <form action=\"/\"><input type=\"search\" name=\"q\" placeholder=\"Title or author\" \
         aria-label=\"Search\"> <button>Search</button></form></header>\n\
         <main>\n{body}</main>\n<script>\n{js}</script>\n</body>\n</html>\n",
        title = escape(title),
        css = include_str!("page.css"),
        js = include_str!("page.js"),
    );
    (status, Html(html)).into_response()
}

/// A place that fills itself once the page is there; without JavaScript it is a link.
pub fn fragment(address: &str, name: &str) -> String {
    let (address, name) = (escape(address), escape(name));
    format!(
        "<section data-fragment=\"{address}\"><noscript><a href=\"{address}\">{name}</a></noscript></section>\n"
    )
}

/// Text as HTML: nothing a customer types becomes markup, neither between tags nor in a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// An amount for people: `1450` is `€14.50`.
pub fn price(cents: u64) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_cannot_write_markup() {
        assert_eq!(escape(r#"<b a="1">'&"#), "&lt;b a=&quot;1&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn prices_have_two_decimals() {
        assert_eq!(price(5), "€0.05");
        assert_eq!(price(18_900), "€189.00");
    }
}
