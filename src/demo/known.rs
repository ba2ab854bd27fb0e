//! The conversations that the company's own backend knows: those it gave a browser token for, and those it was called back
//! about.
//!
//! A few dozen of them, the newest first; a real one has a table of its own.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use serde_json::{Map, Value};

/// Number of conversations that are kept.
const KEPT: usize = 60;

/// A conversation and its customer, as far as known.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Customer {
    pub(super) conversation_id: String,
    /// Null if no request named it.
    pub(super) name: Option<String>,
    pub(super) plan: Option<String>,
}

/// The backend's memory.
#[derive(Default)]
pub(super) struct Known {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    customers: VecDeque<Customer>,
    desk: Option<Value>,
}

impl Known {
    /// Notes the customer of a browser token: the backend knows its own customer.
    pub(super) fn introduce(&self, conversation_id: &str, attributes: &Map<String, Value>) {
        let told = |name: &str| attributes.get(name).and_then(Value::as_str).map(str::to_owned);
        let (name, plan) = (told("name"), told("plan"));
        let mut state = self.state();
        if let Some(known) = state.customers.iter_mut().find(|known| known.conversation_id == conversation_id) {
            (known.name, known.plan) = (name, plan);
            return;
        }
        state.add(Customer { conversation_id: conversation_id.to_owned(), name, plan });
    }

    /// Notes that a callback was about this conversation.
    pub(super) fn called_back(&self, conversation_id: &str) {
        let mut state = self.state();
        if !state.customers.iter().any(|known| known.conversation_id == conversation_id) {
            state.add(Customer { conversation_id: conversation_id.to_owned(), name: None, plan: None });
        }
    }

    /// Returns all customers, the newest first.
    pub(super) fn customers(&self) -> Vec<Customer> {
        self.state().customers.iter().cloned().collect()
    }

    /// Returns what the bridge last heard about the desk; `None` before.
    pub(super) fn desk(&self) -> Option<Value> {
        self.state().desk.clone()
    }

    /// Notes what the bridge has heard about the desk.
    pub(super) fn set_desk(&self, desk: Value) {
        self.state().desk = Some(desk);
    }

    /// Locks the state. No code panics while it holds the lock half-changed, so a poisoned one is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, customer: Customer) {
        self.customers.truncate(KEPT - 1);
        self.customers.push_front(customer);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_conversation_is_there_once_and_the_oldest_goes() {
        let known = Known::default();
        known.called_back("c-0");
        let attributes = json!({ "name": "Maya" });
        known.introduce("c-0", attributes.as_object().unwrap());
        known.called_back("c-0");
        let customers = known.customers();
        assert_eq!((customers.len(), customers[0].name.as_deref()), (1, Some("Maya")));
        for n in 1..=KEPT {
            known.called_back(&format!("c-{n}"));
        }
        let customers = known.customers();
        assert_eq!((customers.len(), customers[0].conversation_id.as_str()), (KEPT, "c-60"));
        assert!(!customers.iter().any(|each| each.conversation_id == "c-0"));
    }
}
