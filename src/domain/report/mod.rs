//! The report: sums of what happened, by a pure fold over the feed's events.
//!
//! Sums are kept per frontend and quarter of an hour ([`Slot`]): the borders of hours and days lie between two slots in
//! every time zone, those with half or three quarters of an hour included. Sums of slots add up, histograms too, so that
//! a median over a year needs nothing else, long after the events themselves were pruned.
//!
//! Invariants: the event's own time stamp counts, as everybody reads it; nothing of a text is kept; an event is folded once,
//! in the order of its conversation's feed.

mod histogram;
mod periods;

use serde::Deserialize;

use super::Timestamp;
pub use histogram::Histogram;
pub use periods::{Period, Step, periods};

/// Milliseconds of a slot.
const SLOT: i64 = 15 * 60 * 1000;

/// A quarter of an hour, in which sums are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(i64);

impl Slot {
    /// Returns the slot of this time.
    pub const fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(SLOT))
    }

    /// Returns the slot with this number, counted from the epoch.
    pub const fn numbered(number: i64) -> Self {
        Self(number)
    }

    /// Returns its number, counted from the epoch.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Returns its first millisecond.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(SLOT))
    }

    /// Returns the slot after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the slot before it.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0 - 1)
    }
}

/// The sums of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages of customers.
    pub messages: u64,
    /// Turns that ended with an answer.
    pub answered: u64,
    /// Conversations that were handed to a human, each time.
    pub escalated: u64,
    /// Resolutions.
    pub resolved: u64,
    /// Turns that failed.
    pub failed: u64,
    /// Callbacks that were given up.
    pub dead_letters: u64,
    /// Requests to Fini that were taken out of the budget; of all frontends together.
    pub requests: u64,
    /// Waits of customers for the first answer in their conversation, counted when it came.
    pub first_answers: Histogram,
    /// Waits of customers for the human they were promised, counted when one came.
    pub humans: Histogram,
}

impl Sums {
    /// Adds the sums of another time or frontend.
    pub fn add(&mut self, other: &Self) {
        let own = [
            (&mut self.messages, other.messages),
            (&mut self.answered, other.answered),
            (&mut self.escalated, other.escalated),
            (&mut self.resolved, other.resolved),
            (&mut self.failed, other.failed),
            (&mut self.dead_letters, other.dead_letters),
            (&mut self.requests, other.requests),
        ];
        for (sum, more) in own {
            *sum = sum.saturating_add(more);
        }
        self.first_answers.add(&other.first_answers);
        self.humans.add(&other.humans);
    }
}

/// The measured waits of a conversation's customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Time of the customer's first message, while it is unanswered.
    pub asked_at: Option<Timestamp>,
    /// True once anybody answered.
    pub is_answered: bool,
    /// Time of the request for a human, while none has come.
    pub human_asked_at: Option<Timestamp>,
}

impl Waits {
    /// A conversation in which nothing is measured any more; also one whose beginning is unknown.
    pub const SETTLED: Self = Self { asked_at: None, is_answered: true, human_asked_at: None };
}

/// An event as the fold reads it from its body.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    message: Message,
    withheld: bool,
    outcome: String,
    resolved: bool,
    then: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    author: String,
}

/// The types of events that the fold looks at; all others change nothing.
pub const COUNTED: [&str; 9] = [
    "message.created",
    "turn.completed",
    "turn.failed",
    "conversation.escalated",
    "conversation.resolved",
    "handoff.requested",
    "handoff.claimed",
    "handoff.unclaimed",
    "handoff.returned",
];

/// Folds the next event of a conversation, by its body, into the sums. Returns the slot and what is to be added to it;
/// `None` for a body that is no event.
pub fn fold(body: &str, waits: &mut Waits) -> Option<(Slot, Sums)> {
    let event: Event = serde_json::from_str(body).ok()?;
    let at = event.timestamp.parse::<jiff::Timestamp>().ok()?;
    let at = Timestamp::from_millis(at.as_millisecond());
    let mut sums = Sums::default();
    match event.kind.as_str() {
        "message.created" if event.data.message.author == "user" => {
            sums.messages = 1;
            if !waits.is_answered {
                waits.asked_at.get_or_insert(at);
            }
        }
        // Messages of other automations are no answers, nor are withheld ones.
        "message.created" if matches!(&*event.data.message.author, "bot" | "agent") && !event.data.withheld => {
            if !waits.is_answered
                && let Some(asked_at) = waits.asked_at.take()
            {
                sums.first_answers.count(at.since(asked_at));
                waits.is_answered = true;
            }
            if event.data.message.author == "agent" {
                waits.meet_human(at, &mut sums);
            }
        }
        "turn.completed" => sums.answered = u64::from(event.data.outcome == "answered"),
        "turn.failed" => sums.failed = 1,
        "conversation.escalated" => sums.escalated = 1,
        "conversation.resolved" => sums.resolved = u64::from(event.data.resolved),
        "handoff.requested" => {
            waits.human_asked_at.get_or_insert(at);
        }
        "handoff.claimed" => waits.meet_human(at, &mut sums),
        "handoff.returned" => waits.human_asked_at = None,
        "handoff.unclaimed" if event.data.then == "bot" => waits.human_asked_at = None,
        _ => {}
    }
    Some((Slot::of(at), sums))
}

