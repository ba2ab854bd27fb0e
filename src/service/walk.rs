//! Pages of List: read, matched with our conversations, recorded. Where a walk goes and stops is decided by the planner.
//!
//! Most of a page has not changed since the last look; a digest shows that, which costs neither a parse nor a question to
//! the store beyond the owners of its conversations.

mod memory;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use memory::{Memory, Remembered};

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{
    binder::{self, Evidence},
    ledger::Ledger,
    planner::{PageFacts, Row, Walk},
};
use crate::{
    domain::{
        Clock, Timestamp,
        evidence::{
            absent::{may_be, may_be_digest, may_be_reworded},
            newer::{self, Read},
        },
        ids::{ConversationKey, InteractionId},
        turn::TurnState,
        vendor::FiniConversation,
    },
    fini::{ConversationPage, Departure, Failure, FiniApi, ListQuery, RawConversation},
    metrics::LeftOut,
    store::{Bound, ConversationRef, ErasureSearch, Open, Result, SearchEnd, Store, StoreError, UNBOUND, Unbound},
};

/// Conversations of a page that are recorded at once. In the embedded store one commit to disk then serves many of them; in
/// a shared one each has a connection of its own, and replies that are on their way need the others.
const AT_ONCE: (usize, usize) = (16, 4);

/// If Fini shows our keys at all, it shows them within this time, differences of clocks included.
const KEY_WITHIN: Duration = Duration::from_mins(5);
/// The name under which it is remembered that our keys come back.
const KEYS_RETURN: &str = "fini.keys_return";

/// Reads and records pages.
pub struct Walker {
    /// Holds the conversations.
    pub store: Arc<dyn Store>,
    /// Serves the pages.
    pub fini: Arc<dyn FiniApi>,
    /// Records what is found.
    pub ledger: Arc<Ledger>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// The state of each Fini conversation when it was last taken.
    pub memory: Mutex<Memory>,
    /// True once any conversation came back with a key of ours on it.
    pub keys_return: AtomicBool,
}

/// The result of taking a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// True if its messages need no further look while it does not change.
    pub settled: bool,
    /// Time of the next look that its status needs even so.
    pub judge_at: Option<Timestamp>,
    /// Creation time of the oldest of its new events; `None` if it had none.
    pub fresh: Option<Timestamp>,
    /// Its present owner.
    pub owner: Option<ConversationKey>,
    /// State of its owner's turn in flight; `None` if there was none.
    pub turn: Option<TurnState>,
    /// True if it shows nothing that is known of its owner: a picture that lags, or a part.
    pub is_stale: bool,
}

impl Taken {
    const SETTLED: Self = Self { settled: true, judge_at: None, fresh: None, owner: None, turn: None, is_stale: false };
    const OPEN: Self = Self { settled: false, ..Self::SETTLED };
}

/// The result of taking one row of a page.
#[derive(Default)]
struct RowTaken {
    /// The time of its latest event.
    latest: Option<Timestamp>,
    /// Creation time of the oldest of its new events; `None` if it had none.
    fresh: Option<Timestamp>,
    was_bound: bool,
    is_unreadable: bool,
    /// See [`Walk::doubtful`].
    doubtful: Vec<ConversationKey>,
}

impl Walker {
    /// Reads the page at which `walk` stands.
    pub async fn fetch(&self, walk: &Walk, departure: &Departure) -> std::result::Result<ConversationPage, Failure> {
        let query = ListQuery {
            since: Some(walk.since),
            limit: Some(walk.limit),
            cursor: walk.cursor.clone(),
            ..ListQuery::default()
        };
        self.fini.list_conversations(&query, departure).await
    }

