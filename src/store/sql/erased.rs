//! Messages of erased conversations that are at Fini, or on their way there, in an unknown Fini conversation: they are
//! recognised wherever they turn up, and shown to nobody.
//!
//! Invariant: no text is kept, only its digest, and no longer than such a message may turn up.

use std::collections::HashSet;

use super::{
    Conn,
    db::{self, Columns as _},
    evidence::UNSEEN_FOR,
    in_flight::JOINT,
    rows,
};
use crate::{
    domain::{
        Timestamp,
        evidence::{
            absent::digest,
            own::{Unseen, Whose},
        },
        ids::{ConversationKey, InteractionId, TurnKey},
        own_event::fini_role,
        vendor::{FiniEvent, FiniKind},
    },
    store::Result,
};

/// Messages of a conversation whose event was not seen, and which may stand in somebody else's Fini conversation.
const SENT: &str = "SELECT COALESCE(t.leader_key, t.key) AS leader, t.role, t.text, t.sent_at, \
        CASE WHEN t.state = 'sending' THEN t.lease_until END AS busy_until \
     FROM turns t JOIN conversations c ON c.key = t.conversation_key \
     WHERE t.conversation_key = $1 AND t.echo IS NULL AND t.sent_at IS NOT NULL AND t.sent_at >= $2 \
        AND (c.interaction_id IS NULL OR t.sent_at < c.first_sent_at OR c.shared_interaction_id IS NOT NULL) \
     ORDER BY leader, t.key";

/// Keeps the digests by which the messages of a conversation are recognised, just before its turns are erased.
pub(in crate::store) async fn keep(conn: &mut Conn, conversation: ConversationKey, now: Timestamp) -> Result<()> {
    let since = now.minus(UNSEEN_FOR).as_millis();
    let found = db::query(SENT).bind(conversation.0).bind(since).fetch_all(&mut *conn).await?;
    let mut texts: Vec<(usize, String)> = Vec::new();
    for (number, row) in found.iter().enumerate() {
        let text = rows::text(row, "text")?;
        match texts.last_mut() {
            Some((first, joined)) if rows::int(&found[*first], "leader")? == rows::int(row, "leader")? => {
                *joined = format!("{joined}{JOINT}{text}");
            }
            _ => texts.push((number, text)),
        }
    }
    for (number, text) in texts {
        let row = &found[number];
        db::query(
            "INSERT INTO erased_messages (turn_key, conversation_key, role, digest, sent_at, busy_until) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(rows::int(row, "leader")?)
        .bind(conversation.0)
        .bind(rows::text(row, "role")?)
        .bind(digest(&text))
        .bind(rows::int(row, "sent_at")?)
        .bind(row.try_get::<Option<i64>, _>("busy_until")?)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Reads the messages that were sent since, as they may stand in any snapshot.
pub(in crate::store) async fn messages(conn: &mut Conn, since: Timestamp, now: Timestamp) -> Result<Vec<Unseen>> {
    let found = db::query(
        "SELECT turn_key, conversation_key, role, digest, sent_at, busy_until FROM erased_messages WHERE sent_at >= $1",
    )
    .bind(since.as_millis())
    .fetch_all(conn)
    .await?;
    let unseen = found.iter().map(|row| {
        let of = (ConversationKey(rows::int(row, "conversation_key")?), TurnKey(rows::int(row, "turn_key")?));
        let is_being_answered = rows::maybe_time(row, "busy_until")?.is_some_and(|until| until > now);
        let (role, digest) = (rows::role(row, "role")?, rows::text(row, "digest")?);
        Ok(Unseen::erased(of, role, digest, rows::time(row, "sent_at")?, is_being_answered))
    });
    unseen.collect()
}

/// Records the answer to one of them: the events that it names belong to the erased conversation for ever.
pub(in crate::store) async fn answered(
    conn: &mut Conn,
    conversation: ConversationKey,
    turn: TurnKey,
    events: &[FiniEvent],
) -> Result<()> {
    let found = db::query("SELECT role, digest FROM erased_messages WHERE turn_key = $1 AND conversation_key = $2")
        .bind(turn.0)
        .bind(conversation.0)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(found) = found else { return Ok(()) };
    let (role, sent) = (fini_role(rows::role(&found, "role")?), rows::text(&found, "digest")?);
    let mut own = 0;
    for event in events {
        let is_message = event.role == role && event.kind == FiniKind::Message;
        own += usize::from(is_message);
        // A further customer's message with another text was not sent.
        if is_message && own > 1 && event.text.as_deref().is_none_or(|text| digest(text) != sent) {
            continue;
        }
        db::query(
            "INSERT INTO marks (fini_event_id, conversation_key, withheld) VALUES ($1, $2, FALSE) \
             ON CONFLICT (fini_event_id) DO UPDATE SET conversation_key = excluded.conversation_key, turn_key = NULL, \
                withheld = FALSE WHERE marks.withheld",
        )
        .bind(event.id.as_str())
        .bind(conversation.0)
        .execute(&mut *conn)
        .await?;
    }
    // If the answer shows no trace of it, it may still turn up.
    let statement = if own > 0 {
        "DELETE FROM erased_messages WHERE turn_key = $1"
    } else {
        "UPDATE erased_messages SET busy_until = NULL WHERE turn_key = $1"
    };
    db::query(statement).bind(turn.0).execute(conn).await?;
    Ok(())
}

/// Notes the Fini conversation in which a snapshot shows something of erased ones: they are kept as long as the owner of
/// that.
pub(in crate::store) async fn found(
    conn: &mut Conn,
    erased: &HashSet<ConversationKey>,
    whose: &[Whose],
    interaction: &InteractionId,
) -> Result<()> {
    let shown: HashSet<ConversationKey> = whose
        .iter()
        .filter_map(|whose| match whose {
            Whose::Others(of, _) | Whose::Withheld(of) => Some(*of),
            Whose::Own | Whose::News | Whose::Pending => None,
        })
        .filter(|of| erased.contains(of))
        .collect();
    for conversation in shown {
        db::query(
            "UPDATE conversations SET shared_interaction_id = $2 \
             WHERE key = $1 AND erased_at IS NOT NULL AND shared_interaction_id IS NULL",
        )
        .bind(conversation.0)
        .bind(interaction.as_str())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Deletes messages that cannot turn up any more.
pub(in crate::store) async fn forget(conn: &mut Conn, now: Timestamp) -> Result<()> {
    db::query("DELETE FROM erased_messages WHERE sent_at < $1")
        .bind(now.minus(UNSEEN_FOR).as_millis())
        .execute(conn)
        .await?;
    Ok(())
}
