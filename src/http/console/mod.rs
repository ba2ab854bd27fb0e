//! `GET /admin/`: the operators' console, a page of the binary. Its files are embedded as they stand; nothing is built, and
//! nothing comes from anywhere else.
//!
//! The page is served to anyone who reaches the listener, since it holds nothing: all that it shows and does goes through
//! `/admin/v1`, with the operator's own token. Invariant: it works under a policy without exceptions, so a customer's text
//! that became markup by a mistake could still not run, load or send anything.

use axum::{
    Router,
    extract::Path,
    response::{Redirect, Response},
    routing::get,
};

use super::{
    page::Page,
    problem::{Code, Problem},
};

const PAGE: Page = Page {
    policy: "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    html: include_str!("assets/index.html"),
    files: &[
        ("api.js", include_str!("assets/api.js")),
        ("app.js", include_str!("assets/app.js")),
        ("charts.js", include_str!("assets/charts.js")),
        ("console.css", include_str!("assets/console.css")),
        ("conversation.js", include_str!("assets/conversation.js")),
        ("load.js", include_str!("assets/load.js")),
        ("people.js", include_str!("assets/people.js")),
        ("records.js", include_str!("assets/records.js")),
        ("repairs.js", include_str!("assets/repairs.js")),
        ("report.js", include_str!("assets/report.js")),
        ("ui.js", include_str!("assets/ui.js")),
    ],
};

/// Serves the page at `/admin/` and its files beside it.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/admin", get(async || Redirect::permanent("/admin/")))
        .route("/admin/", get(async || PAGE.index()))
        .route("/admin/{file}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    PAGE.file(&name).ok_or_else(|| Problem::new(Code::NotFound))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_page_and_all_that_it_names_come_from_the_binary_under_one_strict_policy() {
        PAGE.assert_whole("/admin/", &[]);
        for (path, status) in
            [("/admin/", 200), ("/admin/app.js", 200), ("/admin/dom.js", 200), ("/admin/other.js", 404)]
        {
            let response = router::<()>().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let policy = response.headers().get("content-security-policy").map(|policy| policy.to_str().unwrap());
            assert_eq!(policy, (status == 200).then_some(PAGE.policy), "{path}");
        }
    }
}