    /// Records a page that was asked for at `asked_at`, and tells what it showed.
    pub async fn take(&self, walk: &Walk, page: ConversationPage, asked_at: Timestamp) -> Result<PageFacts> {
        if page.malformed > 0 {
            self.ledger.leave_out(LeftOut::Unreadable, page.malformed);
            tracing::warn!(conversations = page.malformed, "unreadable conversations left out of a List page");
        }
        let unbound = self.store.unbound(UNBOUND).await?;
        let erased = self.store.erasure_searches(UNBOUND).await?;
        let is_searched = !unbound.is_empty() || !erased.is_empty();
        let known: Vec<_> = page.conversations.iter().map(|raw| self.unchanged(raw, is_searched, asked_at)).collect();
        let changed = page.conversations.iter().zip(&known).filter(|(_, known)| known.is_none());
        let changed: Vec<InteractionId> = changed.map(|(raw, _)| raw.id.clone()).collect();
        // Asked for what has changed alone, the store is quick enough: a cache of all owners would be the larger part of
        // what a hundred thousand watched conversations take in memory.
        let owners = if changed.is_empty() { Vec::new() } else { self.store.owners(&changed).await? };
        let (owners, unbound, erased) = (&owners, &unbound, &erased);
        let work = page.conversations.iter().zip(known).map(|(raw, known)| {
            async move {
                if let Some(known) = known {
                    return Ok(RowTaken { latest: Some(known.latest), was_bound: true, ..RowTaken::default() });
                }
                let owner = owners.iter().find(|(id, _)| *id == raw.id).map(|(_, owner)| owner.clone());
                let was_bound = owner.is_some();
                let taken = match self.take_one(raw, owner, unbound, erased, asked_at).await {
                    // The store works and will not have this one: that is its own affair, and the page goes on.
                    Err(StoreError::Internal(error)) => {
                        self.ledger.leave_out(LeftOut::Unrecordable, 1);
                        if let Some(left_out) = self.memory().leave_out(&raw.id) {
                            tracing::error!(
                                interaction_id = %raw.id,
                                left_out,
                                %error,
                                "a conversation could not be recorded, left out"
                            );
                        }
                        RowTaken { latest: raw.latest_at(), is_unreadable: true, ..RowTaken::default() }
                    }
                    taken => taken?,
                };
                Ok::<_, StoreError>(RowTaken { was_bound, ..taken })
            }
            .boxed()
        });
        let at_once = if self.store.is_shared() { AT_ONCE.1 } else { AT_ONCE.0 };
        let mut taken = stream::iter(work.collect::<Vec<_>>()).buffered(at_once).zip(stream::iter(&page.conversations));
        let mut rows = Vec::with_capacity(page.conversations.len());
        let (mut has_holes, mut doubtful) = (page.malformed > 0, BTreeSet::new());
        while let Some((row, raw)) = taken.next().await {
            let row = row?;
            has_holes |= row.is_unreadable;
            doubtful.extend(row.doubtful);
            rows.push(Row { id: raw.id.as_str(), latest: row.latest, fresh: row.fresh, was_bound: row.was_bound });
        }
        drop(taken);
        let mut facts = PageFacts::gather(walk, &rows, page.has_more, page.next_cursor);
        (facts.has_holes, facts.doubtful) = (has_holes, doubtful);
        Ok(facts)
    }

    /// Remembers over restarts that our keys come back, as soon as one does.
    async fn learn_keys(&self, snapshot: &FiniConversation) -> Result<()> {
        if snapshot.conversation_attribute().is_some() && !self.keys_return.swap(true, Ordering::Relaxed) {
            self.store.remember(KEYS_RETURN, "yes").await?;
        }
        Ok(())
    }

