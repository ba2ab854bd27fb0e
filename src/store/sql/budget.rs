//! The request budget: a sliding log with one entry per request to Fini.
//!
//! Invariant: no window of the given length, wherever it begins, holds more than `limit` entries. A token bucket would not
//! do: right after a pause it lets a full burst and the refill of the next seconds into one window. An entry counts while
//! `at > now - window`; entries that lie in the future of `now` (another process's clock, a late departure) count too,
//! which can only err on the safe side.
//!
//! The transaction that decides holds the budget's lock until its commit, so two processes never hand out the same room.

use std::time::Duration;

use futures_util::FutureExt;

use super::{Conn, ThisStore, db, dialect, report, rows};
use crate::{
    domain::Timestamp,
    store::{BudgetStore, BudgetTerms, BudgetUse, Grant, PermitId, RequestClass, Result},
};

/// The longest time from its permit to a request's departure, in milliseconds, on a machine that is busy but not stuck.
const DEPARTS_WITHIN_MS: i64 = 2_000;

#[async_trait::async_trait]
impl BudgetStore for ThisStore {
    async fn take_permit(&self, class: RequestClass, terms: BudgetTerms, now: Timestamp) -> Result<Grant> {
        let (permits, next) = self
            .write((class, terms, now), |conn, _, (class, terms, now)| take(conn, *class, *terms, *now, 1).boxed())
            .await?;
        Ok(permits.first().map_or_else(|| Grant::NotBefore(next.unwrap_or(now)), |permit| Grant::Now(*permit)))
    }

    async fn permits_departed(&self, permits: &[PermitId], at: Timestamp) -> Result<()> {
        self.write_once((permits.to_vec(), at), |conn, _, (permits, at)| depart(conn, permits, *at).boxed()).await
    }

    async fn budget_use(&self, window: Duration, now: Timestamp) -> Result<BudgetUse> {
        self.read((window, now), |conn, (window, now)| used(conn, *window, *now).boxed()).await
    }
}

/// Takes up to `wanted` requests of `class` out of the budget and returns their entries, together with the time at which
/// there is room for the next one if it could not take all of them.
pub(super) async fn take(
    conn: &mut Conn,
    class: RequestClass,
    terms: BudgetTerms,
    now: Timestamp,
    wanted: usize,
) -> Result<(Vec<PermitId>, Option<Timestamp>)> {
    if wanted == 0 {
        return Ok((Vec::new(), None));
    }
    dialect::lock_budget(conn).await?;
    let since = now.minus(terms.window);
    let Counted { by_class: [sends, reading @ ..], oldest, .. } = count(conn, since).await?;
    let reading: u32 = reading.iter().sum();
    let used = reading.saturating_add(sends);
    let more = if mutated!("more requests than the limit leave") { 10 } else { 0 };
    let limit = terms.limit_for(class, reading) + more;
    let room = match class {
        RequestClass::Send => limit.saturating_sub(used),
        _ => limit.saturating_sub(used).min(terms.share.saturating_sub(reading)),
    };
    let granted = wanted.min(room as usize);

    let permits = if granted > 0 {
        drop_spent(conn, oldest, now, terms.window).await?;
        insert(conn, class, now, granted).await?
    } else {
        Vec::new()
    };
    if granted == wanted {
        return Ok((permits, None));
    }
    // The entries just taken are in the log now: the next request waits behind them too.
    let taken = u32::try_from(granted).unwrap_or(u32::MAX);
    let mut leaves = frees_at(conn, since, ANY, used.saturating_add(taken), limit).await?;
    if class != RequestClass::Send {
        leaves = leaves.max(frees_at(conn, since, RequestClass::Send.as_str(), reading + taken, terms.share).await?);
    }
    // If nothing is allowed at all, no entry's leaving makes room: look again after a window.
    Ok((permits, Some(leaves.unwrap_or(now).plus(terms.window))))
}

