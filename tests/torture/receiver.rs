//! The frontend's callback receiver: verifies what it gets, fails now and then, and remembers every attempt.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::time::sleep;

/// One attempt that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub event: Value,
    pub body: Bytes,
    /// Whether it was (or would have been) answered 2xx.
    pub taken: bool,
}

/// The receiver's memory.
pub struct Receiver {
    verifier: Webhook,
    dice: Mutex<fastrand::Rng>,
    /// Percent of attempts that go wrong.
    pub trouble: AtomicU64,
    /// Attempts so far.
    pub attempts: AtomicU64,
    /// Turns whose end it was told and took.
    ended: Mutex<HashSet<String>>,
    arrivals: Mutex<BTreeMap<String, Vec<Arrival>>>,
    violations: Mutex<Vec<String>>,
}

impl Receiver {
    /// A receiver that knows the secret.
    pub fn new(secret: &str, dice: fastrand::Rng) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            verifier: Webhook::new(secret)?,
            dice: Mutex::new(dice),
            trouble: AtomicU64::new(20),
            attempts: AtomicU64::default(),
            ended: Mutex::default(),
            arrivals: Mutex::default(),
            violations: Mutex::default(),
        }))
    }

    /// Its one route.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/callback", post(take)).with_state(Arc::clone(self))
    }

    /// Every attempt so far, by conversation, in the order of arrival.
    pub fn arrivals(&self) -> BTreeMap<String, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many turns it knows to have ended.
    pub fn ended(&self) -> usize {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What must not happen and was noticed at once.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fate(&self) -> (StatusCode, Duration) {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if dice.u64(..100) >= self.trouble.load(Ordering::Relaxed) {
            return (StatusCode::NO_CONTENT, Duration::ZERO);
        }
        match dice.u8(..4) {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, Duration::ZERO),
            1 => (StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(dice.u64(0..300))),
            2 => (StatusCode::FOUND, Duration::ZERO),
            _ => (StatusCode::OK, Duration::from_millis(dice.u64(100..2_000))),
        }
    }
}

async fn take(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.attempts.fetch_add(1, Ordering::Relaxed);
    let complain = |what: String| receiver.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    if let Err(error) = receiver.verifier.verify(&body, &headers) {
        complain(format!("a callback's signature does not verify: {error}"));
        return StatusCode::BAD_REQUEST;
    }
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        complain("a callback is not JSON".to_owned());
        return StatusCode::BAD_REQUEST;
    };
    if headers.get("webhook-id").and_then(|id| id.to_str().ok()) != event["id"].as_str() {
        complain(format!("webhook-id is not the event's id: {event}"));
    }
    let (status, pause) = receiver.fate();
    if status.is_success() && event["type"].as_str().is_some_and(|kind| kind.starts_with("turn.")) {
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        receiver.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }
    let conversation = event["conversation_id"].as_str().unwrap_or_default().to_owned();
    let arrival = Arrival { event, body, taken: status.is_success() };
    receiver.arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(conversation).or_default().push(arrival);
    sleep(pause).await;
    status
}
