//! A person's conversations: whose one is, how far it was read, and what a list shows of it. Pure.
//!
//! A person is a frontend's user for whom its server, or the subject of a browser's token, vouches. A conversation in which
//! two persons were named belongs to nobody.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    evidence::absent::digest,
    ids::ConversationId,
    shown::{HIDDEN, to_browser},
};

/// Returns the hash kept of a fully erased person: whoever knows the id recognises it, nobody else learns it.
pub fn hash(user: &str) -> String {
    format!("sha256:{}", digest(user))
}

/// The owner of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs<'a> {
    /// Nobody was named yet.
    Anonymous,
    /// This person.
    To(&'a str),
    /// Several were named: it belongs to nobody.
    Disputed,
}

impl<'a> Belongs<'a> {
    /// Decides by the user who was named first; `is_vouched` is true if nobody named another.
    pub fn of(user: Option<&'a str>, is_vouched: bool) -> Self {
        match (user, is_vouched) {
            (None, _) => Self::Anonymous,
            (Some(user), true) => Self::To(user),
            (Some(_), false) => Self::Disputed,
        }
    }

    /// Returns the result of a backend's claim that the conversation is `user`'s.
    pub fn claimed_by(self, user: &str) -> Claim {
        match self {
            Self::Anonymous => Claim::Given,
            Self::To(own) if own == user => Claim::Known,
            Self::To(_) | Self::Disputed => Claim::Refused,
        }
    }
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It belonged to nobody, and is that person's from now on.
    Given,
    /// It was that person's before.
    Known,
    /// Somebody else was named in it.
    Refused,
}

/// Returns the read mark after a report that everything up to `asked` was read: it never goes back, nor beyond the feed.
pub const fn read_up_to(before: i64, asked: i64, last_sequence: i64) -> i64 {
    let reached = if asked < last_sequence { asked } else { last_sequence };
    if reached > before { reached } else { before }
}

/// A place in a person's list, which goes from the newest to the oldest: what follows is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Time of the last update of the conversation there, in epoch milliseconds of the steady clock.
    pub updated_at: i64,
    /// Its id.
    pub conversation: ConversationId,
}

impl Place {
    /// Returns the place as text.
    pub fn as_text(&self) -> String {
        format!("{} {}", self.updated_at, self.conversation)
    }

    /// Parses the text of a place.
    pub fn parse(text: &str) -> Option<Self> {
        let (updated_at, conversation) = text.split_once(' ')?;
        Some(Self { updated_at: updated_at.parse().ok()?, conversation: ConversationId::parse(conversation).ok()? })
    }
}

/// A message as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastMessage {
    /// `user`, `bot`, `agent` or `otherbot`.
    pub author: String,
    /// Its text, as it was last changed.
    pub text: String,
    /// Time of writing, RFC 3339.
    pub created_at: String,
    #[serde(skip)]
    id: String,
}

/// Returns the message of a `message.created` event; `None` if a browser asks and does not see it.
pub fn message(body: &str, sequence: i64, is_browser: bool) -> Option<LastMessage> {
    #[derive(Deserialize)]
    struct Event {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        id: String,
        author: String,
        text: Option<String>,
        created_at: String,
    }
    let shown = if is_browser { to_browser("message.created", body, sequence).body } else { Cow::Borrowed(body) };
    let Event { data: Data { message } } = serde_json::from_str(&shown).ok()?;
    let Message { id, author, text, created_at } = message;
    Some(LastMessage { author, text: text.unwrap_or_default(), created_at, id })
}

impl LastMessage {
    /// Applies a later change that a `message.updated` event reports of this message.
    pub fn apply(&mut self, body: &str, sequence: i64, is_browser: bool) {
        #[derive(Deserialize)]
        struct Event {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            message_id: String,
            changed: Changed,
        }
        #[derive(Deserialize)]
        struct Changed {
            text: Option<String>,
        }
        let shown = to_browser("message.updated", body, sequence);
        if is_browser && shown.kind == HIDDEN {
            return;
        }
        let Ok(Event { data }) = serde_json::from_str(body) else { return };
        if let Some(text) = data.changed.text.filter(|_| data.message_id == self.id) {
            self.text = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn created(id: &str, text: &str, withheld: bool) -> String {
        json!({"id": "evt_1", "type": "message.created", "timestamp": "t", "frontend": "web", "conversation_id": "c",
            "interaction_id": null, "sequence": 3, "data": {"withheld": withheld, "origin": "fini", "message":
                {"id": id, "author": "bot", "text": text, "created_at": "2026-11-21T05:00:00.123Z", "tags": ["x"]}}})
        .to_string()
    }

    #[test]
    fn only_what_is_nobodys_is_given_away() {
        for (user, vouched, claim) in [
            (None, false, Claim::Given),
            (None, true, Claim::Given),
            (Some("u-9"), true, Claim::Known),
            (Some("u-1"), true, Claim::Refused),
            (Some("u-9"), false, Claim::Refused),
            (Some("u-1"), false, Claim::Refused),
        ] {
            assert_eq!(Belongs::of(user, vouched).claimed_by("u-9"), claim, "{user:?} {vouched}");
        }
    }

    proptest! {
        #[test]
        fn a_read_mark_never_goes_back_nor_beyond_the_feed(marks in prop::collection::vec(any::<i64>(), 1..20), last in 0_i64..1000) {
            let mut mark = 0;
            for asked in marks {
                let next = read_up_to(mark, asked, last);
                prop_assert!(next >= mark && next <= last);
                prop_assert!(asked > last || next >= asked.min(last));
                mark = next;
            }
        }

        #[test]
        fn a_place_is_found_again(updated_at in any::<i64>(), id in "[A-Za-z0-9._~:@+=-]{3,40}") {
            let place = Place { updated_at, conversation: ConversationId::trusted(id) };
            prop_assert_eq!(Place::parse(&place.as_text()), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in ["", " ", "1", "1 ", " c", "x c", "1 a b", "1 .."] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_list_shows_a_message_as_it_was_last_changed() {
        let mut last = message(&created("m", "hi", false), 3, true).expect("shown");
        let change = |id: &str, changed: serde_json::Value| {
            json!({"id": "evt_2", "type": "message.updated", "timestamp": "t", "frontend": "web", "conversation_id": "c",
                "interaction_id": null, "sequence": 4, "data": {"message_id": id, "changed": changed}})
            .to_string()
        };
        last.apply(&change("other", json!({"text": "no"})), 4, true);
        last.apply(&change("m", json!({"tags": ["x"]})), 4, true);
        assert_eq!(last.text, "hi");
        last.apply(&change("m", json!({"text": "hello"})), 4, true);
        assert_eq!((last.author.as_str(), last.text.as_str()), ("bot", "hello"));
    }

    #[test]
    fn what_is_kept_from_customers_is_no_last_message_of_theirs() {
        let withheld = created("m", "hi", true);
        assert_eq!(message(&withheld, 3, true), None);
        assert!(message(&withheld, 3, false).is_some());
    }
}
