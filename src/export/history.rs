//! The export of the legacy chat history, in either of the two documented shapes.
//!
//! The newer shape is paged by a cursor that the page does not explain, so reading also ends at a page that brings
//! nothing new. The older one, a bare array, has no pages, and its largest size is undocumented: an
//! answer counts as whole if a larger one was seen before; otherwise its range is halved and asked for again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    Counts, ExportError, Patient, Place, Stage,
    stage::{NUMBERED, digest},
};
use crate::{
    domain::{Timestamp, page_size::PAGE},
    fini::{HistoryConversation, HistoryPage, HistoryQuery},
};

/// An answer of the older shape with no more entries than this is whole: no cap is that small.
const HANDFUL: usize = 10;

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"conversations": […], "hasMore": …}`
    Conversations,
    /// A bare array of questions and answers.
    Questions,
}

/// The progress of an export of the history, which its checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryState {
    /// Parts of the range that are still to be read, the next one last; epoch milliseconds.
    pub parts: Vec<(Option<i64>, Option<i64>)>,
    /// Cursor of the next page of the part that is being read.
    pub cursor: Option<String>,
    /// The entries of the latest page: a list that goes in circles ends by them.
    pub last_page: Vec<String>,
    /// The shape of the answers, once one showed it.
    pub shape: Option<Shape>,
    /// Number of the last question without an id.
    pub numbered: u64,
    /// The most entries that one answer of the older shape held: Fini cuts off no fewer.
    #[serde(default)]
    pub largest: usize,
    /// The counts so far.
    pub counts: Counts,
}

/// An export of the chat history.
pub struct History<'a> {
    patient: &'a Patient<'a>,
    query: HistoryQuery,
}

impl HistoryState {
    /// Returns the state at the start of an export of this range, in epoch milliseconds.
    pub fn new(start: Option<i64>, end: Option<i64>) -> Self {
        Self {
            parts: vec![(start, end)],
            cursor: None,
            last_page: Vec::new(),
            shape: None,
            numbered: 0,
            largest: 0,
            counts: Counts::default(),
        }
    }
}

impl<'a> History<'a> {
    /// Reads through `patient` the history that `query` selects; this type decides its range, cursor and limit.
    pub fn new(patient: &'a Patient<'a>, query: HistoryQuery) -> Self {
        Self { patient, query }
    }

    /// Reads everything that is still missing into `staging`.
    pub async fn read(&self, staging: &mut Stage, state: &mut HistoryState) -> Result<(), ExportError> {
        self.patient.count(|counts| *counts = state.counts);
        while let Some(&(start, end)) = state.parts.last() {
            let query = HistoryQuery {
                start: start.map(Timestamp::from_millis),
                end: end.map(Timestamp::from_millis),
                limit: Some(PAGE),
                cursor: state.cursor.clone(),
                ..self.query.clone()
            };
            let page = self.patient.history(&query).await?;
            let shape = shape_of(&page);
            if state.shape.is_none() {
                state.shape = shape;
            }
            let entries = page.conversations.len();
            let cut = shape == Some(Shape::Questions) && entries > HANDFUL && entries >= state.largest;
            if shape == Some(Shape::Questions) {
                state.largest = state.largest.max(entries);
            }
            match (start, end) {
                (Some(start), Some(end)) if cut && end - start > 1 => {
                    let middle = start + (end - start) / 2;
                    state.parts.pop();
                    state.parts.extend([(Some(start), Some(middle)), (Some(middle + 1), Some(end))]);
                }
                _ => {
                    if cut {
                        self.patient
                            .watcher()
                            .note("one moment holds as many questions as a page; some may be missing");
                    }
                    self.take(&page, staging, state);
                }
            }
            state.counts = self.patient.counts();
            staging.commit(state)?;
            self.patient.watcher().page(&Place { fraction: None, counts: state.counts });
        }
        Ok(())
    }

    /// Keeps the entries of a page and decides where to go on.
    fn take(&self, page: &HistoryPage, staging: &mut Stage, state: &mut HistoryState) {
        let known: HashSet<&String> = state.last_page.iter().collect();
        let mut keys = Vec::new();
        let mut news = false;
        for entry in &page.conversations {
            let json = entry.raw.to_string();
            let key = if let Some(id) = &entry.id {
                id.clone()
            } else {
                state.numbered += 1;
                format!("{NUMBERED}{}", state.numbered)
            };
            let seen = format!("{key} {:016x}", digest(&json));
            news |= !known.contains(&seen);
            staging.append(created(entry), &key, &json);
            keys.push(seen);
        }
        let next = page.following().filter(|next| news && state.cursor.as_deref() != Some(*next));
        state.cursor = next.map(str::to_owned);
        state.last_page = keys;
        if state.cursor.is_none() {
            state.parts.pop();
            state.last_page.clear();
            if page.has_more && news {
                self.patient
                    .watcher()
                    .note("Fini says there is more but not how to get it; the export may be incomplete");
            }
        }
    }
}

fn created(entry: &HistoryConversation) -> Option<i64> {
    let first = entry.requests.first().and_then(|request| request.created_at);
    entry.created_at.or(first).map(Timestamp::as_millis)
}

fn shape_of(page: &HistoryPage) -> Option<Shape> {
    let first = page.conversations.first()?;
    let older = first.id.is_none() && first.raw.get("botRequests").is_none();
    Some(if older { Shape::Questions } else { Shape::Conversations })
}
