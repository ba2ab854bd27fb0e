//! What happened in a world, for whoever looks for the reason of a violation.

use std::fmt::Write as _;

use super::Evidence;
use crate::time::BEGINNING;

/// Each conversation: its messages, what stands at Fini, its feed. Times are milliseconds since the world began.
pub fn tell(evidence: &Evidence) -> String {
    let mut story = String::new();
    for (talk, feed) in &evidence.feeds {
        let view = evidence.shown.get(talk).cloned().unwrap_or_default();
        let _ = writeln!(story, "{} is {} at {}", talk.id(), view["state"], view["interaction_id"]);
        for posted in evidence.posted.iter().filter(|posted| posted.talk == *talk) {
            let _ = writeln!(story, "  accepted {:?} {}", posted.accepted_at, posted.id);
        }
        for (home, stored) in evidence.stored(*talk) {
            let id = stored.user_attributes.get("sim_message");
            let _ = writeln!(story, "  at Fini {:>8} {id:?} in {home} as {}", stored.at - BEGINNING, stored.event_id);
        }
        for event in feed {
            let at = event["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let at = at.map_or(0, |at| at.as_millisecond() - BEGINNING);
            let _ = writeln!(story, "  told {at:>8} {} {} {}", event["sequence"], event["type"], event["data"]);
        }
    }
    for conversation in evidence.conversations.values() {
        let (status, resolved) = (&conversation.status, conversation.resolved);
        let _ = writeln!(story, "at Fini {}: status {status:?}, resolved {resolved:?}", conversation.id);
        for event in &conversation.events {
            let (at, text) = (event.created_at - BEGINNING, event.message.as_deref().unwrap_or_default());
            let text: String = text.chars().take(100).collect();
            let _ = writeln!(story, "  {at:>8} {} {} {} {text:?}", event.id, event.role, event.kind);
        }
    }
    story
}
