//! A person's conversations, and their read marks.

use futures_util::FutureExt;

use super::{Conn, Cx, Row, ThisStore, db, person_erasures, rows};
use crate::{
    domain::{
        Timestamp, WallTime,
        ids::{ConversationId, ConversationKey, FrontendName},
        person::{Belongs, Claim, LastMessage, Place, message, read_up_to},
    },
    store::{Change, Listed, PersonErasure, PersonStore, ReadMark, Result},
};

/// Messages that are searched at one time for the newest one that the asker may see.
const LOOKED_THROUGH: i64 = 20;

#[async_trait::async_trait]
impl PersonStore for ThisStore {
    async fn conversations_of(
        &self,
        frontend: &FrontendName,
        user: &str,
        behind: Option<&Place>,
        limit: usize,
        is_browser: bool,
    ) -> Result<Vec<Listed>> {
        let of = (frontend.clone(), user.to_owned(), behind.cloned(), limit, is_browser);
        self.serve(of, |conn, of| list(conn, &of.0, &of.1, of.2.as_ref(), of.3, of.4).boxed()).await
    }

    async fn mark_read(&self, frontend: &FrontendName, id: &ConversationId, sequence: i64) -> Result<Option<ReadMark>> {
        let of = (frontend.clone(), id.clone(), sequence);
        self.write(of, |conn, cx, of| mark_read(conn, cx, &of.0, &of.1, of.2).boxed()).await
    }

    async fn claim_conversation(
        &self,
        frontend: &FrontendName,
        user: &str,
        id: &ConversationId,
    ) -> Result<Option<Claim>> {
        let of = (frontend.clone(), user.to_owned(), id.clone());
        self.write(of, |conn, _, of| claim(conn, &of.0, &of.1, &of.2).boxed()).await
    }

    async fn want_person_erased(
        &self,
        frontend: &FrontendName,
        user: &str,
        upstream: bool,
        now: Timestamp,
    ) -> Result<bool> {
        let of = (frontend.clone(), user.to_owned(), upstream, now);
        self.write(of, |conn, cx, of| person_erasures::want(conn, cx, &of.0, &of.1, of.2, of.3).boxed()).await
    }

    async fn persons_to_erase(&self) -> Result<bool> {
        self.read((), |conn, ()| person_erasures::are_open(conn).boxed()).await
    }

    async fn erase_some(
        &self,
        of: Option<(&FrontendName, &str)>,
        now: Timestamp,
        batch: usize,
    ) -> Result<Option<usize>> {
        let of = of.map(|(frontend, user)| (frontend.clone(), user.to_owned()));
        let erased = self.write((of, now, batch), |conn, cx, of| {
            person_erasures::erase_some(conn, cx, of.0.as_ref(), of.1, of.2).boxed()
        });
        let erased = erased.await;
        self.left_traces();
        erased
    }

    async fn person_erasure(&self, frontend: &FrontendName, user: &str) -> Result<Option<PersonErasure>> {
        let of = (frontend.clone(), user.to_owned());
        self.serve(of, |conn, of| person_erasures::state(conn, &of.0, &of.1).boxed()).await
    }

    async fn person_erased_at(&self, frontend: &FrontendName, user: &str) -> Result<Option<WallTime>> {
        let of = (frontend.clone(), user.to_owned());
        self.serve(of, |conn, of| person_erasures::erased_at(conn, &of.0, &of.1).boxed()).await
    }
}

/// A page of a person's conversations, each with its newest message, by the index that is in the order of the list.
pub(in crate::store) const LISTED: &str = "SELECT page.key, page.conversation_id, page.state, page.last_sequence, page.read_sequence, page.updated_at, page.shown_at, page.said, \
        (SELECT e.body FROM events e WHERE e.conversation_key = page.key AND e.sequence = page.said) AS body, \
        (SELECT MIN(e.sequence) FROM events e WHERE e.conversation_key = page.key AND e.sequence > page.said \
            AND e.kind = 'message.updated') AS changed \
     FROM (SELECT c.key, c.conversation_id, c.state, c.last_sequence, c.read_sequence, c.updated_at, \
                COALESCE(c.shown_updated_at, c.updated_at) AS shown_at, \
                (SELECT e.sequence FROM events e WHERE e.conversation_key = c.key AND e.kind = 'message.created' \
                    ORDER BY e.sequence DESC LIMIT 1) AS said \
            FROM conversations c WHERE c.frontend = $1 AND c.user_id = $2 AND c.user_vouched \
                AND (c.updated_at, c.conversation_id) < ($3, $4) \
            ORDER BY c.updated_at DESC, c.conversation_id DESC LIMIT $5) AS page \
     ORDER BY page.updated_at DESC, page.conversation_id DESC";

