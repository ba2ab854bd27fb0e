//! `GET /admin/`: the operators' console, a page of the binary. Its files are embedded as they stand; nothing is built, and
//! nothing comes from anywhere else.
//!
//! The page is served to anyone who reaches the listener, since it holds nothing: all that it shows and does goes through
//! `/admin/v1`, with the operator's own token. Invariant: it works under a policy without exceptions, so a customer's text
//! that became markup by a mistake could still not run, load or send anything.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::problem::{Code, Problem};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Name, media type and content of each file. Colours, controls and the helpers that insert texts are the demo's.
const ASSETS: [(&str, &str, &str); 14] = [
    ("api.js", JAVASCRIPT, include_str!("assets/api.js")),
    ("app.js", JAVASCRIPT, include_str!("assets/app.js")),
    ("base.css", CSS, include_str!("../../demo/assets/base.css")),
    ("charts.js", JAVASCRIPT, include_str!("assets/charts.js")),
    ("console.css", CSS, include_str!("assets/console.css")),
    ("conversation.js", JAVASCRIPT, include_str!("assets/conversation.js")),
    ("dom.js", JAVASCRIPT, include_str!("../../demo/assets/dom.js")),
    ("load.js", JAVASCRIPT, include_str!("assets/load.js")),
    ("mark.svg", SVG, include_str!("../../demo/assets/mark.svg")),
    ("people.js", JAVASCRIPT, include_str!("assets/people.js")),
    ("records.js", JAVASCRIPT, include_str!("assets/records.js")),
    ("repairs.js", JAVASCRIPT, include_str!("assets/repairs.js")),
    ("report.js", JAVASCRIPT, include_str!("assets/report.js")),
    ("ui.js", JAVASCRIPT, include_str!("assets/ui.js")),
];

/// Serves the page at `/admin/` and its files beside it.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/admin", get(async || Redirect::permanent("/admin/")))
        .route("/admin/", get(async || file(HTML, include_str!("assets/index.html"))))
        .route("/admin/{file}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, media_type, content)| file(media_type, content)).ok_or_else(|| Problem::new(Code::NotFound))
}

fn file(media_type: &'static str, content: &'static str) -> Response {
    let headers = [
        ("content-type", media_type),
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        // A newer binary brings newer files under the same names.
        ("cache-control", "no-cache"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str) -> (u16, String, String) {
        let response = router::<()>().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let policy = response.headers().get("content-security-policy").map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, policy.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_and_all_that_it_names_come_from_the_binary_under_one_strict_policy() {
        let (status, policy, page) = get("/admin/").await;
        assert_eq!(status, 200);
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains('*'));
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="), "nothing inline");
        let named: Vec<&str> = page.split('"').filter(|part| part.starts_with("/admin/")).collect();
        assert!(named.len() >= 4, "{named:?}");
        for file in named.into_iter().map(str::to_owned).chain(ASSETS.map(|(name, ..)| format!("/admin/{name}"))) {
            let (status, own, text) = get(&file).await;
            assert_eq!((status, own), (200, policy.clone()), "{file}");
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(markup), "{file} has {markup}: texts stay text");
            }
        }
        assert_eq!(get("/admin/other.js").await.0, 404);
    }
}
