//! Keeps time: sets the steady clock at the start, keeps processes that share a database agreed on it, and reports when a
//! clock was set.
//!
//! All waits go by the steady clock, which this machine's timer moves; processes that share a database compare its server's
//! clock, and [`domain::steady`](crate::domain::steady) decides what a difference means. A clock that was set is reported
//! once and moves nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{
        Clock as _, ClockOffsets, FAR_OFF, Timestamp, VendorClock, WallClock, WallTime,
        steady::{self, Agreed, Judgement},
    },
    metrics::{ClockOf, Metrics},
    store::{Owner, Result, Store},
    system::SteadyClock,
};

/// Time between two comparisons of clocks.
const EVERY: Duration = Duration::from_secs(2);
/// Time between two records of the steady clock's position.
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// An answer that took longer says too little about the time at which it was given.
const PROMPT: Duration = Duration::from_millis(100);
/// Without prompt answers for so long, a slow one is better than none, unless it is slower than `SLOW`.
const STALE: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(2);
/// A wall clock that deviated so far from the timer was set.
const STEP: Duration = Duration::from_secs(1);
/// Keeps the steady clock.
pub struct Timekeeper {
    store: Arc<dyn Store>,
    wall: Arc<dyn WallClock>,
    steady: Arc<SteadyClock>,
    vendor: Arc<VendorClock>,
    owner: Owner,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The latest reading of the wall clock, and its moment.
    wall: (WallTime, Instant),
    /// The last note that was read or written.
    agreed: Option<Agreed>,
    kept_at: Instant,
    /// Time at which the server was last believed.
    believed_at: Instant,
    /// Start of a doubt about the shared time, and the note that was in force then.
    doubt: Option<(Instant, Option<Agreed>)>,
    server_ahead_ms: Option<i64>,
    is_far_off: [bool; 2],
}

/// An answer of the store: the shared clock (else the wall clock) at that moment, and the note.
struct Heard {
    clock: Timestamp,
    moment: Instant,
    took: Duration,
    agreed: Option<Agreed>,
    is_shared: bool,
}

impl Timekeeper {
    /// Sets the steady clock by the recorded note and the present clocks.
    pub(super) async fn start(
        store: Arc<dyn Store>,
        wall: Arc<dyn WallClock>,
        vendor: Arc<VendorClock>,
        owner: Owner,
        metrics: Metrics,
    ) -> Result<Self> {
        // The first question also makes the connection; the second one is answered promptly.
        ask(store.as_ref(), wall.as_ref()).await?;
        let heard = ask(store.as_ref(), wall.as_ref()).await?;
        let begun = steady::begin(heard.clock, wall.uptime().as_ref(), heard.is_shared, heard.agreed.as_ref());
        let clock = SteadyClock::new(begun);
        clock.set(begun, heard.moment);
        let now = Instant::now();
        let state = State {
            wall: (wall.now(), now),
            agreed: heard.agreed.clone(),
            kept_at: now,
            believed_at: now,
            doubt: None,
            server_ahead_ms: None,
            is_far_off: [false; 2],
        };
        let keeper = Self { store, wall, steady: Arc::new(clock), vendor, owner, metrics, state: Mutex::new(state) };
        if begun.since(heard.clock).max(heard.clock.since(begun)) >= STEP {
            tracing::info!(steady = %begun, clock = %heard.clock, "what waits goes by a time other than the clock's");
        }
        // Another process may have written meanwhile: its note then counts at the next comparison.
        keeper.agree(&heard, begun).await?;
        keeper.compare(&heard);
        Ok(keeper)
    }

    /// Returns the clock that is kept.
    pub(super) fn clock(&self) -> Arc<SteadyClock> {
        Arc::clone(&self.steady)
    }

    /// Returns how far this machine's clock is from others'.
    pub fn offsets(&self) -> ClockOffsets {
        let (wall, steady) = (self.wall.now().as_millis(), self.steady.now().as_millis());
        let server = self.state.lock().unwrap_or_else(PoisonError::into_inner).server_ahead_ms;
        ClockOffsets {
            fini: self.vendor.ahead_ms().map(|ahead| wall - steady - ahead),
            postgres: server.map(|ahead| -ahead),
        }
    }

