//! The page's files, embedded: the demo needs no network, no build step and no folder beside the binary.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::http::page::Page;

pub(super) const PAGE: Page = Page {
    policy: "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    html: include_str!("assets/index.html"),
    files: &[
        ("ada.svg", include_str!("assets/ada.svg")),
        ("app.js", include_str!("assets/app.js")),
        ("callbacks.js", include_str!("assets/callbacks.js")),
        ("customer.js", include_str!("assets/customer.js")),
        ("desk-fini.js", include_str!("assets/desk-fini.js")),
        ("desk-own.js", include_str!("assets/desk-own.js")),
        ("desk.js", include_str!("assets/desk.js")),
        ("grace.svg", include_str!("assets/grace.svg")),
        ("handoff.js", include_str!("assets/handoff.js")),
        ("panes.css", include_str!("assets/panes.css")),
        ("words.js", include_str!("assets/words.js")),
    ],
};

pub(super) async fn index() -> Response {
    PAGE.index()
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    PAGE.file(&name).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}
