//! Going on after the end: conversations that are new or have changed since, again and again.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Conversations, ExportError, State, Walk, Window, compact, conversations::MARGIN_MS};

/// Conversations whose digest is remembered. Beyond this an old one may be reported twice.
const REMEMBERED: usize = 10_000;
/// The longest window that is asked for; Fini takes 90 days.
const LONGEST_MS: i64 = 89 * 24 * 60 * 60 * 1000;

/// The place of a follower; a part of the export's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// The beginning of the export's range, epoch milliseconds.
    since: i64,
    /// The newest place seen, epoch milliseconds.
    top_at: i64,
    /// Ids and digests of the conversations reported last, oldest first.
    seen: Vec<(String, u64)>,
}

/// Follows a finished export.
pub struct Follow<'a> {
    export: &'a Conversations<'a>,
    since: i64,
    seen: HashMap<String, u64>,
    order: VecDeque<String>,
    top_at: i64,
}

impl<'a> Follow<'a> {
    /// Goes on from the end of the export of `state`.
    pub fn new(export: &'a Conversations<'a>, state: &State) -> Self {
        let since = state.windows.first().map_or(state.started, |window| window.since);
        let mut follow =
            Self { export, since, seen: HashMap::new(), order: VecDeque::new(), top_at: state.started - MARGIN_MS };
        for (id, digest) in &state.recent {
            follow.is_news(id, *digest);
        }
        follow
    }

    /// Goes on from the place of an earlier follower.
    pub fn resume(export: &'a Conversations<'a>, place: &Following) -> Self {
        let Following { since, top_at, seen } = place;
        let mut follow = Self { export, since: *since, seen: HashMap::new(), order: VecDeque::new(), top_at: *top_at };
        for (id, digest) in seen {
            follow.is_news(id, *digest);
        }
        follow
    }

    /// Returns its place.
    pub fn place(&self) -> Following {
        let seen = self.order.iter().filter_map(|id| Some((id.clone(), *self.seen.get(id)?)));
        Following { since: self.since, top_at: self.top_at, seen: seen.collect() }
    }

    /// Looks once, and passes every conversation that is new or has changed to `tell` as a line of JSON.
    pub async fn poll(&mut self, mut tell: impl FnMut(&str) -> Result<(), ExportError>) -> Result<u64, ExportError> {
        let since = self.since.max(self.export.now().as_millis() - LONGEST_MS);
        let window = Window { since, until: None };
        let (mut pass, mut told, mut top_at) = (Walk::default(), 0, self.top_at);
        while !pass.done {
            let page = self.export.turn(window, &mut pass).await?;
            let mut news = false;
            for (row, facts) in &page.rows {
                let recent = facts.highest.is_none_or(|at| at >= self.top_at - MARGIN_MS);
                if recent && self.is_news(row.id.as_str(), row.digest) {
                    tell(&compact(row.as_json()))?;
                    told += 1;
                    news = true;
                }
                top_at = top_at.max(facts.highest.unwrap_or(top_at));
            }
            pass.take(&page.rows);
            pass.done = !page.more || !news;
        }
        self.top_at = top_at;
        Ok(told)
    }

    fn is_news(&mut self, id: &str, digest: u64) -> bool {
        if let Some(known) = self.seen.insert(id.to_owned(), digest) {
            return known != digest;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}
