//! The callbacks that have arrived, as the page shows them: the last few hundred, numbered, each kept as it came.
//!
//! It judges nothing. Readers hold a cursor and are woken by a change counter, so that a slow page loses old rows at worst
//! and never holds anyone up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// Number of callbacks that are kept.
const KEPT: usize = 500;

/// One callback request and its answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Arrival {
    /// Counts 1, 2, 3 … since the demo started.
    pub n: u64,
    /// RFC 3339, UTC.
    pub received_at: String,
    /// The status it was answered with.
    pub status: u16,
    /// True if the signature was right.
    pub verified: bool,
    /// The reason why it was not.
    pub reason: Option<String>,
    /// True if an earlier request that is still kept carried the same `webhook-id`.
    pub repeat: bool,
    /// The three Standard Webhooks headers.
    pub headers: WebhookHeaders,
    /// The body as JSON, if it is JSON.
    pub event: Option<Value>,
    /// The body as text, if it is not.
    pub body: Option<String>,
}

/// The Standard Webhooks headers as received; empty where missing.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct WebhookHeaders {
    #[serde(rename = "webhook-id")]
    pub id: String,
    #[serde(rename = "webhook-timestamp")]
    pub timestamp: String,
    #[serde(rename = "webhook-signature")]
    pub signature: String,
}

/// The callbacks, and the receiver's switch.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

struct State {
    rows: VecDeque<Arc<Arrival>>,
    newest: u64,
    working: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        let state = State { rows: VecDeque::with_capacity(KEPT), newest: 0, working: true };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()) }
    }
}

impl Inbox {
    /// Keeps a callback under the next number; `n` and `repeat` of the argument are overwritten.
    pub(super) fn push(&self, mut arrival: Arrival) {
        let mut state = self.state();
        state.newest += 1;
        arrival.n = state.newest;
        let id = &arrival.headers.id;
        arrival.repeat = state.rows.iter().any(|row| !id.is_empty() && row.headers.id == *id);
        if state.rows.len() == KEPT {
            state.rows.pop_front();
        }
        state.rows.push_back(Arc::new(arrival));
        drop(state);
        self.changed.send_replace(());
    }

    /// Returns the rows after number `n`, oldest first.
    pub(super) fn after(&self, n: u64) -> Vec<Arc<Arrival>> {
        let state = self.state();
        state.rows.iter().filter(|row| row.n > n).cloned().collect()
    }

    /// Returns the highest number so far.
    pub(super) fn newest(&self) -> u64 {
        self.state().newest
    }

    /// Returns true while callbacks are accepted.
    pub(super) fn working(&self) -> bool {
        self.state().working
    }

    /// Breaks or repairs the receiver.
    pub(super) fn set_working(&self, working: bool) {
        self.state().working = working;
        self.changed.send_replace(());
    }

    /// Wakes after each change. Register before looking, so that no change is missed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Locks the state. No code panics while it holds the lock half-changed, so a poisoned one is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> Arrival {
        Arrival {
            n: 0,
            received_at: String::new(),
            status: 204,
            verified: true,
            reason: None,
            repeat: false,
            headers: WebhookHeaders { id: id.into(), ..WebhookHeaders::default() },
            event: None,
            body: None,
        }
    }

    #[test]
    fn the_newest_rows_stay_and_repeats_are_known() {
        let inbox = Inbox::default();
        for n in 0..=KEPT {
            inbox.push(row(&format!("evt_{n}")));
        }
        assert_eq!(inbox.after(0).len(), KEPT);
        assert_eq!(inbox.after(0)[0].n, 2);
        inbox.push(row("evt_7"));
        inbox.push(row(""));
        inbox.push(row(""));
        let last: Vec<bool> = inbox.after(KEPT as u64 + 1).iter().map(|row| row.repeat).collect();
        assert_eq!(last, [true, false, false]);
        assert_eq!(inbox.newest(), KEPT as u64 + 4);
    }
}
