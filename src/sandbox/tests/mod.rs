//! Rules of the vendor, driven through the router as a client would.

mod control;
mod documented;
mod effects;
mod generate;
mod guard;
mod history;
mod in_process;
mod load;
mod paging;
mod personalities;
mod reading;
mod sockets;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;

/// A sandbox whose clock stands still until it is moved.
struct Bench {
    sandbox: Sandbox,
    time: Arc<AtomicI64>,
}

/// The response to a request.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.bytes)))
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(adapt: impl FnOnce(&mut SandboxConfig)) -> Self {
        let time = Arc::new(AtomicI64::new(START));
        let shown = Arc::clone(&time);
        let clock: Clock = Arc::new(move || shown.load(Ordering::SeqCst));
        let mut config = SandboxConfig { clock, seed: Some(1), ..SandboxConfig::instant() };
        adapt(&mut config);
        Self { sandbox: Sandbox::new(config), time }
    }

    /// Moves the clock on.
    fn pass(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::SeqCst);
    }

    async fn send(&self, method: &str, path: &str, key: &str, body: Vec<u8>) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("authorization", key);
        }
        let response = self.sandbox.router().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "Bearer fini_sandbox", Vec::new()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "Bearer fini_sandbox", body.to_string().into_bytes()).await
    }

    async fn patch(&self, body: &Value) -> Reply {
        self.send("PATCH", "/_sandbox/settings", "", body.to_string().into_bytes()).await
    }

    /// Sends Generate Answer with any body.
    async fn generate(&self, body: &Value) -> Reply {
        self.post("/v2/hc-interactions/events/public", body).await
    }

    /// Starts a conversation; returns its id and the events of the response.
    async fn start(&self, text: &str) -> (String, Value) {
        let reply = self.generate(&json!({"botId": DEFAULT_BOT_ID, "content": text})).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
        let events = reply.json();
        // The response does not name the conversation; it is the one that holds its first event.
        let all = self.sandbox.conversations(usize::MAX);
        let found =
            all.iter().find(|known| known.events.iter().any(|event| event.id == events[0]["id"].as_str().unwrap()));
        (found.unwrap().id.to_string(), events)
    }

    /// Continues a conversation.
    async fn go_on(&self, id: &str, text: &str) -> Value {
        let reply = self.generate(&json!({"interactionId": id, "content": text})).await;
        assert_eq!(reply.status, 200);
        reply.json()
    }

    async fn read(&self, id: &str) -> Reply {
        self.get(&format!("/v2/hc-interactions/{id}/public")).await
    }

    async fn list(&self, query: &str) -> Value {
        let reply = self.get(&format!("/v2/hc-interactions/public?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", String::from_utf8_lossy(&reply.bytes));
        reply.json()
    }

    async fn listed(&self, query: &str) -> Vec<String> {
        ids(&self.list(query).await["interactions"])
    }
}

fn ids(array: &Value) -> Vec<String> {
    array.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns `role/type` of each event.
fn kinds(events: &Value) -> Vec<String> {
    let kind = |event: &Value| format!("{}/{}", event["role"].as_str().unwrap(), event["type"].as_str().unwrap());
    events.as_array().unwrap().iter().map(kind).collect()
}
