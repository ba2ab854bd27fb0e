//! What the customers wrote and what they were told: the truth that everything else is compared with.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A message that a customer posted until it was accepted.
#[derive(Clone, Debug)]
pub struct Posted {
    pub id: String,
    pub text: String,
    pub role: &'static str,
    pub accepted: bool,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub struct Pages {
    /// Messages by conversation, in the order in which they were written.
    pub talks: BTreeMap<String, Vec<Posted>>,
    /// Texts that agents wrote at the vendor's desk, by conversation.
    pub desk: BTreeMap<String, Vec<String>>,
    /// What must not happen and was noticed at once.
    pub violations: Vec<String>,
    /// Posts, answers and repeats, by what they came to.
    pub counts: BTreeMap<String, u64>,
}

/// The pages, shared.
#[derive(Debug, Default)]
pub struct Book(Mutex<Pages>);

impl Book {
    /// The pages, to read and write.
    pub fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something.
    pub fn count(&self, what: impl Into<String>) {
        *self.open().counts.entry(what.into()).or_default() += 1;
    }

    /// Notes what must not happen.
    pub fn violation(&self, what: String) {
        self.open().violations.push(what);
    }

    /// A message is about to be posted.
    pub fn writes(&self, conversation: &str, message: Posted) {
        self.open().talks.entry(conversation.to_owned()).or_default().push(message);
    }

    /// It was answered 202.
    pub fn accepted(&self, conversation: &str, id: &str) {
        let mut pages = self.open();
        let message = pages.talks.get_mut(conversation).into_iter().flatten().find(|message| message.id == id);
        if let Some(message) = message {
            message.accepted = true;
        }
    }
}
