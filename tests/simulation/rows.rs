//! The vendor's characters: each row is a question that its documentation leaves open, each answer one way to be.

use fastrand::Rng;
use fini_bridge::sandbox::{AttributeMode, ListKey, ListOrder, ResolveMode, Settings, SinceReading};

use crate::plan::Scope;

/// One answer to one question.
#[derive(Clone, Copy)]
pub struct Answer {
    pub row: &'static str,
    pub name: &'static str,
    pub set: fn(&mut Settings),
    /// Whether the bridge is right under it.
    known: bool,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.row, self.name)
    }
}

const fn right(row: &'static str, name: &'static str, set: fn(&mut Settings)) -> Answer {
    Answer { row, name, set, known: true }
}

const fn open(row: &'static str, name: &'static str, set: fn(&mut Settings)) -> Answer {
    Answer { row, name, set, known: false }
}

/// Every answer but the usual ones.
pub const ANSWERS: &[Answer] = &[
    open("create or resolve", "newest of the bot", |s| s.resolve_mode = ResolveMode::NewestOfBot),
    open("create or resolve", "same person", |s| {
        s.resolve_mode = ResolveMode::SameAttribute;
        s.resolve_attribute = "email".into();
    }),
    right("attributes", "first message only", |s| s.user_attributes = AttributeMode::FirstOnly),
    right("attributes", "latest message only", |s| s.user_attributes = AttributeMode::Replace),
    open("attributes", "never", |s| s.user_attributes = AttributeMode::Ignore),
    right("list lag", "2 s", |s| s.list_lag_ms = 2_000),
    right("list lag", "8 s", |s| s.list_lag_ms = 8_000),
    right("since", "creation", |s| s.since_reading = SinceReading::Created),
    right("list order", "any event", |s| s.list_order = ListOrder::AnyEvent),
    right("list key", "conversations", |s| s.list_key = ListKey::Conversations),
    right("list touches", "all", |s| s.list_untouched = true),
    right("unknown id", "404", |s| s.unknown_id_status = 404),
    right("reply", "at once", |s| s.reply_latency_ms = 0),
    right("reply", "slow", |s| s.reply_latency_ms = 15_000),
    right("clock", "2 s ahead", |s| s.clock_offset_ms = 2_000),
    right("clock", "2 s behind", |s| s.clock_offset_ms = -2_000),
    right("status", "none", |s| s.open_status = None),
];

/// Draws answers, at most one of each row.
pub fn draw(dice: &mut Rng, scope: Scope) -> Vec<Answer> {
    let mut rows: Vec<&str> = ANSWERS.iter().map(|answer| answer.row).collect();
    rows.dedup();
    let mut drawn = Vec::new();
    for row in rows {
        let all: Vec<_> = ANSWERS.iter().filter(|answer| answer.row == row).collect();
        // The usual answer is one of them.
        let number = dice.usize(..=all.len());
        if let Some(answer) = all.get(number).filter(|answer| answer.known || scope == Scope::All) {
            drawn.push(**answer);
        }
    }
    drawn
}
