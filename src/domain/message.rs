//! The messages that frontends post.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::ids::{ConversationId, MessageId};

/// The longest text that is accepted, in characters.
pub const MAX_TEXT_CHARS: usize = 16_000;

/// The party on whose behalf a frontend posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The customer: Fini answers.
    User,
    /// A human agent of an in-house desk: mirrored into Fini, no reply is awaited.
    Agent,
    /// An in-house bot: mirrored into Fini, no reply is awaited.
    OtherBot,
}

impl Role {
    /// Returns the name, which is the same in the bridge's API and in Fini's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::OtherBot => "otherbot",
        }
    }

    /// Parses the name of a role.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Agent, Self::OtherBot].into_iter().find(|role| role.as_str() == name)
    }
}

/// A validated message, ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The frontend's conversation.
    pub conversation_id: ConversationId,
    /// The frontend's (or our) message id.
    pub message_id: MessageId,
    /// 1–16,000 characters, not blank.
    pub text: String,
    /// The role it is posted as.
    pub role: Role,
    /// The frontend's user, if given.
    pub user_id: Option<String>,
    /// Attributes of the user, passed to Fini.
    pub attributes: Map<String, Value>,
    /// Fini's channel, if given.
    pub channel: Option<String>,
    /// Further metadata, passed to Fini.
    pub metadata: Map<String, Value>,
}

impl InboundMessage {
    /// Returns a digest of everything but the ids: a repeat with the same digest is the same message.
    ///
    /// JSON objects are hashed with sorted keys, so that a client that reorders keys on a retry is still recognised. Numbers
    /// are hashed as they were written: two parcels' numbers may differ in the twentieth digit alone.
    #[expect(clippy::missing_panics_doc, reason = "a message always has a JSON form")]
    pub fn fingerprint(&self) -> String {
        let content = (&self.text, self.role, &self.user_id, &self.attributes, &self.channel, &self.metadata);
        let content = serde_json::to_vec(&content).expect("a message has only string keys");
        let digest = Sha256::digest(&content);
        digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, attributes: &str) -> InboundMessage {
        InboundMessage {
            conversation_id: ConversationId::trusted("c"),
            message_id: MessageId::trusted("m"),
            text: text.to_owned(),
            role: Role::User,
            user_id: None,
            attributes: match crate::domain::exact::value(attributes.as_bytes()).expect("test JSON") {
                Value::Object(attributes) => attributes,
                other => panic!("no object: {other}"),
            },
            channel: None,
            metadata: Map::new(),
        }
    }

    #[test]
    fn the_fingerprint_ignores_key_order_and_nothing_else() {
        let base = message("hi", r#"{"a":1,"b":2}"#).fingerprint();
        assert_eq!(base, message("hi", r#"{"b":2,"a":1}"#).fingerprint());
        assert_ne!(base, message("hi ", r#"{"a":1,"b":2}"#).fingerprint());
        assert_ne!(base, message("hi", r#"{"a":1,"b":"2"}"#).fingerprint());
        assert_eq!(base.len(), 64);
    }

    #[test]
    fn the_fingerprint_tells_numbers_apart_that_no_machine_number_can() {
        let numbers = ["9400111899223197428490", "9400111899223197428491", "1", "1.0", "1.00", "1e0", "1E0", "1e+0"];
        let mut prints: Vec<_> =
            numbers.map(|number| message("hi", &format!("{{\"n\":{number}}}")).fingerprint()).into();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), numbers.len());
    }

    /// Checks that a repeat after an upgrade is recognised by the fingerprint that an older version stored.
    #[test]
    fn the_fingerprint_stays_as_it_was() {
        let print = message("hi", r#"{"plan":"Pro","n":17}"#).fingerprint();
        let same = serde_json::json!(["hi", "user", null, {"n": 17, "plan": "Pro"}, null, {}]).to_string();
        let digest: [u8; 32] = Sha256::digest(same.as_bytes()).into();
        let read = |at: usize| u8::from_str_radix(&print[2 * at..2 * at + 2], 16).expect("hexadecimal");
        assert_eq!(std::array::from_fn(read), digest);
    }
}
