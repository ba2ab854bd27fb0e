//! Conversations under an id, kept in order, so that a page costs the page and not the whole collection.
//!
//! Two of these exist: the true state, and the one that List shows (which may lag). Invariant: every conversation is once
//! in each index, under the key that its present content gives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::model::Conversation;

/// Place in an order by time; the id settles ties, so that paging never skips or repeats among equals.
pub type Place = (i64, Uuid);

/// Conversations by id, by latest message, by creation and by user attribute.
#[derive(Default)]
pub struct Book {
    by_id: HashMap<Uuid, Arc<Conversation>>,
    latest: BTreeSet<Place>,
    created: BTreeSet<Place>,
    attributes: HashMap<String, BTreeSet<Uuid>>,
}

impl Book {
    /// Puts a conversation in, in place of its earlier state.
    pub fn put(&mut self, conversation: Arc<Conversation>) {
        let id = conversation.id;
        if let Some(old) = self.by_id.get(&id) {
            let (created, latest) = (old.created_at, old.latest_at);
            // An appended event leaves the attributes alone nearly always; comparing is cheaper than indexing again.
            if old.given_attributes != conversation.given_attributes {
                let old = Arc::clone(old);
                self.unindex_attributes(&old);
                self.index_attributes(&conversation);
            }
            if latest != conversation.latest_at {
                self.latest.remove(&(latest, id));
            }
            if created != conversation.created_at {
                self.created.remove(&(created, id));
            }
        } else {
            self.index_attributes(&conversation);
        }
        self.latest.insert((conversation.latest_at, id));
        self.created.insert((conversation.created_at, id));
        self.by_id.insert(id, conversation);
    }

    /// Takes a conversation out; `false` when there was none.
    pub fn remove(&mut self, id: Uuid) -> bool {
        let Some(old) = self.by_id.remove(&id) else { return false };
        self.unindex_attributes(&old);
        self.latest.remove(&(old.latest_at, id));
        self.created.remove(&(old.created_at, id));
        true
    }

    /// Returns the conversation with this id.
    pub fn get(&self, id: Uuid) -> Option<&Arc<Conversation>> {
        self.by_id.get(&id)
    }

    /// Returns the number of conversations.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns conversations by latest message, newest first, beginning after `cursor`.
    pub fn older_than(&self, cursor: Option<Place>) -> impl Iterator<Item = &Arc<Conversation>> {
        before(&self.latest, cursor).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Returns conversations by latest message, oldest first, beginning after `cursor`.
    pub fn newer_than(&self, cursor: Place) -> impl Iterator<Item = &Arc<Conversation>> {
        after(&self.latest, cursor).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Returns conversations by creation, newest first, beginning after `cursor`.
    pub fn created_before(&self, cursor: Option<Place>) -> impl Iterator<Item = &Arc<Conversation>> {
        before(&self.created, cursor).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Returns conversations by creation, oldest first, beginning after `cursor`.
    pub fn created_after(&self, cursor: Place) -> impl Iterator<Item = &Arc<Conversation>> {
        after(&self.created, cursor).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Returns those whose user attribute `key` has this value (numbers and booleans as they are written), newest message
    /// first.
    pub fn with_attribute(&self, key: &str, value: &str) -> Vec<Arc<Conversation>> {
        let ids = self.attributes.get(&attribute_key(key, value));
        let mut found: Vec<_> = ids.into_iter().flatten().filter_map(|id| self.by_id.get(id)).cloned().collect();
        found.sort_by_key(|conversation| std::cmp::Reverse((conversation.latest_at, conversation.id)));
        found
    }

    fn index_attributes(&mut self, conversation: &Conversation) {
        for (key, value) in &conversation.given_attributes {
            if let Some(text) = scalar(value) {
                self.attributes.entry(attribute_key(key, &text)).or_default().insert(conversation.id);
            }
        }
    }

    fn unindex_attributes(&mut self, conversation: &Conversation) {
        for (key, value) in &conversation.given_attributes {
            let Some(text) = scalar(value) else { continue };
            let entry = attribute_key(key, &text);
            if let Some(ids) = self.attributes.get_mut(&entry) {
                ids.remove(&conversation.id);
                if ids.is_empty() {
                    self.attributes.remove(&entry);
                }
            }
        }
    }
}

/// Returns a plain value as text; objects and arrays have none.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn attribute_key(key: &str, value: &str) -> String {
    format!("{key}:{value}")
}

fn before(order: &BTreeSet<Place>, cursor: Option<Place>) -> impl Iterator<Item = &Place> {
    let end = cursor.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    order.range((std::ops::Bound::Unbounded, end)).rev()
}

fn after(order: &BTreeSet<Place>, cursor: Place) -> impl Iterator<Item = &Place> {
    order.range((std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversation(n: u128, latest_at: i64, plan: &str) -> Arc<Conversation> {
        let given_attributes = json!({"plan": plan}).as_object().cloned().unwrap_or_default();
        Arc::new(Conversation {
            id: Uuid::from_u128(n),
            bot_id: "bot".into(),
            created_at: 0,
            latest_at,
            source: "api".into(),
            channel: None,
            status: None,
            external_id: None,
            resolved: None,
            user_attributes: serde_json::Map::default(),
            given_attributes,
            events: Vec::new(),
            human_owned: false,
            ever_escalated: false,
            touched: true,
        })
    }

    fn ids<'a>(found: impl Iterator<Item = &'a Arc<Conversation>>) -> Vec<u128> {
        found.map(|conversation| conversation.id.as_u128()).collect()
    }

    #[test]
    fn order_follows_the_latest_message() {
        let mut book = Book::default();
        for (n, at) in [(1, 10), (2, 30), (3, 20)] {
            book.put(conversation(n, at, "Pro"));
        }
        assert_eq!(ids(book.older_than(None)), [2, 3, 1]);
        book.put(conversation(1, 40, "Pro"));
        assert_eq!(ids(book.older_than(None)), [1, 2, 3]);
        assert_eq!(ids(book.older_than(Some((40, Uuid::from_u128(1))))), [2, 3]);
        assert_eq!(ids(book.newer_than((20, Uuid::from_u128(3)))), [2, 1]);
        assert_eq!(book.len(), 3);
    }

    #[test]
    fn attributes_are_found_under_their_present_value() {
        let mut book = Book::default();
        book.put(conversation(1, 10, "Pro"));
        book.put(conversation(1, 10, "Free"));
        assert!(book.with_attribute("plan", "Pro").is_empty());
        assert_eq!(book.with_attribute("plan", "Free").len(), 1);
        assert!(book.remove(Uuid::from_u128(1)));
        assert!(book.with_attribute("plan", "Free").is_empty());
        assert!(!book.remove(Uuid::from_u128(1)));
    }
}
