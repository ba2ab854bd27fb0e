//! Everything the simulated vendor knows, and the passage of time in it.
//!
//! Nothing runs in the background: what falls due (a reply, a row becoming visible in List) is caught up with at the
//! start of every operation, in order of its time. A shifted clock therefore takes everything with it, and dropping the
//! sandbox leaves no task behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::SandboxError;
use super::audit::Audit;
use super::book::Book;
use super::fault::Faults;
use super::limit::Window;
use super::model::{Conversation, Event};
use super::script::{Draft, Handover};
use super::settings::{ApiKey, Bot, Clock, ListOrder, SandboxConfig, Settings};
use super::turn::Turn;

/// The state behind the sandbox's one lock.
pub struct World {
    /// Present behaviour.
    pub settings: Settings,
    /// Accepted keys.
    pub api_keys: Vec<ApiKey>,
    /// Known agents, with the time they were made.
    pub bots: Vec<(Bot, i64)>,
    /// What is so: Get, deletes and control routes.
    pub truth: Book,
    /// What List shows.
    pub view: Book,
    /// The throttle.
    pub window: Window,
    /// Faults waiting to strike.
    pub faults: Faults,
    /// What was asked and stored.
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

/// When something falls due (epoch milliseconds), and a number that tells equals apart.
type Due = (i64, u64);

enum Pending {
    Reply { conversation: Uuid, drafts: Vec<Draft>, handover: Handover, outcome: Outcome },
    Ingest(Turn),
}

type Outcome = Arc<OnceLock<Vec<Arc<Event>>>>;

/// A reply on its way, for whoever waits for it.
pub struct Awaited {
    due: Due,
    outcome: Outcome,
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

    /// The vendor's present time, epoch milliseconds.
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

    /// A fresh UUID.
    pub fn new_id(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Stores a conversation as it now is; List shows it after the lag.
    pub fn write(&mut self, conversation: Conversation, at: i64) {
        let conversation = Arc::new(conversation);
        self.truth.put(Arc::clone(&conversation));
        self.publish(Publication::Put(conversation), at);
    }

    /// Forgets a conversation; `false` when there was none.
    pub fn erase(&mut self, id: Uuid) -> bool {
        let known = self.truth.remove(id);
        if known {
            let now = self.now();
            self.publish(Publication::Remove(id), now);
        }
        known
    }

    /// Forgets every conversation and everything on its way.
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

    /// Adds events to a conversation and says which; nothing when it is gone meanwhile.
    pub fn append(&mut self, id: Uuid, drafts: Vec<Draft>, at: i64) -> Vec<Arc<Event>> {
        let events: Vec<_> = drafts.into_iter().map(|draft| self.event(draft, at)).collect();
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
    pub fn schedule_reply(
        &mut self,
        conversation: Uuid,
        drafts: Vec<Draft>,
        handover: Handover,
        at: i64,
        delay_ms: u64,
    ) -> Awaited {
        let outcome = Outcome::default();
        let reply = Pending::Reply { conversation, drafts, handover, outcome: Arc::clone(&outcome) };
        Awaited { due: self.schedule(reply, at, delay_ms), outcome }
    }

    /// Has a whole message arrive after `delay_ms`, as when a proxy holds it back after its sender has given up.
    pub fn schedule_ingest(&mut self, turn: Turn, delay_ms: u64) {
        let now = self.now();
        self.schedule(Pending::Ingest(turn), now, delay_ms);
    }

    /// The reply's events, stored now at the latest. Nothing when the conversation is gone meanwhile.
    pub fn collect(&mut self, awaited: &Awaited) -> Vec<Arc<Event>> {
        let now = self.now();
        self.settle(awaited.due, now);
        awaited.outcome.get().cloned().unwrap_or_default()
    }

    /// Puts a conversation into a human's hands or lets the bot go on.
    pub fn hand_over(&mut self, id: Uuid, handover: Handover, at: i64) {
        let Some(conversation) = self.truth.get(id).filter(|_| handover != Handover::None) else { return };
        let mut conversation = Conversation::clone(conversation);
        conversation.human_owned = true;
        conversation.ever_escalated = true;
        if handover == Handover::Status {
            conversation.status = Some(self.settings.escalated_status.clone());
        }
        self.write(conversation, at);
    }

    /// An event from its draft.
    pub fn event(&mut self, draft: Draft, at: i64) -> Arc<Event> {
        let mut event = Event {
            id: self.new_id().to_string(),
            created_at: at,
            role: draft.role,
            kind: draft.kind,
            message: draft.message,
            csat_rating: None,
            feedback: None,
            approved: None,
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
        Arc::new(event)
    }

    fn schedule(&mut self, what: Pending, at: i64, delay_ms: u64) -> Due {
        self.sequence += 1;
        let due = (at.saturating_add(millis(delay_ms)), self.sequence);
        self.pending.insert(due, what);
        due
    }

    fn settle(&mut self, due: Due, at: i64) {
        match self.pending.remove(&due) {
            Some(Pending::Reply { conversation, drafts, handover, outcome }) => {
                let events = self.append(conversation, drafts, at);
                self.hand_over(conversation, handover, at);
                // Only this place sets it, and it has just taken the one entry that holds it.
                let _ = outcome.set(events);
            }
            // Nobody is left to be told that it was refused.
            Some(Pending::Ingest(turn)) => drop(self.begin(&turn, super::turn::Reply::Normal, at)),
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

/// Milliseconds as the clock counts them.
pub fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