    /// Keeps the clock for as long as it is polled.
    pub(super) async fn keep(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.watch_wall();
            // Without an answer the timer carries on.
            if let Err(error) = self.step().await {
                tracing::debug!(%error, "the shared time could not be asked for");
            }
        }
    }

    /// Records the clock's position for the next start.
    pub(super) async fn leave(&self) -> Result<()> {
        let heard = ask(self.store.as_ref(), self.wall.as_ref()).await?;
        let at = self.steady.at(heard.moment);
        if heard.is_shared { Ok(()) } else { self.agree(&heard, at).await.map(drop) }
    }

    async fn step(&self) -> Result<()> {
        let heard = ask(self.store.as_ref(), self.wall.as_ref()).await?;
        let believed_at = self.state.lock().unwrap_or_else(PoisonError::into_inner).believed_at;
        let is_stale = heard.moment.saturating_duration_since(believed_at) >= STALE;
        if heard.took > PROMPT && !(is_stale && heard.took <= SLOW) {
            return Ok(());
        }
        let own = self.steady.at(heard.moment);
        if heard.is_shared {
            self.follow(own, &heard).await?;
        } else {
            self.keep_note(&heard, own).await?;
        }
        self.compare(&heard);
        Ok(())
    }

    /// Compares the own time with the shared one.
    async fn follow(&self, own: Timestamp, heard: &Heard) -> Result<()> {
        let shared = heard.agreed.as_ref().map_or(own, |agreed| agreed.steady(heard.clock));
        match self.judge(own, shared, heard) {
            Judgement::Follow => {
                self.steady.set(shared, heard.moment);
                self.keep_note(heard, shared).await
            }
            Judgement::WasSet => {
                if self.agree(heard, own).await? {
                    let (by_ms, fini) = (shared.as_millis() - own.as_millis(), self.fini_shows());
                    let shows = heard.clock;
                    tracing::warn!(by_ms, %shows, steady = %own, fini, "the database server's clock was set; nothing that waits moves");
                }
                Ok(())
            }
            Judgement::Doubtful => Ok(()),
        }
    }

    fn judge(&self, own: Timestamp, shared: Timestamp, heard: &Heard) -> Judgement {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = state.doubt.get_or_insert_with(|| (heard.moment, heard.agreed.clone()));
        let is_others = heard.agreed.as_ref().is_some_and(|agreed| agreed.by != *self.owner.0);
        let confirmed = is_others && heard.agreed != *before;
        let judgement = steady::judge(own, shared, confirmed, heard.moment.saturating_duration_since(*since));
        if judgement != Judgement::Doubtful {
            state.doubt = None;
        }
        if judgement == Judgement::Follow {
            state.believed_at = heard.moment;
            state.agreed.clone_from(&heard.agreed);
        }
        judgement
    }

    async fn keep_note(&self, heard: &Heard, steady_at: Timestamp) -> Result<()> {
        let kept_at = self.state.lock().unwrap_or_else(PoisonError::into_inner).kept_at;
        if heard.moment.saturating_duration_since(kept_at) >= KEPT_EVERY {
            self.agree(heard, steady_at).await?;
        }
        Ok(())
    }

    /// Writes a note, unless another process did since the last one was read.
    async fn agree(&self, heard: &Heard, steady_at: Timestamp) -> Result<bool> {
        let uptime = if heard.is_shared { None } else { self.wall.uptime() };
        let note = Agreed { clock_at: heard.clock, steady_at, by: self.owner.0.to_string(), uptime };
        let written = self.store.agree(heard.agreed.as_ref(), &note).await?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept_at = heard.moment;
        if written {
            state.agreed = Some(note);
        }
        Ok(written)
    }

    /// Reports once that this machine's clock was set.
    fn watch_wall(&self) {
        let (shows, now) = (self.wall.now(), Instant::now());
        let (before, at) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut state.wall, (shows, now))
        };
        let expected = before.as_millis().saturating_add(millis(now.duration_since(at)));
        let by_ms = shows.as_millis() - expected;
        if u128::from(by_ms.unsigned_abs()) >= STEP.as_millis() {
            let expected = WallTime::from_millis(expected);
            let fini = self.fini_shows();
            tracing::warn!(by_ms, %expected, %shows, fini, "this machine's clock was set; nothing that waits moves");
        }
    }

    /// Returns the time of Fini's clock, as a further witness.
    fn fini_shows(&self) -> Option<String> {
        self.vendor.ahead_ms()?;
        Some(self.vendor.at(self.steady.now()).to_string())
    }

    /// Reports how far clocks lie apart: always as a figure, and in the log when that becomes much, or little again.
    fn compare(&self, heard: &Heard) {
        if heard.is_shared {
            // Both as they were at the moment of the answer.
            let (wall, since) = (self.wall.now().as_millis(), millis(heard.moment.elapsed()));
            let ahead = heard.clock.as_millis() - (wall - since);
            self.state.lock().unwrap_or_else(PoisonError::into_inner).server_ahead_ms = Some(ahead);
        }
        let ClockOffsets { fini, postgres } = self.offsets();
        for (to, off_by_ms) in [(ClockOf::Fini, fini), (ClockOf::Postgres, postgres)] {
            let Some(off_by_ms) = off_by_ms else { continue };
            self.metrics.clock_offset(to, off_by_ms);
            let is_far_off = u128::from(off_by_ms.unsigned_abs()) >= FAR_OFF.as_millis();
            let was = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut state.is_far_off[to as usize], is_far_off)
            };
            let clock = to.as_str();
            if is_far_off && !was {
                tracing::warn!(clock, off_by_ms, "this machine's clock differs from another one");
            } else if was && !is_far_off {
                tracing::info!(clock, off_by_ms, "this machine's clock agrees with the other one again");
            }
        }
    }
}

async fn ask(store: &dyn Store, wall: &dyn WallClock) -> Result<Heard> {
    let asked = Instant::now();
    let (server, agreed) = store.time().await?;
    let took = asked.elapsed();
    let (clock, moment, is_shared) = match server {
        Some(server) => (server, asked + took / 2, true),
        None => (wall.now().point(), Instant::now(), false),
    };
    Ok(Heard { clock, moment, took: if is_shared { took } else { Duration::ZERO }, agreed, is_shared })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
