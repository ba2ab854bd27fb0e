//! The identity of a browser's customer: what its token says, and nothing that the page adds.
//!
//! Fini's actions may look up orders by an attribute. A page runs on the customer's own machine, so an attribute that it could
//! set would be a way to another customer's data.

use serde_json::{Map, Value};

use super::message::{InboundMessage, Role};

/// The claims of a token about its customer.
#[derive(Clone, Copy, Debug)]
pub struct Customer<'a> {
    /// The user (`sub`).
    pub user_id: Option<&'a str>,
    /// The known attributes of the user (`attributes`).
    pub attributes: &'a Map<String, Value>,
    /// The names of attributes that a page may set itself, if the token does not.
    pub free: &'a [String],
}

/// A page said what only its token may say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trespass {
    /// A role other than the customer's.
    #[error("a browser token may only post as the user")]
    Role,
    /// Another user, or any user if the token names none.
    #[error("who the customer is says the browser token alone: leave out user.id, or name the token's own")]
    User,
    /// An attribute that pages may not set.
    #[error(
        "the attribute {0:?} is for the browser token to say: put it into its claim `attributes`, or name it in browser_attributes"
    )]
    Attribute(String),
    /// Metadata goes to Fini as it is, attributes included.
    #[error("a browser token does not allow metadata")]
    Metadata,
}

impl Customer<'_> {
    /// Returns the message with its user, if the page said nothing that only the token may say. The token's attributes are
    /// added once the message is recognised: a repeat under a newer token is the same message.
    pub fn speaks(&self, mut message: InboundMessage) -> Result<InboundMessage, Trespass> {
        if message.role != Role::User {
            return Err(Trespass::Role);
        }
        if message.user_id.is_some() && message.user_id.as_deref() != self.user_id {
            return Err(Trespass::User);
        }
        if !message.metadata.is_empty() {
            return Err(Trespass::Metadata);
        }
        let may_say = |name: &String, value: &Value| match self.attributes.get(name) {
            Some(said) => said == value,
            None => self.free.contains(name),
        };
        if let Some((name, _)) = message.attributes.iter().find(|(name, value)| !may_say(name, value)) {
            return Err(Trespass::Attribute(name.chars().take(60).collect()));
        }
        message.user_id = self.user_id.map(str::to_owned);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ids::{ConversationId, MessageId};

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("no object: {other}"),
        }
    }

    fn spoken(user_id: Option<&str>, attributes: Value, metadata: Value) -> Result<(Option<String>, Value), Trespass> {
        let known = object(json!({"email": "own@example.com", "plan": "Pro"}));
        let free = ["page".to_owned(), "plan".to_owned()];
        let customer = Customer { user_id: Some("u-9"), attributes: &known, free: &free };
        let message = InboundMessage {
            conversation_id: ConversationId::trusted("c"),
            message_id: MessageId::trusted("m"),
            text: "hi".to_owned(),
            role: Role::User,
            user_id: user_id.map(str::to_owned),
            attributes: object(attributes),
            channel: None,
            metadata: object(metadata),
        };
        customer.speaks(message).map(|message| (message.user_id, Value::Object(message.attributes)))
    }

    #[test]
    fn the_token_says_who_speaks() {
        for (user_id, said) in
            [(None, json!({})), (Some("u-9"), json!({"plan": "Pro"})), (None, json!({"page": "/cart"}))]
        {
            assert_eq!(spoken(user_id, said.clone(), json!({})), Ok((Some("u-9".to_owned()), said)));
        }
    }

    #[test]
    fn the_page_says_nothing_besides() {
        assert_eq!(spoken(Some("victim"), json!({}), json!({})), Err(Trespass::User));
        for (name, value) in
            [("email", "victim@example.com"), ("plan", "Enterprise"), ("user_id", "victim"), ("x", "y")]
        {
            let refused = spoken(None, json!({name: value}), json!({}));
            assert_eq!(refused, Err(Trespass::Attribute(name.to_owned())));
        }
        assert_eq!(spoken(None, json!({}), json!({"user_attributes": {"email": "v"}})), Err(Trespass::Metadata));
    }

    #[test]
    fn an_anonymous_token_names_nobody() {
        let (none, nobody) = (Map::new(), Customer { user_id: None, attributes: &Map::new(), free: &[] });
        let message = |user_id: Option<&str>| InboundMessage {
            conversation_id: ConversationId::trusted("c"),
            message_id: MessageId::trusted("m"),
            text: "hi".to_owned(),
            role: Role::User,
            user_id: user_id.map(str::to_owned),
            attributes: none.clone(),
            channel: None,
            metadata: none.clone(),
        };
        assert_eq!(nobody.speaks(message(Some("u-9"))), Err(Trespass::User));
        assert_eq!(nobody.speaks(InboundMessage { role: Role::Agent, ..message(None) }), Err(Trespass::Role));
        assert!(nobody.speaks(message(None)).is_ok());
    }
}
