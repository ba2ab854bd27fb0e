//! The page's files, embedded: the demo needs no network, no build step and no folder beside the binary.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Everything comes from this origin and nothing is inline, so that a text that became markup by a mistake of the page
/// could still not run, load or send anything.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Name, media type and content of each file.
const ASSETS: [(&str, &str, &str); 14] = [
    ("ada.svg", SVG, include_str!("assets/ada.svg")),
    ("app.js", JAVASCRIPT, include_str!("assets/app.js")),
    ("base.css", CSS, include_str!("assets/base.css")),
    ("callbacks.js", JAVASCRIPT, include_str!("assets/callbacks.js")),
    ("customer.js", JAVASCRIPT, include_str!("assets/customer.js")),
    ("desk-fini.js", JAVASCRIPT, include_str!("assets/desk-fini.js")),
    ("desk-own.js", JAVASCRIPT, include_str!("assets/desk-own.js")),
    ("desk.js", JAVASCRIPT, include_str!("assets/desk.js")),
    ("dom.js", JAVASCRIPT, include_str!("assets/dom.js")),
    ("grace.svg", SVG, include_str!("assets/grace.svg")),
    ("handoff.js", JAVASCRIPT, include_str!("assets/handoff.js")),
    ("mark.svg", SVG, include_str!("assets/mark.svg")),
    ("panes.css", CSS, include_str!("assets/panes.css")),
    ("words.js", JAVASCRIPT, include_str!("assets/words.js")),
];

pub(super) async fn index() -> Response {
    file(HTML, include_str!("assets/index.html"))
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, content)) => file(media_type, content),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file(media_type: &'static str, content: &'static str) -> Response {
    let headers = [
        ("content-type", media_type),
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        // A newer binary brings newer files under the same names.
        ("cache-control", "no-cache"),
    ];
    (headers, content).into_response()
}
