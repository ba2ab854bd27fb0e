//! The state of the simulated vendor, and the passage of time in it.
//!
//! Nothing runs in the background: every operation first catches up with what has fallen due (a reply, a row becoming
//! visible in List), in order of its time. A shifted clock therefore takes everything with it, and dropping the sandbox
//! leaves no task behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::SandboxError;
use super::audit::Audit;
use super::book::Book;
use super::choices::ListOrder;
use super::config::{ApiKey, Bot, Clock, SandboxConfig};
use super::error::VendorError;
use super::exchange::{Begun, Ingest};
use super::fault::Faults;
use super::late::Late;
use super::limit::Window;
use super::model::{Conversation, Event};
use super::reply::Coming;
use super::script::Draft;
use super::settings::Settings;

/// The state behind the sandbox's one lock.
pub struct World {
    /// Present behaviour.
    pub settings: Settings,
    /// Accepted keys.
    pub api_keys: Vec<ApiKey>,
    /// Names under which its server answers.
    pub hosts: Vec<String>,
    /// Known agents, with the time they were made.
    pub bots: Vec<(Bot, i64)>,
    /// The true state, for Get, deletes and control routes.
    pub truth: Book,
    /// The state that List shows.
    pub view: Book,
    /// The throttle.
    pub window: Window,
    /// Faults waiting to strike.
    pub faults: Faults,
    /// The record of requests and stored messages.
    pub audit: Audit,
    clock: Clock,
    rng: fastrand::Rng,
    publications: VecDeque<(i64, Publication)>,
    pending: BTreeMap<Due, Pending>,
    sequence: u64,
}

enum Publication {
    Put(Arc<Conversation>),
    Remove(Uuid),
}

/// The time at which something falls due (epoch milliseconds), and a number that tells equals apart.
type Due = (i64, u64);

enum Pending {
    Reply(Coming, Slot<Option<Vec<Arc<Event>>>>),
    Ingest(Ingest, Slot<Result<Begun, VendorError>>),
    Change(Uuid, Late),
}

type Slot<T> = Arc<OnceLock<T>>;

/// Something that is on its way, for a caller that waits for it.
#[derive(Clone)]
pub struct Awaited<T> {
    due: Due,
    slot: Slot<T>,
}

