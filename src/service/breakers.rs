//! The breakers on the way to Fini, shared by all that asks Fini: the pure [`Scopes`] with a clock, a lock and a log.
//!
//! Work that meets an open breaker stays where it is: queued and durable. The only decision here is which scope a
//! [`Failure`] says something about, and what.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    domain::{
        Clock, Entropy, Timestamp,
        breaker::State,
        scopes::{About, Change, Outcome, Scope, Scopes, Side, Trouble, Way},
    },
    fini::{Failure, budget::Budget},
    lifecycle::Wake,
    metrics::Metrics,
};

/// Settings of the breakers.
#[derive(Clone, Debug)]
pub struct BreakerSettings {
    /// The bots of all frontends, each once.
    pub bots: Vec<String>,
    /// True if reading and writing use the same key.
    pub is_one_key: bool,
}

/// The breakers.
pub struct Breakers {
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// Draws jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Assumes a lower limit after a 429.
    pub budget: Arc<Budget>,
    /// Counts refused keys.
    pub metrics: Metrics,
    /// Woken when something has to be found out.
    pub prober: Wake,
    /// The bots, in the order of their numbers.
    bots: Vec<String>,
    scopes: Mutex<Scopes>,
}

impl Breakers {
    /// Creates the breakers, all closed.
    pub fn new(
        settings: BreakerSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        budget: Arc<Budget>,
        metrics: Metrics,
        prober: Wake,
    ) -> Self {
        let scopes = Mutex::new(Scopes::new(settings.bots.len(), settings.is_one_key));
        Self { clock, entropy, budget, metrics, prober, bots: settings.bots, scopes }
    }

    /// Returns the number of a bot.
    pub fn bot(&self, bot: &str) -> usize {
        self.bots.iter().position(|known| known == bot).unwrap_or(usize::MAX)
    }

    /// Returns the state that messages for a bot meet.
    pub fn sends(&self, bot: usize) -> State<Trouble> {
        let now = self.clock.now();
        self.scopes().sends(bot, now)
    }

    /// Returns the state that deletions meet.
    pub fn deletions(&self) -> State<Trouble> {
        let now = self.clock.now();
        self.scopes().deletions(now)
    }

    /// Returns the state that reads in this way meet.
    pub fn reads(&self, way: Way) -> State<Trouble> {
        let now = self.clock.now();
        self.scopes().reads(way, now)
    }

    /// Notes that a message goes as a probe of its bot: no other goes until its end is known, or for `patience` at most.
    pub fn probe_send(&self, bot: usize, patience: Duration) {
        let until = self.clock.now().plus(patience);
        self.scopes().probe_send(bot, until);
    }

    /// Likewise for a read.
    pub fn probe_reads(&self, way: Way, patience: Duration) {
        let until = self.clock.now().plus(patience);
        self.scopes().probe_reads(way, until);
    }

    /// Returns when List agents is to be asked next, as a probe of key and vendor.
    pub fn next_probe_at(&self) -> Option<Timestamp> {
        self.scopes().next_probe_at()
    }

    /// Notes that it is asked: work that waits for the probe goes on waiting, for `patience` at most.
    pub fn probe(&self, patience: Duration) {
        let now = self.clock.now();
        self.scopes().probe(now.plus(patience), now);
    }

    /// Returns the trouble of a key, if any.
    pub fn key_trouble(&self, side: Side) -> Option<Trouble> {
        self.scopes().key_trouble(side)
    }

    /// Returns true if Fini has accepted this key at least once since the start, and not refused it since.
    pub fn was_accepted(&self, side: Side) -> bool {
        self.scopes().was_accepted(side)
    }

    /// Returns when a send of that bot last succeeded, as far as this process knows.
    pub fn succeeded_at(&self, bot: usize) -> Option<Timestamp> {
        self.scopes().succeeded_at(bot)
    }

    /// Returns since when reads cannot be made in this way, if they cannot.
    pub fn unread_since(&self, way: Way) -> Option<Timestamp> {
        self.scopes().unread_since(way)
    }

    /// Returns everything that is left alone: the scope, its bot if it is one, the trouble, and since when.
    pub fn open(&self) -> Vec<(&'static str, Option<&str>, Trouble, Timestamp)> {
        let now = self.clock.now();
        let open = self.scopes().open(now);
        open.into_iter().map(|(scope, why, since)| (scope.as_str(), self.named(scope), why, since)).collect()
    }

    /// Learns from the end of a request that began at `began_at`. Returns true if something is left alone from now on, or no
    /// more.
    pub fn learn<T>(&self, about: About, began_at: Timestamp, result: &Result<T, Failure>) -> bool {
        if matches!(result, Err(Failure::Throttled { .. })) {
            self.budget.shrink();
        }
        let jitter = self.entropy.fraction();
        let mut scopes = self.scopes();
        // Read under the lock: a request that begins after this moment has met what is learnt now.
        let now = self.clock.now();
        let changes = scopes.learn(about, outcome(about, result), began_at, now, jitter);
        for side in [Side::Write, Side::Read] {
            self.metrics.fini_key_refused(side.as_str(), scopes.key_trouble(side).is_some());
        }
        drop(scopes);
        for change in &changes {
            self.say(*change, result.as_ref().err());
        }
        if !changes.is_empty() {
            self.prober.notify();
        }
        !changes.is_empty()
    }

    fn say(&self, change: Change, failure: Option<&Failure>) {
        match change {
            Change::Opened(scope, trouble) => tracing::warn!(
                scope = scope.as_str(),
                bot = self.named(scope),
                %trouble,
                error = failure.map(tracing::field::display),
                "Fini is left alone for a while"
            ),
            Change::Closed(scope, trouble) => {
                tracing::info!(scope = scope.as_str(), bot = self.named(scope), %trouble, "Fini answers again");
            }
        }
    }

    fn named(&self, scope: Scope) -> Option<&str> {
        let Scope::Bot(number) = scope else { return None };
        self.bots.get(number).map(String::as_str)
    }

    fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome<T>(about: About, result: &Result<T, Failure>) -> Outcome {
    match result {
        Ok(_) | Err(Failure::Rejected { .. } | Failure::Missing { .. }) => Outcome::Answered,
        Err(Failure::Unauthorised { status, .. }) => Outcome::Refused(*status),
        Err(Failure::Throttled { retry_after, .. }) => Outcome::Throttled(*retry_after),
        Err(Failure::NeverLeft { .. }) => Outcome::NotSent,
        // Unknown ids answer so: that concerns this conversation, and is no sign that Fini is down.
        Err(failure) if about == About::Conversation && failure.may_mean_gone() => Outcome::Own,
        Err(Failure::Unclear { retry_after, .. }) => Outcome::Failed(*retry_after),
    }
}
