//! The operators' views: quarantines with both sides, and conversations found by any of their ids.

use futures_util::FutureExt;

use super::{Conn, Row, ThisStore, blocked, db, rows, tries};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, ConversationKey, DeliveryId, FrontendName, IdSpace, InteractionId, MessageId},
    },
    store::{
        BlockedLane, ConversationRef, Entries, Hit, LeftAlone, OperatorStore, Outline, Part, Quarantine, Result, Try,
        Turn,
    },
};

#[async_trait::async_trait]
impl OperatorStore for ThisStore {
    async fn quarantines(&self, frontend: Option<&FrontendName>, part: Part) -> Result<Entries<Quarantine>> {
        self.serve((frontend.cloned(), part), |conn, of| quarantines(conn, of.0.as_ref(), &of.1).boxed()).await
    }

    async fn blocked_lanes(&self, alone: LeftAlone, part: Part, now: Timestamp) -> Result<Entries<BlockedLane>> {
        self.serve((alone, part, now), |conn, of| blocked::list(conn, &of.0, &of.1, of.2).boxed()).await
    }

    async fn find_conversations(&self, id: &str, part: Part) -> Result<Entries<Hit>> {
        self.serve((id.to_owned(), part), |conn, of| find(conn, &of.0, &of.1).boxed()).await
    }

    async fn turns_of(&self, conversation: ConversationKey, limit: usize) -> Result<Vec<Turn>> {
        self.serve((conversation, limit), |conn, of| tries::turns(conn, of.0, of.1).boxed()).await
    }

    async fn delivery_tries(&self, conversation: ConversationKey) -> Result<Vec<(DeliveryId, Try)>> {
        self.serve(conversation, |conn, key| tries::deliveries(conn, *key).boxed()).await
    }
}

macro_rules! listed {
    ($table:literal, $prefix:literal) => {
        concat!(
            $table,
            ".key AS ",
            $prefix,
            "key, ",
            $table,
            ".frontend AS ",
            $prefix,
            "frontend, ",
            $table,
            ".conversation_id AS ",
            $prefix,
            "conversation_id, ",
            $table,
            ".user_id AS ",
            $prefix,
            "user_id, ",
            $table,
            ".user_vouched AS ",
            $prefix,
            "user_vouched, ",
            $table,
            ".state AS ",
            $prefix,
            "state, ",
            $table,
            ".interaction_id AS ",
            $prefix,
            "interaction_id, ",
            $table,
            ".queued AS ",
            $prefix,
            "queued, ",
            $table,
            ".last_sequence AS ",
            $prefix,
            "last_sequence, COALESCE(",
            $table,
            ".shown_created_at, ",
            $table,
            ".created_at) AS ",
            $prefix,
            "created_at, COALESCE(",
            $table,
            ".shown_updated_at, ",
            $table,
            ".updated_at) AS ",
            $prefix,
            "updated_at"
        )
    };
}

/// Conversations in quarantine, each with the one whose Fini conversation it got into.
pub(super) const QUARANTINES: &str = concat!(
    "SELECT ",
    listed!("c", ""),
    ", ",
    listed!("o", "owner_"),
    ", COALESCE(c.quarantined_since, c.updated_at) AS since, c.note, c.shared_interaction_id \
     FROM conversations AS c LEFT JOIN conversations AS o \
        ON o.interaction_id = c.shared_interaction_id AND o.interaction_id IS NOT NULL \
     WHERE c.state = 'quarantined' AND c.key > $1 AND c.frontend = COALESCE($2, c.frontend) ORDER BY c.key LIMIT $3"
);

async fn quarantines(conn: &mut Conn, frontend: Option<&FrontendName>, part: &Part) -> Result<Entries<Quarantine>> {
    let Some(after) = place(part, 0) else { return Ok(nothing()) };
    let found = db::query(QUARANTINES)
        .bind(after)
        .bind(frontend.map(FrontendName::as_str))
        .bind(one_more(part))
        .fetch_all(conn)
        .await?;
    entries(&found, part, |row| {
        let has_owner = rows::maybe_int(row, "owner_key")?.is_some();
        Ok(Quarantine {
            own: listed(row, "")?,
            since: rows::time(row, "since")?,
            note: rows::maybe_text(row, "note")?,
            shares: rows::maybe_text(row, "shared_interaction_id")?.map(InteractionId::trusted),
            owner: has_owner.then(|| listed(row, "owner_")).transpose()?,
        })
    })
}

