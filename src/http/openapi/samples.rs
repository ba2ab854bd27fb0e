//! One event of each type, as the bridge itself renders it: the examples of the document.

use serde_json::{Map, Value, json};

use crate::domain::{
    WallTime,
    content::Changed,
    conversation::State,
    event::{Author, Customer, Envelope, EscalationReason, FeedEvent, Message, Origin, Requested, TextFormat},
    handoff::{Agent, Place, ReturnedBy},
    ids::{ConversationId, EventId, FrontendName, InteractionId, MessageId},
    shown::to_browser,
    turn::{FailureCode, Outcome},
    vendor::{Article, Feedback},
};

/// The examples of a type.
pub(super) fn of(kind: &str) -> Vec<Value> {
    all().into_iter().filter(|event| event["type"] == kind).collect()
}

/// An event of each type of the feed, numbered in their order.
pub(super) fn all() -> Vec<Value> {
    let mut bodies: Vec<String> = events().iter().zip(1..).map(|(event, sequence)| render(event, sequence)).collect();
    // The last one is not for browsers; this is their part of it.
    let last = bodies.len();
    let hidden = bodies
        .last()
        .map(|body| to_browser("fini.unrecognized", body, last.try_into().unwrap_or(i64::MAX)).body.into_owned());
    bodies.extend(hidden);
    bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect()
}

fn render(event: &FeedEvent, sequence: i64) -> String {
    Envelope {
        id: &EventId::trusted(format!("evt_01jd6y5q3v8w{sequence:02}")),
        timestamp: WallTime::from_millis(1_795_237_200_123 + sequence),
        frontend: &FrontendName::trusted("web"),
        conversation_id: &ConversationId::trusted("web-8121"),
        interaction_id: Some(&InteractionId::trusted("0b86c1f2-93a5-4c57-8a0e-5d6a3c1f7e21")),
        sequence,
    }
    .render(event)
}

fn events() -> Vec<FeedEvent> {
    let event_id = || "1f0c5b52-7a0e-4a4c-9a54-6f4f0f6f2f10".to_owned();
    let message_id = || MessageId::trusted("m-17");
    let agent = || Agent { id: "ada".to_owned(), name: "Ada".to_owned(), avatar_url: None };
    let article = || Article {
        id: "a-1".to_owned(),
        title: "Track your order".to_owned(),
        url: Some("https://help.example.com/track".to_owned()),
    };
    let attributes = Map::from_iter([("plan".to_owned(), json!("Pro"))]);
    vec![
        FeedEvent::MessageCreated {
            message: Message {
                id: event_id(),
                author: Author::Bot,
                text: "It is **on its way**.".to_owned(),
                format: TextFormat::Markdown,
                created_at: WallTime::from_millis(1_795_237_200_100).point(),
                articles: vec![article()],
                attachments: Vec::new(),
                tags: vec![json!("shipping")],
            },
            origin: Origin::Fini,
            in_reply_to: Some(message_id()),
            withheld: false,
        },
        FeedEvent::MessageUpdated {
            message_id: event_id(),
            changed: Changed { tags: Some(vec![json!("shipping"), json!("late")]), ..Changed::default() },
        },
        FeedEvent::TurnCompleted { message_id: message_id(), outcome: Outcome::Answered, replies: 1 },
        FeedEvent::TurnFailed {
            message_id: MessageId::trusted("m-18"),
            code: FailureCode::FiniUnavailable,
            detail: "Fini could not be reached".to_owned(),
            may_resend: true,
        },
        FeedEvent::Escalated { reason: EscalationReason::Requested, status_text: None },
        FeedEvent::HandoffRequested(Box::new(Requested {
            reason: EscalationReason::Requested,
            note: Some("asks about a refund".to_owned()),
            user: Customer { id: Some("u-9".to_owned()), attributes },
            tags: vec![json!("shipping")],
            desk_open: Some(true),
            next_open: None,
        })),
        FeedEvent::HandoffPosition(Place { position: 2, expected_wait_seconds: Some(120) }),
        FeedEvent::HandoffWaiting { waiting_seconds: 60 },
        FeedEvent::HandoffClaimed { agent: agent() },
        FeedEvent::HandoffAgentJoined {
            agent: Agent {
                id: "bo".to_owned(),
                name: "Bo".to_owned(),
                avatar_url: Some("https://desk.example.com/bo.png".to_owned()),
            },
        },
        FeedEvent::HandoffAgentLeft { agent: agent() },
        FeedEvent::HandoffReturned { by: ReturnedBy::Desk },
        FeedEvent::HandoffUnclaimed {
            waited_seconds: 600,
            then: "ask",
            text: Some("Leave us your address, and we write to you.".to_owned()),
        },
        FeedEvent::StatusChanged {
            state: State::Escalated,
            previous_state: State::Open,
            status_text: Some("Escalated to Human Agent".to_owned()),
            awaiting_customer: false,
        },
        FeedEvent::Resolved { resolved: true },
        FeedEvent::Continued { by: ConversationId::trusted("web-9004") },
        FeedEvent::FormPresented {
            event_id: event_id(),
            text: Some("Which order is it?".to_owned()),
            raw: json!({"id": event_id(), "type": "widget_form", "message": "Which order is it?"}),
            withheld: false,
        },
        FeedEvent::FeedbackUpdated {
            event_id: event_id(),
            rating: Feedback { csat_rating: Some(5.into()), feedback: None, approved: Some(true) },
        },
        FeedEvent::Unrecognized {
            event_id: event_id(),
            role: "agent".to_owned(),
            kind: "voice_note".to_owned(),
            raw: json!({"id": event_id(), "role": "agent", "type": "voice_note"}),
        },
    ]
}
