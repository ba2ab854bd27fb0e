//! The messages that wait to be sent, and the requests in the budget's window: one picture, read by its readers' indexes.

use std::time::Duration;

use futures_util::FutureExt;

use super::{Conn, ThisStore, db, rows, turns};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationKey, FrontendName},
    },
    store::{RequestClass, Result, WaitStore, Waiting},
};

#[async_trait::async_trait]
impl WaitStore for ThisStore {
    async fn waiting(&self, frontend: &FrontendName, window: Duration, now: Timestamp, most: usize) -> Result<Waiting> {
        let of = (frontend.clone(), window, now, most);
        self.serve(of, |conn, of| waiting(conn, &of.0, of.1, of.2, of.3).boxed()).await
    }
}

/// The conversations of a frontend in which messages wait.
pub(in crate::store) const CONVERSATIONS: &str = "SELECT c.key, CASE WHEN c.user_vouched THEN c.user_id END AS person, \
        COUNT(*) AS queued FROM (SELECT t.conversation_key FROM turns t WHERE t.state = 'queued' AND t.frontend = $1 \
            ORDER BY t.accepted_at LIMIT $2) AS oldest JOIN conversations c ON c.key = oldest.conversation_key \
     GROUP BY c.key, c.user_vouched, c.user_id";

async fn waiting(
    conn: &mut Conn,
    frontend: &FrontendName,
    window: Duration,
    now: Timestamp,
    most: usize,
) -> Result<Waiting> {
    let requests = db::query("SELECT at, class FROM budget WHERE at > $1 ORDER BY at")
        .bind(now.minus(window).as_millis())
        .fetch_all(&mut *conn)
        .await?;
    let mut waiting = Waiting::default();
    for row in &requests {
        let at = rows::time(row, "at")?;
        if rows::text(row, "class")? == RequestClass::Send.as_str() {
            waiting.sends.push(at);
        } else {
            waiting.reads.push(at);
        }
    }
    let found = db::query(CONVERSATIONS)
        .bind(frontend.as_str())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut *conn)
        .await?;
    for row in &found {
        let key = ConversationKey(rows::int(row, "key")?);
        waiting.conversations.push((key, rows::maybe_text(row, "person")?, rows::count(row, "queued")?));
    }
    waiting.frontends = turns::queued(conn).await?;
    Ok(waiting)
}
