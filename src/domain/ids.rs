//! Ids. Each kind is its own type, so that a Fini id can never be passed where a frontend's own id is meant.

use std::{fmt, sync::Arc};

use super::evidence::absent::digest;
use sha2::{Digest as _, Sha256};

/// A text id was not accepted; says its expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct InvalidId {
    /// The expected form, as the caller reads it.
    pub expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a value that was checked before (read back from the store, or made by us).
            pub fn trusted(value: impl Into<Arc<str>>) -> Self {
                Self(value.into())
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_id!(
    /// The configured name of a frontend (`[[frontends]] name`).
    FrontendName
);
text_id!(
    /// The frontend's own id of a conversation; unique within the frontend.
    ConversationId
);
text_id!(
    /// The frontend's own id of a message; unique within the conversation, and the key of idempotency.
    MessageId
);
text_id!(
    /// The frontend's own id of a user, where it stands in a path.
    UserId
);
text_id!(
    /// Fini's id of a conversation ("interaction").
    InteractionId
);
text_id!(
    /// Fini's id of an event inside a conversation.
    FiniEventId
);
text_id!(
    /// The bridge's id of a feed event (`evt_…`); also the `webhook-id` of its callback.
    EventId
);
text_id!(
    /// The bridge's id of a replay (`rpl_…`): deliveries of a range, sent again.
    ReplayId
);
text_id!(
    /// The bridge's id of a delivery (`dlv_…`): one event owed to one frontend.
    DeliveryId
);

impl ConversationId {
    /// Accepts 1–200 characters of `A-Z a-z 0-9 . _ ~ : @ + = -`, but for `.` and `..`, which clients fold away in a path.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._~:@+=-".contains(&b);
        let is_folded = matches!(value, "." | "..");
        if (1..=200).contains(&value.len()) && value.bytes().all(legal) && !is_folded {
            Ok(Self(value.into()))
        } else {
            Err(InvalidId { expected: "1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ + = -, and neither . nor .." })
        }
    }
}

impl ConversationId {
    /// Returns the hash kept of an erased conversation's id: whoever knows the id recognises it, nobody else learns it.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self(format!("sha256:{}", digest(&self.0)).into())
    }
}

impl MessageId {
    /// Accepts 1–200 visible ASCII characters.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        if (1..=200).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(value.into()))
        } else {
            Err(InvalidId { expected: "1 to 200 visible ASCII characters" })
        }
    }
}

/// The space of message ids: pages have one of their own, so that a page can neither guess the server's ids nor collide with
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdSpace {
    /// Ids of the frontend's server.
    Server,
    /// Ids of browsers.
    Browser,
}

/// Prefix of a browser's id where it is stored: no id that is accepted holds a blank.
const OF_BROWSER: &str = "browser ";

impl MessageId {
    /// Returns the id as it is stored.
    pub fn stored(&self, space: IdSpace) -> String {
        match space {
            IdSpace::Server => self.0.to_string(),
            IdSpace::Browser => format!("{OF_BROWSER}{self}"),
        }
    }

    /// Parses the stored form of an id.
    pub fn from_stored(stored: &str) -> Self {
        Self(stored.strip_prefix(OF_BROWSER).unwrap_or(stored).into())
    }
}

impl UserId {
    /// Accepts 1–200 characters other than U+0000, but for `.` and `..`, which clients fold away in a path.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        let is_folded = matches!(value, "." | "..");
        if (1..=200).contains(&value.chars().count()) && !value.contains('\0') && !is_folded {
            Ok(Self(value.into()))
        } else {
            Err(InvalidId { expected: "1 to 200 characters other than U+0000, and neither . nor .." })
        }
    }
}

/// The store's own number of a conversation: short, never shown, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationKey(pub i64);

impl ConversationKey {
    /// Returns the number under which a conversation is followed before it has begun: none that a store gives, and the same
    /// in every process. Two names that share one wake each other for nothing.
    pub fn unborn(frontend: &FrontendName, id: &ConversationId) -> Self {
        Self::named(&format!("{frontend}/{id}"))
    }

    /// Returns the number under which a frontend's log is followed: the feed of all its conversations together.
    pub fn log(frontend: &FrontendName) -> Self {
        Self::named(frontend.as_str())
    }

    /// Returns true if a store gave it to a conversation.
    pub const fn is_conversation(self) -> bool {
        self.0 > 0
    }

    fn named(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let positive = digest.iter().take(8).fold(0_i64, |number, byte| number << 8 | i64::from(*byte)) & i64::MAX;
        Self(-1 - positive)
    }
}

/// The store's own number of a turn; ascending in the order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnKey(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversation_ids_take_exactly_the_documented_characters() {
        for good in ["a", "...", ".a", "web-8121", "A.b_c~d:e@f+g=h-9", &"x".repeat(200)] {
            assert!(ConversationId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a%20", "é", "a\n", &"x".repeat(201)] {
            assert!(ConversationId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_browsers_message_id_is_no_id_of_a_server() {
        let id = MessageId::parse("m-17").expect("valid");
        let stored = [IdSpace::Server, IdSpace::Browser].map(|space| id.stored(space));
        assert_ne!(stored[0], stored[1]);
        assert!(stored.iter().all(|stored| MessageId::from_stored(stored) == id));
        assert!(MessageId::parse(&stored[1]).is_err(), "nobody can write it");
    }

    #[test]
    fn message_ids_take_visible_ascii() {
        assert!(MessageId::parse("m-17/{}\"~").is_ok());
        for bad in ["", " ", "a b", "\u{7f}", "ü", &"x".repeat(201)] {
            assert!(MessageId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