impl Waits {
    fn meet_human(&mut self, at: Timestamp, sums: &mut Sums) {
        if let Some(asked_at) = self.human_asked_at.take() {
            sums.humans.count(at.since(asked_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(kind: &str, second: i64, data: &Value) -> String {
        let at = Timestamp::from_millis(1_767_225_600_000 + second * 1000).to_string();
        json!({"id": "evt_1", "type": kind, "timestamp": at, "conversation_id": "c", "data": data}).to_string()
    }

    fn said(author: &str, second: i64) -> String {
        told("message.created", second, &json!({"message": {"author": author, "text": "…"}, "in_reply_to": null}))
    }

    fn sum(bodies: &[String]) -> Sums {
        let (mut waits, mut all) = (Waits::default(), Sums::default());
        for body in bodies {
            all.add(&fold(body, &mut waits).expect("an event").1);
        }
        all
    }

    fn waited(seconds: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for seconds in seconds {
            histogram.count(std::time::Duration::from_secs(*seconds));
        }
        histogram
    }

    #[test]
    fn the_first_answer_is_measured_once_from_the_first_question() {
        let answered = |second| told("turn.completed", second, &json!({"outcome": "answered", "replies": 1}));
        let withheld = json!({"message": {"author": "bot"}, "withheld": true});
        let sums = sum(&[
            said("otherbot", 0),
            said("user", 10),
            said("user", 12),
            told("message.created", 13, &withheld),
            said("otherbot", 14),
            said("bot", 40),
            answered(40),
            said("user", 100),
            said("bot", 101),
            answered(101),
        ]);
        let wanted = Sums { messages: 3, answered: 2, first_answers: waited(&[30]), ..Sums::default() };
        assert_eq!(sums, wanted);
    }

    #[test]
    fn the_way_to_a_human_ends_with_a_claim_or_with_a_word_and_not_with_the_bot_s_return() {
        let nothing = || json!({});
        let sums = sum(&[
            said("user", 0),
            told("conversation.escalated", 1, &json!({"reason": "requested", "status_text": null})),
            told("handoff.requested", 1, &nothing()),
            told("handoff.claimed", 61, &json!({"agent": {"id": "a"}})),
            told("handoff.returned", 70, &json!({"by": "desk"})),
            told("handoff.requested", 100, &nothing()),
            said("agent", 400),
            told("handoff.returned", 401, &json!({"by": "desk"})),
            told("handoff.requested", 500, &nothing()),
            told("handoff.unclaimed", 1100, &json!({"waited_seconds": 600, "then": "bot", "text": null})),
            told("handoff.claimed", 9000, &json!({"agent": {"id": "a"}})),
            told("conversation.resolved", 9001, &json!({"resolved": true})),
            told("conversation.resolved", 9002, &json!({"resolved": false})),
            told("turn.failed", 9003, &json!({"code": "rejected"})),
        ]);
        let wanted = Sums {
            messages: 1,
            escalated: 1,
            resolved: 1,
            failed: 1,
            first_answers: waited(&[400]),
            humans: waited(&[60, 300]),
            ..Sums::default()
        };
        assert_eq!(sums, wanted);
    }

    #[test]
    fn a_conversation_whose_beginning_is_not_known_has_no_first_answer() {
        let mut waits = Waits::SETTLED;
        for body in [said("user", 0), said("bot", 5)] {
            let (_, sums) = fold(&body, &mut waits).expect("an event");
            assert_eq!(sums.first_answers, Histogram::default());
        }
        assert_eq!(waits, Waits::SETTLED);
    }
}
