//! Calls as a frontend's backend, a browser or an operator makes them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Who posted a message: to which bridge, into which conversation, which text, and whether with a browser token.
static POSTED: Mutex<BTreeSet<(String, String, String, bool)>> = Mutex::new(BTreeSet::new());

/// Whether a message of the feed was posted with a browser token to a bridge of these addresses; `None` where both a browser and
/// the backend posted such a text.
pub(super) fn posted_by_browser(urls: &BTreeSet<String>, event: &Value) -> Option<bool> {
    let all = POSTED.lock().unwrap_or_else(PoisonError::into_inner);
    let (conversation, text) = (event["conversation_id"].to_string(), event["data"]["message"]["text"].to_string());
    let by = |browser| urls.iter().any(|url| all.contains(&(url.clone(), conversation.clone(), text.clone(), browser)));
    (!by(true) || !by(false)).then(|| by(true))
}

/// A request being put together.
#[derive(Clone)]
pub struct Call {
    client: reqwest::Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

/// A client that follows nothing, reads no environment and gives up after a minute and a half.
pub fn client() -> reqwest::Client {
    // Another test of this process may have been first; it installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(90))
        .build()
        .expect("a plain client can always be built")
}

impl Call {
    /// A request without credentials.
    pub fn new(client: &reqwest::Client, method: &str, url: String) -> Self {
        let method = method.parse().expect("tests use valid methods");
        Self { client: client.clone(), method, url, headers: HeaderMap::new(), body: None }
    }

    /// Adds a header, or replaces it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("tests use valid header names");
        self.headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("tests use valid header values"));
        self
    }

    /// Leaves a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Authenticates with a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Any body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it; `None` when there was no answer.
    pub async fn attempt(self) -> Option<Answer> {
        let response = self.response().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer { status, headers, text })
    }

    /// Sends it and gives the response with its body still to come.
    pub async fn response(self) -> reqwest::Result<reqwest::Response> {
        self.note_post();
        let mut request = self.client.request(self.method, &self.url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        request.send().await
    }

    /// Remembers who posts a message: of what a browser posts the backend has not seen anything, and is called back.
    fn note_post(&self) {
        let Some(base) = self.url.strip_suffix("/v1/messages") else { return };
        let token = self.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        // The beginning of every JWT.
        let by_browser = token.is_some_and(|token| token.starts_with("eyJ"));
        let message: Value =
            self.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
        let key = (base.to_owned(), message["conversation_id"].to_string(), message["text"].to_string(), by_browser);
        POSTED.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Sends it.
    pub async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.url);
        self.attempt().await.unwrap_or_else(|| panic!("{what}: no answer"))
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers of ours are ASCII"))
    }

    /// Itself, once its status is as expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Checks that it is a problem of this status and code, whole in form (RFC 9457), and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        for member in ["type", "title"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
        }
        problem
    }
}