impl World {
    pub fn new(config: SandboxConfig) -> Self {
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut rng = fastrand::Rng::with_seed(seed);
        let faults = Faults::new(rng.u64(..));
        let now = (config.clock)().saturating_add(config.settings.clock_offset_ms);
        Self {
            settings: config.settings,
            api_keys: config.api_keys,
            hosts: config.hosts,
            bots: config.bots.into_iter().map(|bot| (bot, now)).collect(),
            truth: Book::default(),
            view: Book::default(),
            window: Window::default(),
            faults,
            audit: Audit::default(),
            clock: config.clock,
            rng,
            publications: VecDeque::new(),
            pending: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Returns the vendor's present time, epoch milliseconds.
    pub fn now(&self) -> i64 {
        (self.clock)().saturating_add(self.settings.clock_offset_ms)
    }

    /// Catches up with everything that has fallen due.
    pub fn tick(&mut self) {
        let now = self.now();
        while let Some((&due, _)) = self.pending.first_key_value()
            && due.0 <= now
        {
            self.settle(due, due.0);
        }
        self.publish_due(now);
    }

    /// Returns a fresh UUID.
    pub fn new_id(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Stores a conversation in its present state; List shows it after the lag.
    pub fn write(&mut self, conversation: Conversation, at: i64) {
        let conversation = Arc::new(conversation);
        self.truth.put(Arc::clone(&conversation));
        self.publish(Publication::Put(conversation), at);
    }

    /// Removes a conversation; `false` if there was none.
    pub fn erase(&mut self, id: Uuid) -> bool {
        let known = self.truth.remove(id);
        if known {
            let now = self.now();
            self.publish(Publication::Remove(id), now);
        }
        known
    }

    /// Removes every conversation and everything on its way.
    pub fn clear(&mut self) {
        self.truth = Book::default();
        self.view = Book::default();
        self.publications.clear();
        self.pending.clear();
    }

    /// Finds a conversation by its id, by `key:value` of a user attribute (the one with the newest message), or as `latest`.
    pub fn find(&self, key: &str) -> Result<&Arc<Conversation>, SandboxError> {
        let found = if let Ok(id) = Uuid::parse_str(key) {
            self.truth.get(id)
        } else if key == "latest" {
            self.truth.older_than(None).next()
        } else {
            let newest =
                key.split_once(':').and_then(|(name, value)| self.truth.with_attribute(name, value).into_iter().next());
            newest.and_then(|conversation| self.truth.get(conversation.id))
        };
        found.ok_or_else(|| SandboxError::UnknownConversation(key.to_owned()))
    }

    /// Adds events to a conversation and returns them; nothing if it was deleted meanwhile.
    pub fn append(&mut self, id: Uuid, drafts: Vec<Draft>, at: i64) -> Vec<Arc<Event>> {
        let events: Vec<_> = drafts.into_iter().map(|draft| Arc::new(self.event(draft, at))).collect();
        self.append_events(id, events, at)
    }

    /// Adds finished events to a conversation.
    pub fn append_events(&mut self, id: Uuid, events: Vec<Arc<Event>>, at: i64) -> Vec<Arc<Event>> {
        let Some(conversation) = self.truth.get(id) else { return Vec::new() };
        let mut conversation = Conversation::clone(conversation);
        for event in &events {
            if self.settings.list_order == ListOrder::AnyEvent || event.is_visible_message() {
                conversation.latest_at = conversation.latest_at.max(event.created_at);
            }
            conversation.touched |= event.role == "finibot";
        }
        conversation.events.extend(events.iter().cloned());
        self.write(conversation, at);
        events
    }

    /// Has a reply turn up after `delay_ms`.
    pub fn schedule_reply(&mut self, coming: Coming, at: i64, delay_ms: u64) -> Awaited<Option<Vec<Arc<Event>>>> {
        let slot = Slot::default();
        Awaited { due: self.schedule(Pending::Reply(coming, Arc::clone(&slot)), at, delay_ms), slot }
    }

    /// Has a whole message arrive after `delay_ms`, whether or not its sender is still there.
    pub fn schedule_ingest(&mut self, ingest: Ingest, delay_ms: u64) -> Awaited<Result<Begun, VendorError>> {
        let (now, slot) = (self.now(), Slot::default());
        Awaited { due: self.schedule(Pending::Ingest(ingest, Arc::clone(&slot)), now, delay_ms), slot }
    }

    /// Has a conversation change after `delay_ms`.
    pub fn later(&mut self, conversation: Uuid, change: Late, at: i64, delay_ms: u64) {
        self.schedule(Pending::Change(conversation, change), at, delay_ms);
    }

    /// Returns the result of something awaited, which happens now at the latest. `None` if everything was removed
    /// meanwhile.
    pub fn collect<T: Clone>(&mut self, awaited: &Awaited<T>) -> Option<T> {
        let now = self.now();
        self.settle(awaited.due, now);
        awaited.slot.get().cloned()
    }

    /// Draws a number below `sides`.
    pub fn dice(&mut self, sides: usize) -> usize {
        self.rng.usize(..sides)
    }

    /// Draws a number from 1 to `most`.
    pub fn upto(&mut self, most: i64) -> i64 {
        self.rng.i64(1..=most)
    }

    /// Returns true with this chance.
    pub fn chance(&mut self, odds: f64) -> bool {
        odds >= 1.0 || self.rng.f64() < odds
    }

    /// Returns a time as the vendor writes it down.
    pub fn stamp(&self, at: i64) -> i64 {
        let grain = millis(self.settings.time_grain_ms).max(1);
        at.div_euclid(grain).saturating_mul(grain)
    }

    /// Makes an event from its draft.
    pub fn event(&mut self, draft: Draft, at: i64) -> Event {
        let mut event = Event {
            id: self.new_id().to_string(),
            created_at: self.stamp(at),
            role: draft.role,
            kind: draft.kind,
            message: draft.message,
            csat_rating: None,
            feedback: None,
            approved: None,
            tags: Vec::new(),
            used_articles: draft.articles,
            raw: None,
        };
        if draft.odd {
            let shown = serde_json::to_value(&event).ok().and_then(|value| value.as_object().cloned());
            event.raw = shown.map(|mut fields| {
                fields.insert("confidence".into(), 0.5.into());
                fields.insert("workflow".into(), serde_json::json!({"step": 3, "name": "from a later version"}));
                Box::new(fields)
            });
        }
        event
    }

    fn schedule(&mut self, what: Pending, at: i64, delay_ms: u64) -> Due {
        self.sequence += 1;
        let due = (at.saturating_add(millis(delay_ms)), self.sequence);
        self.pending.insert(due, what);
        due
    }

    fn settle(&mut self, due: Due, at: i64) {
        // Only the holder of the one entry with the slot, just removed, sets it.
        match self.pending.remove(&due) {
            Some(Pending::Reply(coming, slot)) => drop(slot.set(self.arrive(coming, at))),
            Some(Pending::Ingest(ingest, slot)) => drop(slot.set(self.ingest(&ingest, at))),
            Some(Pending::Change(conversation, change)) => self.change_late(conversation, change, at),
            None => {}
        }
    }

    fn publish(&mut self, publication: Publication, at: i64) {
        self.publications.push_back((at, publication));
        let now = self.now();
        self.publish_due(now);
    }

    fn publish_due(&mut self, now: i64) {
        let lag = millis(self.settings.list_lag_ms);
        while let Some((_, publication)) =
            self.publications.pop_front_if(|(written, _)| written.saturating_add(lag) <= now)
        {
            match publication {
                Publication::Put(conversation) => self.view.put(conversation),
                Publication::Remove(id) => {
                    self.view.remove(id);
                }
            }
        }
    }
}

/// Converts milliseconds to the clock's type.
pub fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
