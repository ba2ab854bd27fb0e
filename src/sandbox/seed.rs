//! Fills the sandbox with conversations at once, for load tests and for exports.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::script::{self, Draft};
use super::world::World;
use super::{Sandbox, SandboxError};

/// The most events one call may make.
const MOST: u64 = 5_000_000;

const QUESTIONS: [&str; 5] =
    ["Where is my order?", "How long does shipping take?", "How do refunds work?", "How do I cancel my plan?", "Hello"];

/// The conversations to make.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    /// Number of conversations.
    pub conversations: u32,
    /// Events in each, the customer's and the bot's by turns, one second apart.
    pub events_each: u32,
    /// Time at which the first began, epoch milliseconds; by default six days before `to_ms`, which List shows by default.
    pub from_ms: Option<i64>,
    /// Time at which the last began, epoch milliseconds; by default such that its last event is of now.
    pub to_ms: Option<i64>,
    /// Their `source`.
    pub source: String,
    /// Their `channel`.
    pub channel: Option<String>,
    /// Their bot; by default the sandbox's first.
    pub bot_id: Option<String>,
    /// Their status; by default that of an open conversation.
    pub status: Option<String>,
    /// The first text of each customer, in place of a question.
    pub text: Option<String>,
    /// User attributes of each; `seed` is added and counts from 0.
    pub user_attributes: Map<String, Value>,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            conversations: 100,
            events_each: 2,
            from_ms: None,
            to_ms: None,
            source: "widget".into(),
            channel: Some("chat".into()),
            bot_id: None,
            status: None,
            text: None,
            user_attributes: Map::new(),
        }
    }
}

/// The conversations that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seeded {
    /// Conversations.
    pub conversations: u32,
    /// Events.
    pub events: u64,
    /// The id of the oldest one.
    pub first_id: Option<String>,
    /// The id of the newest one.
    pub last_id: Option<String>,
}

impl Sandbox {
    /// Makes conversations spread evenly over a time. List shows them after its usual lag.
    pub fn seed(&self, seed: &Seed) -> Result<Seeded, SandboxError> {
        self.world().seed(seed)
    }
}

impl World {
    fn seed(&mut self, seed: &Seed) -> Result<Seeded, SandboxError> {
        let length = i64::from(seed.events_each.saturating_sub(1)) * 1_000;
        let to = seed.to_ms.unwrap_or_else(|| self.now().saturating_sub(length));
        let from = seed.from_ms.unwrap_or(to.saturating_sub(6 * 24 * 60 * 60 * 1_000));
        if from > to || to.checked_sub(from).is_none() {
            return Err(SandboxError::Invalid("from_ms is not after to_ms".into()));
        }
        let events = u64::from(seed.conversations) * u64::from(seed.events_each);
        if events > MOST || u64::from(seed.conversations) > MOST {
            return Err(SandboxError::Invalid(format!("at most {MOST} events at once")));
        }
        let bot_id =
            seed.bot_id.clone().or_else(|| self.bots.first().map(|(bot, _)| bot.id.clone())).unwrap_or_default();
        let now = self.now();
        let mut seeded = Seeded { conversations: seed.conversations, events, first_id: None, last_id: None };
        let gaps = i128::from(seed.conversations.saturating_sub(1).max(1));
        for n in 0..seed.conversations {
            // The last one is at the end, also when it is the only one.
            let back = i128::from(to - from) * i128::from(seed.conversations - 1 - n) / gaps;
            let created_at = to.saturating_sub(i64::try_from(back).unwrap_or(i64::MAX));
            let mut conversation = self.blank(bot_id.clone(), &seed.source, created_at);
            conversation.channel.clone_from(&seed.channel);
            if seed.status.is_some() {
                conversation.status.clone_from(&seed.status);
            }
            conversation.user_attributes.clone_from(&seed.user_attributes);
            conversation.user_attributes.insert("seed".into(), n.into());
            conversation.given_attributes.clone_from(&conversation.user_attributes);
            conversation.touched = true;
            for (turn, at) in (0..seed.events_each).zip((created_at..).step_by(1_000)) {
                let draft = match &seed.text {
                    Some(text) if turn == 0 => Draft::text("user", "message", text.clone()),
                    _ => Self::line(n, turn),
                };
                conversation.events.push(Arc::new(self.event(draft, at)));
                conversation.latest_at = at;
            }
            let id = Some(conversation.id.to_string());
            seeded.first_id = seeded.first_id.or_else(|| id.clone());
            seeded.last_id = id;
            self.write(conversation, now);
        }
        Ok(seeded)
    }

    fn line(conversation: u32, turn: u32) -> Draft {
        let question = QUESTIONS[(conversation.wrapping_add(turn / 2) % 5) as usize];
        if turn.is_multiple_of(2) {
            return Draft::text("user", "message", format!("{question} ({conversation}/{turn})"));
        }
        let mut drafts = script::plan(question).drafts;
        if drafts.is_empty() { Draft::text("finibot", "message", "") } else { drafts.swap_remove(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SandboxConfig;
    use super::*;

    #[test]
    fn seeds_spread_over_the_time_given() {
        let sandbox = Sandbox::new(SandboxConfig::instant());
        let seed = Seed { conversations: 3, events_each: 4, from_ms: Some(0), to_ms: Some(1_000), ..Seed::default() };
        let seeded = sandbox.seed(&seed).unwrap();
        assert_eq!((seeded.conversations, seeded.events), (3, 12));
        let mut begun: Vec<i64> = sandbox.conversations(9).iter().map(|conversation| conversation.created_at).collect();
        begun.sort_unstable();
        assert_eq!(begun, [0, 500, 1_000]);
        let last = sandbox.conversation("seed:2").unwrap();
        assert_eq!(
            last.events.iter().map(|event| event.role.as_ref()).collect::<Vec<_>>(),
            ["user", "finibot", "user", "finibot"]
        );
        assert_eq!(last.latest_at, 4_000);
        assert_eq!(seeded.last_id, Some(last.id.to_string()));
    }

    #[test]
    fn impossible_seeds_are_refused() {
        let sandbox = Sandbox::new(SandboxConfig::instant());
        assert!(sandbox.seed(&Seed { from_ms: Some(2), to_ms: Some(1), ..Seed::default() }).is_err());
        assert!(sandbox.seed(&Seed { conversations: u32::MAX, ..Seed::default() }).is_err());
        let none = sandbox.seed(&Seed { conversations: 0, ..Seed::default() }).unwrap();
        assert_eq!(none.first_id, None);
    }
}
