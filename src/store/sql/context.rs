//! The context of a transaction: the domain's rules, and the announcements that follow its commit.
//!
//! Changes are announced only once the transaction is durable. Counts per frontend are added up here and written once per
//! transaction, however many messages it takes in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Conn, db, report};
use crate::{
    domain::{Timestamp, ids::FrontendName},
    store::{Change, EndOfTurn, Result, Rules},
};

/// The context of one transaction.
pub(in crate::store) struct Cx {
    rules: Arc<Rules>,
    told: Told,
    waiting: HashMap<FrontendName, Waiting>,
    dead_letters: BTreeMap<FrontendName, i64>,
}

/// The announcements that follow once a transaction is durable.
#[derive(Debug, Default)]
pub(in crate::store) struct Told {
    /// For the listeners in every process.
    pub(in crate::store) changes: Vec<Change>,
    /// For log and metrics.
    pub(in crate::store) ends: Vec<EndOfTurn>,
}

/// Turns of one frontend that wait.
#[derive(Default)]
struct Waiting {
    /// Their number in the database when the transaction first asked.
    stored: Option<i64>,
    /// The number that the transaction added.
    added: i64,
}

impl Cx {
    /// Returns the context of a transaction that begins.
    pub(in crate::store) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, told: Told::default(), waiting: HashMap::new(), dead_letters: BTreeMap::new() }
    }

    /// Returns the domain's rules.
    pub(in crate::store) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns a new shown id: the prefix and a UUID of version 7.
    pub(in crate::store) fn id(&self, prefix: &str, now: Timestamp) -> String {
        format!("{prefix}{}", self.rules.entropy.uuid_v7(now))
    }

    /// Remembers to announce a change after the commit, once.
    pub(in crate::store) fn announce(&mut self, change: Change) {
        if !self.told.changes.contains(&change) {
            self.told.changes.push(change);
        }
    }

    /// Remembers to report the end of a turn after the commit.
    pub(in crate::store) fn ended(&mut self, end: EndOfTurn) {
        self.told.ends.push(end);
    }

    /// Returns the announcements.
    pub(in crate::store) fn into_told(self) -> Told {
        self.told
    }

    /// Counts turns of a frontend that began (positive) or ceased (negative) to wait.
    pub(in crate::store) fn add_waiting(&mut self, frontend: &FrontendName, turns: i64) {
        if turns != 0 {
            self.waiting.entry(frontend.clone()).or_default().added += turns;
        }
    }

    /// Counts callbacks of a frontend that were given up.
    pub(in crate::store) fn add_dead_letters(&mut self, frontend: &FrontendName, dead: u64) {
        let count = self.dead_letters.entry(frontend.clone()).or_default();
        *count = count.saturating_add(i64::try_from(dead).unwrap_or(i64::MAX));
    }

    /// Counts the turns of a frontend that wait, this transaction's own included.
    pub(in crate::store) async fn waiting(&mut self, conn: &mut Conn, frontend: &FrontendName) -> Result<i64> {
        let waiting = self.waiting.entry(frontend.clone()).or_default();
        if waiting.stored.is_none() {
            let stored = "SELECT CAST(COALESCE(SUM(turns), 0) AS BIGINT) FROM waiting WHERE frontend = $1";
            let stored = db::query_scalar(stored).bind(frontend.as_str()).fetch_one(conn).await?;
            waiting.stored = Some(stored);
        }
        Ok(waiting.stored.unwrap_or(0) + waiting.added)
    }

    /// Writes the counts; the last step before the commit.
    pub(in crate::store) async fn flush(&mut self, conn: &mut Conn) -> Result<()> {
        // Always in the same order, so that two transactions never wait for each other.
        let mut changed: Vec<_> = self.waiting.drain().collect();
        changed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (frontend, waiting) in changed {
            db::query(concat!(
                "INSERT INTO waiting (frontend, shard, turns) VALUES ($1, ",
                shard!(),
                ", $2) ON CONFLICT (frontend, shard) DO UPDATE SET turns = waiting.turns + excluded.turns",
            ))
            .bind(frontend.as_str())
            .bind(waiting.added)
            .execute(&mut *conn)
            .await?;
        }
        let now = self.rules.wall.now();
        for (frontend, dead) in std::mem::take(&mut self.dead_letters) {
            report::add_dead_letters(conn, &frontend, dead, now).await?;
        }
        Ok(())
    }
}
