//! The verdict: what was written, against what the vendor stored, what the feed shows and what the receiver got.

mod callbacks;
mod fate;
mod shown;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fini_bridge::sandbox::{AuditReport, Conversation};

use crate::{
    book::Pages,
    feed::Feed,
    receiver::Arrival,
    world::{LIMIT, World},
};

/// Everything that is compared.
pub struct Evidence {
    pub pages: Pages,
    pub vendor: AuditReport,
    /// The vendor's conversations that messages of this run were stored in.
    pub interactions: HashMap<String, Arc<Conversation>>,
    pub feeds: BTreeMap<String, Feed>,
    pub arrivals: BTreeMap<String, Vec<Arrival>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<String>,
    /// Turns by how they ended, and other figures.
    pub counts: BTreeMap<String, u64>,
}

impl Verdict {
    fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    fn count(&mut self, what: impl Into<String>, by: u64) {
        *self.counts.entry(what.into()).or_default() += by;
    }
}

impl Evidence {
    /// Gathers what can be seen now.
    pub fn gather(world: &World, feeds: BTreeMap<String, Feed>) -> Self {
        let vendor = world.sandbox.audit(0, true);
        let interactions =
            vendor.inbound.keys().filter_map(|id| Some((id.clone(), world.sandbox.conversation(id).ok()?))).collect();
        let open = world.book.open();
        let pages = Pages {
            talks: open.talks.clone(),
            desk: open.desk.clone(),
            violations: open.violations.clone(),
            counts: open.counts.clone(),
        };
        drop(open);
        Self { pages, vendor, interactions, feeds, arrivals: world.receiver.arrivals() }
    }

    /// Compares.
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict { violations: self.pages.violations.clone(), counts: self.pages.counts.clone() };
        let stored = fate::stored(self, &mut verdict);
        for (conversation, messages) in &self.pages.talks {
            let Some(feed) = self.feeds.get(conversation) else {
                verdict.wrong(format!("{conversation}: no feed"));
                continue;
            };
            fate::judge(self, conversation, messages, feed, &stored, &mut verdict);
            shown::judge(conversation, messages, feed, &mut verdict);
            let arrivals = self.arrivals.get(conversation).map_or(&[][..], Vec::as_slice);
            callbacks::judge(conversation, feed, arrivals, &mut verdict);
        }
        shown::judge_vendor(self, &stored, &mut verdict);
        if self.vendor.max_in_window > LIMIT.requests {
            let most = self.vendor.max_in_window;
            verdict.wrong(format!("budget: {most} requests in one window of {} ms", LIMIT.window_ms));
        }
        verdict.count("requests to Fini", self.vendor.requests);
        verdict.count("most requests in a window", u64::try_from(self.vendor.max_in_window).unwrap_or(u64::MAX));
        verdict
    }
}
