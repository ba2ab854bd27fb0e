//! The note about the steady clock, and the repair of times that lie too far ahead.

use futures_util::FutureExt;

use super::{Conn, ThisStore, db, dialect};
use crate::{
    domain::{Timestamp, steady::Agreed},
    store::{LongestWaits, Result, TimeStore},
};

/// The name of the note.
const NOTE: &str = "clock";

#[async_trait::async_trait]
impl TimeStore for ThisStore {
    async fn time(&self) -> Result<(Option<Timestamp>, Option<Agreed>)> {
        self.read((), |conn, ()| time(conn).boxed()).await
    }

    async fn agree(&self, before: Option<&Agreed>, note: &Agreed) -> Result<bool> {
        let of = (before.cloned(), note.clone());
        self.write(of, |conn, _, (before, note)| agree(conn, before.as_ref(), note).boxed()).await
    }

    async fn bring_back(&self, now: Timestamp, longest: &LongestWaits) -> Result<u64> {
        self.write((now, longest.clone()), |conn, _, (now, longest)| bring_back(conn, *now, longest).boxed()).await
    }
}

/// Reads the server's time last, so that as little time as possible lies between it and the caller.
async fn time(conn: &mut Conn) -> Result<(Option<Timestamp>, Option<Agreed>)> {
    let note: Option<String> =
        db::query_scalar("SELECT value FROM notes WHERE name = $1").bind(NOTE).fetch_optional(&mut *conn).await?;
    let agreed = note.and_then(|note| serde_json::from_str(&note).ok());
    Ok((dialect::server_time(conn).await?, agreed))
}

async fn agree(conn: &mut Conn, before: Option<&Agreed>, note: &Agreed) -> Result<bool> {
    let text = serde_json::to_string(note)?;
    let written = match before {
        None => {
            db::query("INSERT INTO notes (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(NOTE)
                .bind(text)
                .execute(conn)
                .await?
        }
        Some(before) => {
            db::query("UPDATE notes SET value = $2 WHERE name = $1 AND value = $3")
                .bind(NOTE)
                .bind(text)
                .bind(serde_json::to_string(before)?)
                .execute(conn)
                .await?
        }
    };
    Ok(written.rows_affected() > 0)
}

/// One statement per kind of row: the longest distance of its column from now.
const BROUGHT_BACK: [&str; 12] = [
    "UPDATE turns SET due_at = $1 WHERE state = 'queued' AND due_at > $1",
    "UPDATE conversations SET turn_due_at = $1 WHERE turn_due_at > $1",
    "UPDATE turns SET look_at = $1 WHERE look_at > $1",
    "UPDATE conversations SET binding_look_at = $1 WHERE binding_wanted_since IS NOT NULL AND binding_look_at > $1",
    "UPDATE conversations SET read_at = $1 WHERE read_at > $1",
    "UPDATE turns SET lease_until = $1 WHERE state = 'sending' AND lease_until > $1",
    "UPDATE lanes SET lease_until = $1 WHERE lease_until > $1",
    "UPDATE destination_lanes SET lease_until = $1 WHERE lease_until > $1",
    "UPDATE leases SET until = $1 WHERE until > $1",
    "UPDATE conversations SET watch_until = $1 WHERE watch_until > $1",
    "UPDATE conversations SET handoff_due_at = $1 WHERE handoff_due_at > $1",
    "UPDATE budget SET at = $1 WHERE at > $1",
];

macro_rules! due_with_its_head {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET due_at = (SELECT d.due_at FROM deliveries AS d WHERE d.conversation_key = ",
            $lanes,
            ".conversation_key AND d.frontend = ",
            $lanes,
            ".frontend AND d.state = 'pending' ORDER BY d.sequence LIMIT 1) \
             WHERE due_at > $1 AND due_at > (SELECT d.due_at FROM deliveries AS d WHERE d.conversation_key = ",
            $lanes,
            ".conversation_key AND d.frontend = ",
            $lanes,
            ".frontend AND d.state = 'pending' ORDER BY d.sequence LIMIT 1)"
        )
    };
}
const DUE_WITH_ITS_HEAD: [&str; 2] = [due_with_its_head!("lanes"), due_with_its_head!("destination_lanes")];

async fn bring_back(conn: &mut Conn, now: Timestamp, longest: &LongestWaits) -> Result<u64> {
    let LongestWaits { turn, look, lease, watch, handoff, .. } = longest;
    let at_most =
        [turn, turn, look, look, look, lease, lease, lease, lease, watch, handoff].map(|longest| now.plus(*longest));
    let mut rows = 0;
    for (statement, at_most) in BROUGHT_BACK.into_iter().zip(at_most.into_iter().chain([now])) {
        rows += db::query(statement).bind(at_most.as_millis()).execute(&mut *conn).await?.rows_affected();
    }
    let last = longest.retries.len().saturating_sub(1);
    for (attempts, wait) in longest.retries.iter().enumerate() {
        let attempts = i64::try_from(attempts).unwrap_or(i64::MAX);
        let statement = if attempts == i64::try_from(last).unwrap_or(i64::MAX) {
            "UPDATE deliveries SET due_at = $2 WHERE state = 'pending' AND attempts - attempts_before >= $1 AND due_at > $2"
        } else {
            "UPDATE deliveries SET due_at = $2 WHERE state = 'pending' AND attempts - attempts_before = $1 AND due_at > $2"
        };
        let at_most = now.plus(*wait).as_millis();
        rows += db::query(statement).bind(attempts).bind(at_most).execute(&mut *conn).await?.rows_affected();
    }
    // A lane is due when its head is.
    for statement in DUE_WITH_ITS_HEAD {
        db::query(statement).bind(now.as_millis()).execute(&mut *conn).await?;
    }
    Ok(rows)
}