async fn list(
    conn: &mut Conn,
    frontend: &FrontendName,
    user: &str,
    behind: Option<&Place>,
    limit: usize,
    is_browser: bool,
) -> Result<Vec<Listed>> {
    let found = db::query(LISTED)
        .bind(frontend.as_str())
        .bind(user)
        .bind(behind.map_or(i64::MAX, |place| place.updated_at))
        .bind(behind.map_or("", |place| place.conversation.as_str()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *conn)
        .await?;
    let mut all = Vec::with_capacity(found.len());
    for row in &found {
        let id = ConversationId::trusted(rows::text(row, "conversation_id")?);
        all.push(Listed {
            state: rows::state(row, "state")?,
            last_message: last_message(conn, row, is_browser).await?,
            last_sequence: rows::int(row, "last_sequence")?,
            read_sequence: rows::int(row, "read_sequence")?,
            updated_at: rows::time(row, "shown_at")?,
            place: Place { updated_at: rows::int(row, "updated_at")?, conversation: id.clone() },
            id,
        });
    }
    Ok(all)
}

/// Finds the newest message of a listed conversation that the asker may see, as it was last changed.
async fn last_message(conn: &mut Conn, row: &Row, is_browser: bool) -> Result<Option<LastMessage>> {
    let (Some(body), Some(said)) = (rows::maybe_text(row, "body")?, rows::maybe_int(row, "said")?) else {
        return Ok(None);
    };
    let key = rows::int(row, "key")?;
    let (mut shown, mut since) = (message(&body, said, is_browser), said);
    while shown.is_none() {
        let older = db::query(
            "SELECT sequence, body FROM events WHERE conversation_key = $1 AND sequence < $2 AND kind = 'message.created' \
             ORDER BY sequence DESC LIMIT $3",
        )
        .bind(key)
        .bind(since)
        .bind(LOOKED_THROUGH)
        .fetch_all(&mut *conn)
        .await?;
        let Some(oldest) = older.last() else { return Ok(None) };
        since = rows::int(oldest, "sequence")?;
        for row in &older {
            let sequence = rows::int(row, "sequence")?;
            shown = message(&rows::text(row, "body")?, sequence, is_browser);
            if shown.is_some() {
                since = sequence;
                break;
            }
        }
    }
    let may_have_changed = since < said || rows::maybe_int(row, "changed")?.is_some();
    if let Some(shown) = shown.as_mut().filter(|_| may_have_changed) {
        let changes = db::query(
            "SELECT sequence, body FROM events WHERE conversation_key = $1 AND sequence > $2 AND kind = 'message.updated' \
             ORDER BY sequence",
        )
        .bind(key)
        .bind(since)
        .fetch_all(conn)
        .await?;
        for change in &changes {
            shown.apply(&rows::text(change, "body")?, rows::int(change, "sequence")?, is_browser);
        }
    }
    Ok(shown)
}

async fn mark_read(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    id: &ConversationId,
    sequence: i64,
) -> Result<Option<ReadMark>> {
    let found = db::query(concat!(
        "SELECT key, read_sequence, last_sequence FROM conversations \
         WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
        for_update!("conversations")
    ))
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let (before, last_sequence) = (rows::int(&found, "read_sequence")?, rows::int(&found, "last_sequence")?);
    let read_sequence = read_up_to(before, sequence, last_sequence);
    if read_sequence > before {
        let key = rows::int(&found, "key")?;
        db::query("UPDATE conversations SET read_sequence = $2 WHERE key = $1")
            .bind(key)
            .bind(read_sequence)
            .execute(conn)
            .await?;
        cx.announce(Change::Feed(ConversationKey(key)));
    }
    Ok(Some(ReadMark { read_sequence, last_sequence }))
}

async fn claim(conn: &mut Conn, frontend: &FrontendName, user: &str, id: &ConversationId) -> Result<Option<Claim>> {
    let found = db::query(concat!(
        "SELECT key, user_id, user_vouched FROM conversations \
         WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
        for_update!("conversations")
    ))
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let named = rows::maybe_text(&found, "user_id")?;
    let claim = Belongs::of(named.as_deref(), rows::flag(&found, "user_vouched")?).claimed_by(user);
    if claim == Claim::Given {
        db::query("UPDATE conversations SET user_id = $2, user_vouched = TRUE WHERE key = $1")
            .bind(rows::int(&found, "key")?)
            .bind(user)
            .execute(conn)
            .await?;
    }
    Ok(Some(claim))
}
