//! *Absent*: the proof that a reading without a message gives about that message.
//!
//! An empty page, a failed one, a page of a lost cursor and a snapshot that lacks what must be there prove nothing.
//! Invariant: only [`Seen::Absent`] may ever lead to another send.

use std::{fmt::Write as _, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::domain::{
    Timestamp,
    message::Role,
    own_event::{fini_role, same_text},
    vendor::{FiniEvent, FiniKind},
};

/// Fini's clock and ours differ by no more than this.
const CLOCK_MARGIN: Duration = Duration::from_mins(2);

/// The result of a reading for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not there, and the reading would have shown it.
    Absent,
    /// It was there (the ledger has the rest).
    Present,
    /// An event was there that may be it, and nothing tells whose it is.
    Doubtful,
    /// The reading proves nothing.
    Nothing,
}

/// A reading that did not show the message as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// True if every part of it came, down to below the place where the message would stand.
    pub is_whole: bool,
    /// Number of conversations, or of known events of the conversation, that it showed.
    pub shown: u64,
    /// Least number of them that it must show.
    pub expected: u64,
    /// True if it showed the message's text, written since, and nothing tells by whom.
    pub shows_text: bool,
}

impl Reading {
    /// Returns the verdict. The caller, which knows how far Fini's reads lag behind, judges when the reading began.
    pub const fn seen(self) -> Seen {
        if self.shows_text {
            Seen::Doubtful
        } else if self.is_whole && self.shown >= self.expected {
            Seen::Absent
        } else {
            Seen::Nothing
        }
    }
}

/// Returns true if an event may be the message `sent` at `sent_at`, going by text and time alone.
pub fn may_be(text: Option<&str>, created_at: Timestamp, sent: &str, sent_at: Timestamp) -> bool {
    created_at >= sent_at.minus(CLOCK_MARGIN) && same_text(text, sent)
}

/// Returns true if an event may be the message of `role` sent at `sent_at`, whatever became of its text, in a conversation that
/// carries our key for it: nobody else of ours has written there.
pub fn may_be_reworded(event: &FiniEvent, role: Role, text: &str, sent_at: Timestamp) -> bool {
    let is_message = event.kind == FiniKind::Message && event.role == fini_role(role);
    // An equal text needs no time of its own: the clocks may be further apart than they should be.
    is_message && (event.created_at >= sent_at.minus(CLOCK_MARGIN) || same_text(event.text.as_deref(), text))
}

/// Returns the digest that is kept of an erased text: enough to recognise it, white space apart.
pub fn digest(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    Sha256::digest(words.join(" ")).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Does the same as [`may_be`] for a text of which only the digest is left.
pub fn may_be_digest(text: Option<&str>, created_at: Timestamp, sent: &str, sent_at: Timestamp) -> bool {
    created_at >= sent_at.minus(CLOCK_MARGIN) && text.is_some_and(|text| digest(text) == sent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_a_whole_reading_in_which_all_is_accounted_for_proves_absence(
            is_whole: bool, shown in 0_u64..3, expected in 0_u64..3, shows_text: bool,
        ) {
            let seen = Reading { is_whole, shown, expected, shows_text }.seen();
            prop_assert_eq!(seen == Seen::Absent, is_whole && shown >= expected && !shows_text);
            prop_assert_ne!(seen, Seen::Present);
        }
    }

    #[test]
    fn what_fini_may_have_reworded_is_not_proven_absent() {
        use crate::domain::vendor::FiniRole;
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let is = |secs, role, text| {
            may_be_reworded(&FiniEvent::message("e", at(secs), role, text), Role::User, "R&D?", at(1_000))
        };
        assert!(is(1_001, FiniRole::User, "R&amp;D?") && is(900, FiniRole::User, "R&amp;D?"));
        assert!(is(700, FiniRole::User, " R&D?"), "the same text, by a clock that is behind");
        assert!(!is(700, FiniRole::User, "something older"));
        assert!(!is(1_001, FiniRole::Agent, "R&D?") && !is(1_001, FiniRole::Bot, "Hello"));
    }

    #[test]
    fn a_text_counts_from_its_send_on_as_far_as_clocks_agree() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        assert!(may_be(Some("where  is it?"), at(900), "where is it?", at(1_000)));
        assert!(!may_be(Some("where is it?"), at(800), "where is it?", at(1_000)));
        assert!(!may_be(Some("something else"), at(1_001), "where is it?", at(1_000)));
        assert!(!may_be(None, at(1_001), "where is it?", at(1_000)));
        let kept = digest("where is it?");
        assert!(may_be_digest(Some("where  is it? "), at(900), &kept, at(1_000)));
        assert!(!may_be_digest(Some("where is it?"), at(800), &kept, at(1_000)));
        assert!(!may_be_digest(Some("where was it?"), at(1_001), &kept, at(1_000)));
    }
}