/// Moves entries to a later time; never to an earlier one, or a request could leave the window before it should.
async fn depart(conn: &mut Conn, permits: &[PermitId], at: Timestamp) -> Result<()> {
    db::query(concat!("UPDATE budget SET at = $2 WHERE at < $2 AND key", is_key_in!("$1")))
        .bind(rows::array(permits.iter().map(|permit| permit.0))?)
        .bind(at.as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves recent entries later: a process that died may have sent later than its log says, without writing that down. Its
/// possible requests count from then on.
pub(super) async fn assume_late(conn: &mut Conn, now: Timestamp) -> Result<()> {
    db::query("UPDATE budget SET at = CASE WHEN at + $2 < $1 THEN at + $2 ELSE $1 END WHERE at < $1")
        .bind(now.as_millis())
        .bind(DEPARTS_WITHIN_MS)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts the requests in the window that ends at `now`.
async fn used(conn: &mut Conn, window: Duration, now: Timestamp) -> Result<BudgetUse> {
    let since = now.minus(window);
    let Counted { by_class, first, .. } = count(conn, since).await?;
    Ok(BudgetUse { by_class, frees_at: first.map(|at| at.plus(window)) })
}

/// The entries of a window.
#[derive(Debug, Default)]
struct Counted {
    by_class: [u32; 4],
    /// The first of them.
    first: Option<Timestamp>,
    /// The first one that is still kept; not known if the window is empty.
    oldest: Option<Timestamp>,
}

/// The entries of a window, by class.
pub(in crate::store) const COUNTED: &str = "SELECT class, COUNT(*) AS entries, MIN(at) AS first, \
        (SELECT MIN(kept.at) FROM budget AS kept) AS oldest FROM budget WHERE at > $1 GROUP BY class";

/// Counts the entries later than `since`.
async fn count(conn: &mut Conn, since: Timestamp) -> Result<Counted> {
    let found = db::query(COUNTED).bind(since.as_millis()).fetch_all(conn).await?;
    let mut counted = Counted::default();
    for row in &found {
        let first = rows::time(row, "first")?;
        counted.first = Some(counted.first.map_or(first, |known| known.min(first)));
        counted.oldest = rows::maybe_time(row, "oldest")?;
        let class = rows::text(row, "class")?;
        // A class that only a newer version knows counts as the least urgent one here.
        let index = RequestClass::ALL.into_iter().position(|known| known.as_str() == class);
        counted.by_class[index.unwrap_or(RequestClass::ALL.len() - 1)] += rows::small(row, "entries")?;
    }
    Ok(counted)
}

/// A name that no class has.
const ANY: &str = "";

/// Returns the entry that has to leave before there is room for one more, if `used` of `most` are taken by all classes but
/// `other`; `None` if there is room, or never will be.
async fn frees_at(
    conn: &mut Conn,
    since: Timestamp,
    other: &'static str,
    used: u32,
    most: u32,
) -> Result<Option<Timestamp>> {
    let Some(before) = used.checked_sub(most) else { return Ok(None) };
    let at: Option<i64> =
        db::query_scalar("SELECT at FROM budget WHERE at > $1 AND class <> $2 ORDER BY at LIMIT 1 OFFSET $3")
            .bind(since.as_millis())
            .bind(other)
            .bind(i64::from(before))
            .fetch_optional(conn)
            .await?;
    Ok(at.map(Timestamp::from_millis))
}

/// Drops entries that are too old to count, those of a whole window at once: one for each request would cost every request a
/// statement.
async fn drop_spent(conn: &mut Conn, oldest: Option<Timestamp>, now: Timestamp, window: Duration) -> Result<()> {
    if oldest.is_some_and(|oldest| oldest > now.minus(window.saturating_mul(3))) {
        return Ok(());
    }
    db::query("DELETE FROM budget WHERE at <= $1")
        .bind(now.minus(window.saturating_mul(2)).as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes `entries` entries.
async fn insert(conn: &mut Conn, class: RequestClass, now: Timestamp, entries: usize) -> Result<Vec<PermitId>> {
    let keys: Vec<i64> = db::query_scalar(
        "WITH RECURSIVE entries (number) AS \
           (SELECT CAST(1 AS BIGINT) UNION ALL SELECT number + 1 FROM entries WHERE number < $3) \
         INSERT INTO budget (class, at) SELECT $1, $2 FROM entries RETURNING key",
    )
    .bind(class.as_str())
    .bind(now.as_millis())
    .bind(i64::try_from(entries).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    report::add_requests(conn, i64::try_from(keys.len()).unwrap_or(i64::MAX), now).await?;
    Ok(keys.into_iter().map(PermitId).collect())
}
