//! The audit's rows: adding, listing, and replacing an erased conversation's id by its hash.

use futures_util::FutureExt;

use super::{Conn, Row, ThisStore, db, rows};
use crate::{
    domain::{
        WallTime,
        ids::{ConversationId, FrontendName},
    },
    store::{Act, AuditPage, AuditStore, Result},
};

#[async_trait::async_trait]
impl AuditStore for ThisStore {
    async fn add_act(&self, act: &Act) -> Result<()> {
        self.write(act.clone(), |conn, _, act| add(conn, act).boxed()).await
    }

    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<AuditPage> {
        let of = (cursor.map(str::to_owned), limit);
        self.serve(of, |conn, of| list(conn, of.0.as_deref(), of.1).boxed()).await
    }
}

async fn add(conn: &mut Conn, act: &Act) -> Result<()> {
    let conversation = match &act.conversation {
        Some((frontend, id)) if is_erased(conn, frontend, id).await? => Some((frontend.clone(), id.erased())),
        conversation => conversation.clone(),
    };
    let (frontend, id) = conversation.as_ref().map(|(frontend, id)| (frontend.as_str(), id.as_str())).unzip();
    db::query(
        "INSERT INTO audit (at, operator, act, object, frontend, conversation_id, reason, refused) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(act.at.as_millis())
    .bind(act.operator.as_str())
    .bind(act.act.as_str())
    .bind(act.object.as_str())
    .bind(frontend)
    .bind(id)
    .bind(act.reason.as_deref())
    .bind(act.is_refused)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Returns true if only the hash of the id is left.
async fn is_erased(conn: &mut Conn, frontend: &FrontendName, id: &ConversationId) -> Result<bool> {
    let known: i64 = db::query_scalar(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM conversations WHERE frontend = $1 AND conversation_id = $2 \
             AND erased_at IS NULL) THEN 0 ELSE (SELECT COUNT(*) FROM conversations WHERE frontend = $1 \
             AND conversation_id = $3 AND erased_at IS NOT NULL) END",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .bind(id.erased().as_str())
    .fetch_one(conn)
    .await?;
    Ok(known > 0)
}

async fn list(conn: &mut Conn, cursor: Option<&str>, limit: usize) -> Result<AuditPage> {
    let before = match cursor.map(str::parse::<i64>) {
        None => i64::MAX,
        Some(Ok(before)) => before,
        Some(Err(_)) => return Ok(AuditPage::default()),
    };
    let limit = limit.max(1);
    let found = db::query(
        "SELECT key, at, operator, act, object, frontend, conversation_id, reason, refused FROM audit \
         WHERE key < $1 ORDER BY key DESC LIMIT $2",
    )
    .bind(before)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
    .fetch_all(conn)
    .await?;
    let page = &found[..found.len().min(limit)];
    let next_cursor = match page.last() {
        Some(last) if found.len() > limit => Some(rows::int(last, "key")?.to_string()),
        _ => None,
    };
    Ok(AuditPage { acts: page.iter().map(act).collect::<Result<_>>()?, next_cursor })
}

fn act(row: &Row) -> Result<Act> {
    let frontend = rows::maybe_text(row, "frontend")?.map(FrontendName::trusted);
    let id = rows::maybe_text(row, "conversation_id")?.map(ConversationId::trusted);
    Ok(Act {
        at: WallTime::from_millis(rows::int(row, "at")?),
        operator: rows::text(row, "operator")?,
        act: rows::text(row, "act")?,
        object: rows::text(row, "object")?,
        conversation: frontend.zip(id),
        reason: rows::maybe_text(row, "reason")?,
        is_refused: rows::flag(row, "refused")?,
    })
}

/// Replaces an erased conversation's id by its hash.
pub(in crate::store) async fn forget(conn: &mut Conn, frontend: &FrontendName, id: &ConversationId) -> Result<()> {
    db::query("UPDATE audit SET conversation_id = $3 WHERE frontend = $1 AND conversation_id = $2")
        .bind(frontend.as_str())
        .bind(id.as_str())
        .bind(id.erased().as_str())
        .execute(conn)
        .await?;
    Ok(())
}
