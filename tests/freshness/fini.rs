//! A model of Fini for virtual time: conversations, what List shows of them, and when. It keeps to the pages "List
//! conversations" and "Generate Answer": newest latest message first, a conversation as cursor, and a status that moves
//! nothing.

use std::collections::{BTreeSet, VecDeque};

/// What happened in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An agent wrote.
    Agent,
    /// The status changed, and nothing else.
    Status,
    /// A message of ours, or the bot's answer to it.
    Turn,
}

#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub version: u32,
    pub at: i64,
    pub what: Happening,
}

#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub created: i64,
    pub latest: i64,
    pub escalated: bool,
    pub version: u32,
    /// What no read has shown yet.
    pub unseen: Vec<Change>,
    listed: Option<(i64, u32)>,
}

/// One row of a page as it was when Fini made it.
#[derive(Clone, Copy, Debug)]
pub struct ListedRow {
    pub conversation: usize,
    pub latest: i64,
    pub version: u32,
}

#[derive(Debug, Default)]
pub struct Page {
    pub rows: Vec<ListedRow>,
    pub has_more: bool,
}

#[derive(Debug, Default)]
pub struct Fini {
    pub conversations: Vec<Conversation>,
    order: BTreeSet<(i64, usize)>,
    published: VecDeque<(i64, usize, i64, u32)>,
    /// How far List stays behind, in milliseconds.
    lag: i64,
    /// Whether `since` is compared with the creation instead of the latest message.
    since_is_creation: bool,
}

impl Fini {
    pub fn new(lag: i64, since_is_creation: bool) -> Self {
        Self { lag, since_is_creation, ..Self::default() }
    }

    /// A new conversation; gives its number.
    pub fn open(&mut self, at: i64, escalated: bool) -> usize {
        self.conversations.push(Conversation { created: at, latest: at, escalated, ..Conversation::default() });
        self.conversations.len() - 1
    }

    /// Something happens.
    pub fn happen(&mut self, number: usize, at: i64, what: Happening) {
        let conversation = &mut self.conversations[number];
        conversation.version += 1;
        if what != Happening::Status {
            conversation.latest = conversation.latest.max(at);
        }
        conversation.unseen.push(Change { version: conversation.version, at, what });
        self.published.push_back((at + self.lag, number, conversation.latest, conversation.version));
    }

    /// List shows the conversation as it is.
    pub fn show(&mut self, number: usize) {
        let (latest, version) = (self.conversations[number].latest, self.conversations[number].version);
        self.publish(number, latest, version);
    }

    fn publish(&mut self, number: usize, latest: i64, version: u32) {
        let conversation = &mut self.conversations[number];
        if let Some((old, _)) = conversation.listed.replace((latest, version)) {
            self.order.remove(&(old, number));
        }
        self.order.insert((latest, number));
    }

    /// The page below `cursor`, of conversations without a message before `since` left out.
    pub fn list(&mut self, now: i64, cursor: Option<usize>, since: i64, limit: usize) -> Page {
        while let Some(&(at, number, latest, version)) = self.published.front()
            && at <= now
        {
            self.published.pop_front();
            self.publish(number, latest, version);
        }
        let below = cursor.and_then(|number| self.conversations[number].listed.map(|(latest, _)| (latest, number)));
        let upper = below.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let matching = self.order.range((std::ops::Bound::Unbounded, upper)).rev().filter(|(latest, number)| {
            let by_creation = self.conversations[*number].created;
            since <= if self.since_is_creation { by_creation } else { *latest }
        });
        let mut rows: Vec<ListedRow> = matching
            .take(limit + 1)
            .map(|&(latest, conversation)| {
                let version = self.conversations[conversation].listed.map_or(0, |(_, version)| version);
                ListedRow { conversation, latest, version }
            })
            .collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Page { rows, has_more }
    }

    /// A read showed the conversation up to `version`: what it had not shown before.
    pub fn seen(&mut self, number: usize, version: u32) -> Vec<Change> {
        let unseen = &mut self.conversations[number].unseen;
        let (shown, rest) = unseen.iter().partition(|change| change.version <= version);
        *unseen = rest;
        shown
    }
}