/// The keys of conversations one of whose ids is $1. $2 is the same as a message's id that a browser gave, $3 the place at
/// which the part before ended. Ids that are only unique within a frontend are looked for in each.
pub(super) const FIND: &str = "SELECT key, MIN(matched) AS matched FROM ( \
        SELECT c.key, 'conversation_id' AS matched FROM (SELECT DISTINCT frontend FROM waiting) AS f \
            JOIN conversations AS c ON c.frontend = f.frontend AND c.conversation_id = $1 AND c.erased_at IS NULL \
        UNION ALL SELECT c.key, 'user_id' FROM (SELECT DISTINCT frontend FROM waiting) AS f \
            JOIN conversations AS c ON c.frontend = f.frontend AND c.user_id = $1 AND c.user_id IS NOT NULL \
        UNION ALL SELECT c.key, 'interaction_id' FROM conversations AS c \
            WHERE c.interaction_id = $1 AND c.interaction_id IS NOT NULL \
        UNION ALL SELECT c.key, 'interaction_id' FROM conversations AS c \
            WHERE c.shared_interaction_id = $1 AND c.shared_interaction_id IS NOT NULL \
        UNION ALL SELECT t.conversation_key, 'message_id' FROM turns AS t WHERE t.message_id = $1 \
        UNION ALL SELECT t.conversation_key, 'message_id' FROM turns AS t WHERE t.message_id = $2 \
        UNION ALL SELECT t.conversation_key, 'request_id' FROM turns AS t WHERE t.request_id = $1 AND t.request_id IS NOT NULL \
        UNION ALL SELECT e.conversation_key, 'event_id' FROM events AS e WHERE e.id = $1 \
        UNION ALL SELECT d.conversation_key, 'delivery_id' FROM deliveries AS d WHERE d.id = $1 \
        UNION ALL SELECT m.conversation_key, 'fini_event_id' FROM marks AS m WHERE m.fini_event_id = $1 AND NOT m.withheld \
     ) AS ids WHERE key < $3 GROUP BY key ORDER BY key DESC LIMIT $4";

/// Conversations by their keys.
pub(super) const OUTLINES: &str =
    concat!("SELECT c.erased_at, ", listed!("c", ""), " FROM conversations AS c WHERE c.key", is_key_in!("$1"));

async fn find(conn: &mut Conn, id: &str, part: &Part) -> Result<Entries<Hit>> {
    let Some(before) = place(part, i64::MAX) else { return Ok(nothing()) };
    let found = db::query(FIND)
        .bind(id)
        .bind(MessageId::trusted(id).stored(IdSpace::Browser))
        .bind(before)
        .bind(one_more(part))
        .fetch_all(&mut *conn)
        .await?;
    let keys = entries(&found, part, |row| Ok((ConversationKey(rows::int(row, "key")?), rows::text(row, "matched")?)))?;
    let all = db::query(OUTLINES).bind(rows::array(keys.entries.iter().map(|(key, _)| key.0))?).fetch_all(conn).await?;
    let mut outlines = Vec::new();
    for row in &all {
        // A message of an erased conversation may still be on its way.
        if rows::maybe_time(row, "erased_at")?.is_none() {
            outlines.push(listed(row, "")?);
        }
    }
    let hit = |(key, matched): (ConversationKey, String)| {
        let found = outlines.iter().find(|outline| outline.conversation.key == key)?;
        Some(Hit { conversation: found.clone(), matched })
    };
    Ok(Entries { entries: keys.entries.into_iter().filter_map(hit).collect(), next_cursor: keys.next_cursor })
}

fn listed(row: &Row, prefix: &str) -> Result<Outline> {
    let column = |name: &str| format!("{prefix}{name}");
    let is_vouched = rows::maybe_flag(row, &column("user_vouched"))?.unwrap_or(false);
    Ok(Outline {
        conversation: ConversationRef {
            key: ConversationKey(rows::int(row, &column("key"))?),
            frontend: FrontendName::trusted(rows::text(row, &column("frontend"))?),
            id: ConversationId::trusted(rows::text(row, &column("conversation_id"))?),
        },
        user: rows::maybe_text(row, &column("user_id"))?.map(|user| (user, is_vouched)),
        state: rows::state(row, &column("state"))?,
        interaction: rows::maybe_text(row, &column("interaction_id"))?.map(InteractionId::trusted),
        queued: rows::count(row, &column("queued"))?,
        last_sequence: rows::int(row, &column("last_sequence"))?,
        created_at: rows::time(row, &column("created_at"))?,
        updated_at: rows::time(row, &column("updated_at"))?,
    })
}

/// Returns the key behind which a part begins; `None` for a cursor that is none of ours.
fn place(part: &Part, first: i64) -> Option<i64> {
    part.cursor.as_deref().map_or(Some(first), |cursor| cursor.parse().ok())
}

fn one_more(part: &Part) -> i64 {
    i64::try_from(part.limit.max(1)).unwrap_or(i64::MAX).saturating_add(1)
}

const fn nothing<T>() -> Entries<T> {
    Entries { entries: Vec::new(), next_cursor: None }
}

/// Returns as many of the rows as a part holds, and the cursor of the next part.
fn entries<T>(found: &[Row], part: &Part, read: impl Fn(&Row) -> Result<T>) -> Result<Entries<T>> {
    let page = &found[..found.len().min(part.limit.max(1))];
    let next_cursor = match page.last() {
        Some(last) if found.len() > page.len() => Some(rows::int(last, "key")?.to_string()),
        _ => None,
    };
    Ok(Entries { entries: page.iter().map(read).collect::<Result<_>>()?, next_cursor })
}