    /// Recalls a record made before this process started.
    pub async fn recall_keys(&self) -> Result<()> {
        if self.store.recall(KEYS_RETURN).await?.is_some() {
            self.keys_return.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the conversations whose open message may be in `snapshot`, which belongs to nobody. Once our keys are known
    /// to come back, a snapshot that is still without a key after a while is somebody else's. One with the key of a
    /// conversation may hold its message in another wording: Fini may have cut or escaped it.
    fn doubts(
        &self,
        snapshot: &FiniConversation,
        unbound: &[Unbound],
        erased: &[ErasureSearch],
        seen_at: Timestamp,
    ) -> Vec<ConversationKey> {
        let is_old = snapshot.created_at.plus(KEY_WITHIN) < seen_at;
        let would_show = is_old && self.keys_return.load(Ordering::Relaxed);
        if let Some(attribute) = snapshot.conversation_attribute() {
            let holds_it = |open: &Open| {
                let may_be = |event| may_be_reworded(event, open.role, &open.text, open.sent_at);
                !open.is_given_up && snapshot.events.iter().any(may_be)
            };
            let named = unbound.iter().filter(|candidate| candidate.attribute == attribute);
            let named = named.filter(|candidate| candidate.open.as_ref().is_some_and(holds_it));
            return named.map(|candidate| candidate.conversation.key).collect();
        }
        if would_show {
            return Vec::new();
        }
        let shows = |candidate: &&Unbound| {
            candidate.open.as_ref().filter(|open| !open.is_given_up).is_some_and(|open| {
                let mut events = snapshot.events.iter();
                events.any(|event| may_be(event.text.as_deref(), event.created_at, &open.text, candidate.first_sent_at))
            })
        };
        let sent = |search: &&ErasureSearch| {
            snapshot.events.iter().any(|event| {
                let may_be =
                    |text: &String| may_be_digest(event.text.as_deref(), event.created_at, text, search.first_sent_at);
                search.texts.iter().any(may_be)
            })
        };
        let erased = erased.iter().filter(sent).map(|search| search.conversation);
        unbound.iter().filter(shows).map(|candidate| candidate.conversation.key).chain(erased).collect()
    }

    /// Has it deleted at Fini if it belongs to a conversation that was erased here before it was found. If it also belongs
    /// to somebody else, only the events count as proof, and it is not deleted.
    async fn find_erased(&self, snapshot: &FiniConversation, is_owned: bool, erased: &[ErasureSearch]) -> Result<()> {
        for search in erased {
            let by_event = snapshot.events.iter().any(|event| search.events.contains(&event.id));
            let by_key = !is_owned && snapshot.conversation_attribute() == Some(search.attribute.as_str());
            if by_event || by_key {
                let found = SearchEnd::Found(snapshot.id.clone(), snapshot.latest_message_at());
                let state = self.store.end_erasure_search(search.conversation, found, self.clock.now()).await?;
                tracing::info!(interaction_id = %snapshot.id, ?state, "Fini conversation of an erased one found");
            }
        }
        Ok(())
    }

    /// Returns the entry of a conversation that has not changed. While owners are searched for, one that was nobody's is
    /// looked at again.
    ///
    /// A conversation that has another owner by now needs no look here: once bound anew, it is read singly.
    fn unchanged(&self, raw: &RawConversation, is_searched: bool, seen_at: Timestamp) -> Option<Remembered> {
        let mut memory = self.memory();
        let known = memory.recall(&raw.id).filter(|known| known.digest == raw.digest)?;
        if known.owner.is_none() && is_searched {
            return None;
        }
        memory.see(&raw.id, seen_at);
        Some(known)
    }

    /// Takes one conversation of a page.
    async fn take_one(
        &self,
        raw: &RawConversation,
        owner: Option<ConversationRef>,
        unbound: &[Unbound],
        erased: &[ErasureSearch],
        seen_at: Timestamp,
    ) -> Result<RowTaken> {
        let snapshot = match raw.parse() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.ledger.leave_out(LeftOut::Unreadable, 1);
                tracing::warn!(interaction_id = %raw.id, %error, "unreadable conversation left out");
                return Ok(RowTaken { is_unreadable: true, ..RowTaken::default() });
            }
        };
        self.learn_keys(&snapshot).await?;
        let latest = snapshot.latest_at();
        let doubtful = if owner.is_none() { self.doubts(&snapshot, unbound, erased, seen_at) } else { Vec::new() };
        self.find_erased(&snapshot, owner.is_some(), erased).await?;
        let read = Read::Listed;
        let taken = self.take_snapshot(snapshot, owner, unbound, (read, newer::as_of(read, seen_at))).await?;
        if taken.settled && taken.judge_at.is_none() {
            self.memory().remember(&raw.id, Remembered { digest: raw.digest, owner: taken.owner, latest, seen_at });
        }
        let doubtful = if taken.owner.is_none() { doubtful } else { Vec::new() };
        Ok(RowTaken { latest: Some(latest), fresh: taken.fresh, doubtful, ..RowTaken::default() })
    }

