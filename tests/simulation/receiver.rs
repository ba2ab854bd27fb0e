//! The frontends' receivers: they verify, remember every attempt, and fail as they are told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fini_bridge::delivery::{
    ReceiverApi,
    client::{Attempt, AttemptError, AttemptResult, ErrorKind},
};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::time::{Instant, sleep, timeout};

use crate::time::{Chance, Time};

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Up,
    /// Answers after so many milliseconds.
    Slow(u64),
    /// Answers so.
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    Busy(u8),
    /// Nobody is there.
    Dead,
    /// Takes it, but its answer is lost, in percent.
    Mumbles(u8),
}

/// One attempt that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Milliseconds since the world began.
    pub at: i64,
    pub event: Value,
    pub body: Bytes,
    /// Whether it was answered 2xx, whoever heard it.
    pub taken: bool,
}

/// All receivers of a world, by the first segment of the path.
pub struct Receivers {
    verifiers: BTreeMap<&'static str, Webhook>,
    time: Arc<Time>,
    chance: Arc<Chance>,
    moods: Mutex<BTreeMap<String, Mood>>,
    arrivals: Mutex<Vec<Arrival>>,
    violations: Mutex<Vec<String>>,
}

impl Receivers {
    /// Those of these frontends, each with its secret.
    pub fn new(
        secrets: impl IntoIterator<Item = (&'static str, String)>,
        seed: u64,
        time: &Arc<Time>,
    ) -> anyhow::Result<Arc<Self>> {
        let verifiers = secrets.into_iter().map(|(name, secret)| Ok((name, Webhook::new(&secret)?)));
        Ok(Arc::new(Self {
            verifiers: verifiers.collect::<anyhow::Result<_>>()?,
            time: Arc::clone(time),
            chance: Chance::new(seed ^ 0x6d6f_6f64),
            moods: Mutex::default(),
            arrivals: Mutex::default(),
            violations: Mutex::default(),
        }))
    }

    /// From now on the receiver of `frontend` behaves so.
    pub fn set(&self, frontend: &str, mood: Mood) {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner).insert(frontend.to_owned(), mood);
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn complain(&self, what: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Verifies and remembers one attempt.
    fn arrive(&self, attempt: &Attempt, taken: bool) {
        let name = attempt.url.path().trim_start_matches('/');
        let signed =
            self.verifiers.get(name).map(|verifier| verifier.sign(&attempt.id, attempt.timestamp, &attempt.body));
        let is_signed = |signed: String| attempt.signature.split(' ').any(|one| one == signed);
        if !signed.is_some_and(|signed| signed.is_ok_and(is_signed)) {
            self.complain(format!("a callback's signature does not verify: {}", attempt.id));
        }
        let Ok(event) = serde_json::from_slice::<Value>(&attempt.body) else {
            return self.complain("a callback is not JSON".to_owned());
        };
        if event["id"].as_str() != Some(&attempt.id) {
            self.complain(format!("webhook-id {} is not the event's id: {event}", attempt.id));
        }
        let arrival = Arrival { at: self.time.elapsed(), event, body: attempt.body.clone(), taken };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
    }
}

#[async_trait]
impl ReceiverApi for Receivers {
    async fn attempt(&self, attempt: &Attempt) -> AttemptResult {
        let began = Instant::now();
        self.time.asked();
        let frontend = attempt.url.path().trim_start_matches('/').to_owned();
        let mood =
            self.moods.lock().unwrap_or_else(PoisonError::into_inner).get(&frontend).copied().unwrap_or_default();
        let travel = Duration::from_millis(self.chance.draw(|dice| dice.u64(1..20)));
        let status = |status: u16| AttemptResult { status: Some(status), ..AttemptResult::default() };
        let failed = |kind, detail: &str| AttemptResult {
            error: Some(AttemptError { kind, detail: detail.to_owned() }),
            ..AttemptResult::default()
        };
        let work = async {
            sleep(travel).await;
            match mood {
                Mood::Up => {
                    self.arrive(attempt, true);
                    status(204)
                }
                Mood::Slow(ms) => {
                    self.arrive(attempt, true);
                    sleep(Duration::from_millis(ms)).await;
                    status(200)
                }
                Mood::Status(code) => {
                    self.arrive(attempt, false);
                    status(code)
                }
                Mood::Busy(seconds) => {
                    self.arrive(attempt, false);
                    AttemptResult { retry_after: Some(seconds.to_string()), ..status(429) }
                }
                Mood::Dead => failed(ErrorKind::Refused, "connection refused"),
                Mood::Mumbles(percent) => {
                    self.arrive(attempt, true);
                    let lost = self.chance.draw(|dice| dice.u8(..100)) < percent;
                    if lost { failed(ErrorKind::Reset, "connection reset") } else { status(200) }
                }
            }
        };
        let result =
            timeout(attempt.timeout, work).await.unwrap_or_else(|_| failed(ErrorKind::Timeout, "no answer in time"));
        self.time.asked();
        AttemptResult { duration: began.elapsed(), ..result }
    }
}
