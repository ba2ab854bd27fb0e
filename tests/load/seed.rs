//! Fills a bridge's database before it starts, through the bridge's own store: conversations with callbacks owed.
//!
//! So a backlog of any shape costs neither the simulated vendor's time nor the sender's, and what is measured afterwards is
//! delivery alone.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use fini_bridge::{
    domain::{
        Timestamp, WallClock as _,
        correlation::Correlation,
        ids::{ConversationId, FiniEventId, FrontendName, InteractionId, MessageId},
        message::{InboundMessage, Role},
        vendor::{Feedback, FiniConversation, FiniEvent, FiniKind, FiniRole},
    },
    store::{
        BacklogLimits, BudgetTerms, ClaimTurns, IntakeStore as _, Lease, LedgerStore as _, NewMessage, Owner, Record,
        Source, SqliteStore, Store as _, Token, TurnStore as _,
    },
    system::SystemClock,
};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::machine::rules;

/// What is owed.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// The frontends; lanes are spread over them evenly.
    pub frontends: Vec<String>,
    /// Conversations in all.
    pub lanes: usize,
    /// Callbacks owed in each: bot messages.
    pub each: usize,
}

/// A typical reply, as long as one.
pub const REPLY: &str = "Your order left our warehouse this morning and should reach you within two working days. You can follow \
                         it with the link in the confirmation we sent you. Is there anything else I can do for you?";

/// Writes the backlog into the database at `path`, which the bridge then opens.
pub async fn fill(path: &Path, backlog: &Backlog) -> Result<()> {
    let wanted =
        backlog.frontends.iter().map(|name| (FrontendName::trusted(name.as_str()), vec!["message.created".to_owned()]));
    let store = Arc::new(SqliteStore::open(path, rules(wanted.collect())).await?);
    let mut left = backlog.lanes;
    while left > 0 {
        let now = SystemClock.now().point();
        let batch = left.min(500);
        let mut posts = JoinSet::new();
        for lane in left - batch..left {
            let (store, frontend) = (Arc::clone(&store), backlog.frontends[lane % backlog.frontends.len()].clone());
            posts.spawn(async move { store.accept(message(&frontend, lane, now)).await });
        }
        while let Some(posted) = posts.join_next().await {
            posted??;
        }
        let claimed = store
            .claim_turns(ClaimTurns {
                token: Token("seed".into()),
                lease: Lease { owner: Owner("seed".into()), now, until: now.plus(Duration::from_mins(1)) },
                max: batch,
                frontends: backlog.frontends.iter().map(|name| FrontendName::trusted(name.as_str())).collect(),
                join_window: Duration::ZERO,
                budget: BudgetTerms {
                    limit: u32::MAX,
                    window: Duration::from_millis(1),
                    share: u32::MAX,
                    ..BudgetTerms::default()
                },
            })
            .await?;
        ensure!(!claimed.turns.is_empty(), "nothing could be claimed");
        let mut records = JoinSet::new();
        left -= claimed.turns.len();
        for turn in claimed.turns {
            let (store, each) = (Arc::clone(&store), backlog.each);
            records.spawn(async move {
                let events = events(turn.key.0, &turn.text, each, now);
                let source = Source::Response { turn: turn.key, token: turn.token, look_at: now };
                let recorded = store
                    .record(Record { conversation: turn.conversation.key, source, events: events.clone(), now })
                    .await?;
                ensure!(recorded.counted, "a seeded reply did not count");
                let interaction = InteractionId::trusted(format!("seeded-{}", turn.key.0));
                let snapshot = FiniConversation {
                    id: interaction,
                    created_at: now,
                    status: None,
                    resolved: None,
                    attributes: serde_json::Map::new(),
                    events,
                };
                store.bind(turn.conversation.key, &snapshot, now).await?;
                anyhow::Ok(())
            });
        }
        while let Some(recorded) = records.join_next().await {
            recorded??;
        }
    }
    store.close().await;
    Ok(())
}

fn message(frontend: &str, lane: usize, now: Timestamp) -> NewMessage {
    let message = InboundMessage {
        conversation_id: ConversationId::trusted(format!("seeded-{lane}")),
        message_id: MessageId::trusted("m-1"),
        text: format!("Where is my order {lane}?"),
        role: Role::User,
        user_id: None,
        attributes: Map::new(),
        channel: None,
        metadata: Map::new(),
    };
    NewMessage {
        frontend: FrontendName::trusted(frontend),
        fingerprint: message.fingerprint(),
        message,
        vouched_user: None,
        only_own: false,
        agent: None,
        counted_for: None,
        cause: Correlation::default(),
        now,
        limits: BacklogLimits {
            per_conversation: u32::MAX,
            per_frontend: u32::MAX,
            bytes_per_conversation: 0,
            browser_messages_per_user: 0,
        },
    }
}

/// The message's own event, and `replies` bot messages.
fn events(turn: i64, text: &str, replies: usize, now: Timestamp) -> Vec<FiniEvent> {
    let event = |n: usize, role: FiniRole, text: &str| FiniEvent {
        id: FiniEventId::trusted(format!("seeded-{turn}-{n}")),
        created_at: now,
        role,
        kind: FiniKind::Message,
        text: Some(text.to_owned()),
        rating: Feedback::default(),
        articles: Vec::new(),
        attachments: Vec::new(),
        tags: Vec::new(),
        raw: Value::Null,
    };
    let echo = event(0, FiniRole::User, text);
    std::iter::once(echo).chain((1..=replies).map(|n| event(n, FiniRole::Bot, REPLY))).collect()
}
