//! List conversations: pages through what List shows, newest message first.

use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Sandbox;
use super::book::Place;
use super::choices::{ListKey, ListRefusal, SinceReading};
use super::error::VendorError;
use super::model::Conversation;
use super::operate::Answer;
use super::query::{Query, uuid};
use super::world::World;

/// Time for which a gateway waits for a page that the vendor does not get ready.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a page that is larger than anybody would read.
const HUGE: usize = 40_000_000;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Validated parameters.
struct Wanted {
    since: i64,
    until: i64,
    limit: usize,
    cursor: Option<Uuid>,
    towards_newer: bool,
    bots: Vec<String>,
    sources: Vec<String>,
    channels: Vec<String>,
}

/// One page, ready to be written out without holding up other requests.
pub struct Page {
    key: ListKey,
    conversations: Vec<Arc<Conversation>>,
    has_more: bool,
    next_cursor: Option<Uuid>,
    prev_cursor: Option<Uuid>,
    padding: usize,
}

impl Page {
    /// Returns the same page with nothing on it. `has_more`: it claims that there is more, and where.
    pub fn emptied(self, has_more: bool) -> Self {
        let next_cursor = self.next_cursor.filter(|_| has_more);
        Self { conversations: Vec::new(), has_more, next_cursor, prev_cursor: None, ..self }
    }

    /// Returns the same page with so much blank space behind it.
    pub fn padded(self, bytes: usize) -> Self {
        Self { padding: bytes, ..self }
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = match self.key {
            ListKey::Interactions => "interactions",
            ListKey::Conversations => "conversations",
        };
        let conversations: Vec<&Conversation> = self.conversations.iter().map(AsRef::as_ref).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(key, &conversations)?;
        map.serialize_entry("hasMore", &self.has_more)?;
        map.serialize_entry("nextCursor", &self.next_cursor.map(|id| id.to_string()))?;
        map.serialize_entry("prevCursor", &self.prev_cursor.map(|id| id.to_string()))?;
        if self.padding > 0 {
            map.serialize_entry("padding", &" ".repeat(self.padding))?;
        }
        map.end()
    }
}

impl Wanted {
    fn parse(query: &Query, now: i64, page_cap: Option<usize>) -> Result<Self, VendorError> {
        let until = query.time("until")?.unwrap_or(now);
        let since = query.time("since")?.unwrap_or(now.saturating_sub(7 * DAY_MS));
        if since >= until {
            return Err(VendorError::bad_request("since must be earlier than until"));
        }
        if until - since > 90 * DAY_MS {
            return Err(VendorError::bad_request("The window from since to until must not be longer than 90 days"));
        }
        let mut bots = Vec::new();
        for text in query.list("botId") {
            bots.push(uuid("botId", text)?.to_string());
        }
        let texts = |name| query.list(name).into_iter().map(ToOwned::to_owned).collect();
        Ok(Self {
            since,
            until,
            limit: query.limit()?.min(page_cap.unwrap_or(usize::MAX)),
            cursor: query.uuid("cursor")?,
            towards_newer: query.towards_newer()?,
            bots,
            sources: texts("source"),
            channels: texts("channel"),
        })
    }
}

impl World {
    /// Returns the page that a query string asks for.
    pub fn page(&self, query: &Query) -> Result<Page, VendorError> {
        let wanted = Wanted::parse(query, self.now(), self.settings.list_page_cap)?;
        let reading = self.settings.since_reading;
        let matches = |conversation: &&Arc<Conversation>| {
            let time = match reading {
                SinceReading::Created => conversation.created_at,
                SinceReading::Updated => conversation.latest_at,
            };
            (wanted.since..=wanted.until).contains(&time)
                && (conversation.touched || self.settings.list_untouched)
                && among(&wanted.bots, Some(&conversation.bot_id))
                && among(&wanted.sources, Some(&conversation.source))
                && among(&wanted.channels, conversation.channel.as_ref())
        };
        // A conversation is never older than its latest message, so under both readings nothing further back can match.
        let older = |from: Option<Place>| {
            let from = match reading {
                // Past the newest place that can match.
                SinceReading::Updated => from.into_iter().chain([(wanted.until.saturating_add(1), Uuid::nil())]).min(),
                SinceReading::Created => from,
            };
            self.view.older_than(from).take_while(|conversation| conversation.latest_at >= wanted.since).filter(matches)
        };
        let newer = |from: Place| {
            let ends = reading == SinceReading::Updated;
            let inside = move |conversation: &&Arc<Conversation>| !ends || conversation.latest_at <= wanted.until;
            self.view.newer_than(from).take_while(inside).filter(matches)
        };

        let cursor = wanted.cursor.map(|id| self.cursor(id)).transpose()?;
        let (mut conversations, towards_newer): (Vec<_>, bool) = match cursor {
            Some(place) if wanted.towards_newer => (newer(place).take(wanted.limit + 1).cloned().collect(), true),
            place => (older(place).take(wanted.limit + 1).cloned().collect(), false),
        };
        let has_more = conversations.len() > wanted.limit;
        conversations.truncate(wanted.limit);
        if towards_newer {
            conversations.reverse();
        }
        let place = |conversation: &Arc<Conversation>| (conversation.latest_at, conversation.id);
        let (first, last) = (conversations.first().map(place), conversations.last().map(place));
        let any_older =
            if towards_newer { last.is_some_and(|place| older(Some(place)).next().is_some()) } else { has_more };
        let any_newer = if towards_newer { has_more } else { first.is_some_and(|place| newer(place).next().is_some()) };
        Ok(Page {
            key: self.settings.list_key,
            has_more,
            next_cursor: last.filter(|_| any_older).map(|(_, id)| id),
            prev_cursor: first.filter(|_| any_newer).map(|(_, id)| id),
            conversations,
            padding: 0,
        })
    }

    /// Returns the place of a cursor: it follows its conversation, so a moved conversation takes the cursor along.
    fn cursor(&self, id: Uuid) -> Result<Place, VendorError> {
        let known = self.view.get(id).map(|conversation| (conversation.latest_at, id));
        known.ok_or_else(|| VendorError::new(self.settings.unknown_cursor_status, "The cursor names no conversation"))
    }
}

impl Sandbox {
    /// Returns a page, or the answer in place of one that is more than the vendor can do.
    pub(super) async fn list(&self, query: &Query) -> Result<Answer, VendorError> {
        let (page, settings) = {
            let world = self.world();
            (world.page(query)?, world.settings.clone())
        };
        let rows = page.conversations.len();
        let answer = Answer::Page(page);
        let too_much = settings.list_max_rows.is_some_and(|most| rows > most)
            || settings.list_max_bytes.is_some_and(|most| answer.to_bytes(&settings).len() > most);
        if !too_much {
            return Ok(answer);
        }
        match settings.list_refusal {
            ListRefusal::BadRequest => Err(VendorError::bad_request("The page is too large")),
            ListRefusal::Internal => Err(VendorError::internal()),
            ListRefusal::Timeout => {
                tokio::time::sleep(GATEWAY_TIMEOUT).await;
                Err(VendorError::page(504))
            }
            ListRefusal::Huge => Ok(answer.padded(HUGE)),
        }
    }
}

fn among(wanted: &[String], value: Option<&String>) -> bool {
    wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
}