    /// Returns when the conversation was last shown and the time of its latest event then, among what is remembered of it.
    pub fn recall(&self, id: &InteractionId) -> Option<Remembered> {
        self.memory().recall(id)
    }

    /// Notes that a request that began at `seen_at` read the conversation by itself.
    pub fn saw(&self, id: &InteractionId, latest: Option<Timestamp>, seen_at: Timestamp) {
        let mut memory = self.memory();
        let known = memory.recall(id);
        match (known, latest) {
            (None, _) => {
                // A digest that the next List page will not confirm: it is parsed once.
                let latest = latest.unwrap_or(Timestamp::ZERO);
                memory.remember(id, Remembered { digest: 0, owner: None, latest, seen_at });
            }
            (Some(_), _) => memory.see(id, seen_at),
        }
    }

    /// Forgets what every conversation was like.
    pub fn forget(&self) {
        *self.memory() = Memory::default();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a parsed snapshot that was read in the way of `read`; it shows the truth at `as_of` or later.
    async fn take_snapshot(
        &self,
        snapshot: FiniConversation,
        owner: Option<ConversationRef>,
        unbound: &[Unbound],
        (read, as_of): (Read, Timestamp),
    ) -> Result<Taken> {
        let mut owner = owner;
        let mut is_open = false;
        for (candidate, evidence) in binder::claims(&snapshot, unbound) {
            if owner.as_ref() == Some(&candidate.conversation) {
                continue;
            }
            // It may be mixed into somebody's conversation; that is only known once its message is there.
            if owner.is_some() && evidence == Evidence::Attribute {
                is_open = true;
                continue;
            }
            match self.bind(candidate, &snapshot).await? {
                Bound::Now | Bound::Already => owner = Some(candidate.conversation.clone()),
                Bound::Quarantined { .. } => {}
                Bound::Stale => is_open = true,
            }
        }
        let Some(owner) = owner else { return Ok(if is_open { Taken::OPEN } else { Taken::SETTLED }) };
        let interaction = snapshot.id.clone();
        let recorded = self.ledger.snapshot(&owner, snapshot, as_of, read == Read::Singly).await?;
        if recorded.quarantined {
            log_quarantine(&owner, &interaction, None);
        }
        let fresh = recorded.new_events.iter().min().copied();
        let settled = recorded.counted && !recorded.doubtful && !is_open;
        Ok(Taken {
            settled,
            judge_at: recorded.judge_at,
            fresh,
            owner: Some(owner.key),
            turn: recorded.turn,
            is_stale: recorded.is_behind,
        })
    }

    /// Takes the snapshot that was just read singly for the conversation that is bound to it. Somebody else may be mixed into
    /// it as well as into one of a page.
    pub async fn take_single(
        &self,
        snapshot: FiniConversation,
        owner: &ConversationRef,
        asked_at: Timestamp,
    ) -> Result<Taken> {
        let unbound = self.store.unbound(UNBOUND).await?;
        let read = Read::Singly;
        self.take_snapshot(snapshot, Some(owner.clone()), &unbound, (read, newer::as_of(read, asked_at))).await
    }

    async fn bind(&self, candidate: &Unbound, snapshot: &FiniConversation) -> Result<Bound> {
        let bound = self.store.bind(candidate.conversation.key, snapshot, self.clock.now()).await?;
        match &bound {
            Bound::Now => tracing::info!(
                frontend = %candidate.conversation.frontend,
                conversation_id = %candidate.conversation.id,
                interaction_id = %snapshot.id,
                "conversation bound"
            ),
            Bound::Quarantined { owner } => log_quarantine(&candidate.conversation, &snapshot.id, owner.as_ref()),
            Bound::Already | Bound::Stale => {}
        }
        Ok(bound)
    }
}

fn log_quarantine(conversation: &ConversationRef, interaction: &InteractionId, owner: Option<&ConversationRef>) {
    tracing::error!(
        frontend = %conversation.frontend,
        conversation_id = %conversation.id,
        interaction_id = %interaction,
        owner = owner.map_or("", |owner| owner.id.as_str()),
        "conversation quarantined: an operator has to settle it"
    );
}
