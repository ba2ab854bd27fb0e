//! The server that takes writes: finding it among the database's servers, and going over to another one.
//!
//! All work on the database takes the connections of the [`Current`] server, and reports a fault
//! of it ([`Primary::suspect`]). Then all servers are asked, and the one that takes writes is the current one from then on; of
//! two that do (one of them was taken for dead), the one whose history goes on from the other's. The connections to the server
//! before are closed: a caller that waits for one gets an error at once, and takes one of the next.
//!
//! A server that was promoted may lack the last commits of the one before. Its timeline shows that the history branched there;
//! all that keep in memory what follows from the store are told to begin anew ([`Changes::announce_restored`]), before
//! anything of the new server is shown.

use std::{
    cmp::Reverse,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use sqlx::PgPool;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{History, Refusal, Server},
    losses::Losses,
    sessions,
};
use crate::store::{Changes, Result, StoreError};

/// Longest time in which a server may say what it is.
const ASKED_FOR: Duration = Duration::from_secs(3);
/// Longest time for the other servers' answers once one takes writes.
const OTHERS: Duration = Duration::from_millis(300);
/// Pause between two rounds while none takes writes.
const AGAIN: Duration = Duration::from_millis(300);
/// Shortest pause between looks into suspicions.
const REST: Duration = Duration::from_millis(500);
/// Interval between trials of sessions.
const TRIED_EVERY: Duration = Duration::from_secs(30);
/// The same while something is wrong.
const TRIED_SOON: Duration = Duration::from_secs(5);
/// Time in which others forget what follows from the store, before a server of another history is used.
const FORGOTTEN_WITHIN: Duration = Duration::from_millis(200);

/// Connections to the server that takes writes, until it is another one.
pub(super) struct Current {
    /// Counts the servers one after the other.
    pub(super) number: u64,
    /// For transactions and reads.
    pub(super) pool: PgPool,
    /// For the one connection that listens.
    pub(super) listening: PgPool,
    place: usize,
    history: Option<History>,
}

/// The servers of the database.
pub(super) struct Primary {
    servers: Vec<Server>,
    connections: u32,
    current: Mutex<Arc<Current>>,
    suspected: Arc<Notify>,
    closing: CancellationToken,
    switches: AtomicU64,
    /// True while a pooler was seen to give transactions to other sessions.
    pooled: Mutex<bool>,
}

/// A server that takes writes.
struct Found {
    place: usize,
    history: Option<History>,
}

impl Primary {
    /// Finds the server that takes writes among `servers`, at least one; waits for one that is away, but not for long: a process
    /// that ends at once is started again later and later.
    pub(super) async fn find(servers: Vec<Server>, connections: u32) -> Result<Arc<Self>> {
        let found = awaited(&servers).await?;
        let suspected = Arc::new(Notify::new());
        let current = Self::connections_to(&servers, &found, connections, 0, &suspected);
        Ok(Arc::new(Self {
            servers,
            connections,
            current: Mutex::new(Arc::new(current)),
            suspected,
            closing: CancellationToken::new(),
            switches: AtomicU64::new(0),
            pooled: Mutex::new(false),
        }))
    }

    fn connections_to(
        servers: &[Server],
        found: &Found,
        connections: u32,
        number: u64,
        suspected: &Arc<Notify>,
    ) -> Current {
        let server = &servers[found.place];
        Current {
            number,
            pool: server.pool(connections, suspected),
            listening: server.for_listening(suspected),
            place: found.place,
            history: found.history.clone(),
        }
    }

    /// Returns the one that takes writes, as last known.
    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the most connections of the pool.
    pub(super) const fn connections(&self) -> u32 {
        self.connections
    }

    /// Returns the server itself.
    pub(super) fn server(&self) -> &Server {
        &self.servers[self.current().place]
    }

    /// Returns true if these connections are of a server before.
    pub(super) fn is_past(&self, current: &Current) -> bool {
        self.current().number != current.number
    }

    /// Reports that something may be wrong with the current server.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Returns the reason why its connections cannot be used, if there is one.
    pub(super) fn fault(&self) -> Option<StoreError> {
        let is_pooled = *self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        is_pooled.then(|| StoreError::Unavailable(sessions::POOLED.to_owned()))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Ends the look-out for servers, and the listening.
    pub(super) async fn stop(&self) {
        self.closing.cancel();
        let current = self.current();
        current.listening.close().await;
    }

    /// Looks into suspicions and tries sessions, until it is closed.
    pub(super) async fn keep(self: Arc<Self>, changes: Changes, losses: Arc<Losses>) {
        let closing = self.closing.clone();
        let work = async {
            let mut tried_at = Instant::now();
            loop {
                let every = if self.fault().is_some() { TRIED_SOON } else { TRIED_EVERY };
                let is_suspected = timeout_at(tried_at + every, self.suspected.notified()).await.is_ok();
                if is_suspected {
                    self.look_into(&changes, &losses).await;
                }
                if !is_suspected || tried_at.elapsed() >= TRIED_SOON {
                    tried_at = Instant::now();
                    self.try_sessions().await;
                }
                sleep(REST).await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = work => {}
        }
    }

    /// Asks all servers until one takes writes, and goes over to it if it is another one.
    async fn look_into(&self, changes: &Changes, losses: &Losses) {
        let mut is_told = false;
        loop {
            match ask(&self.servers, ASKED_FOR).await {
                Ok(found) => {
                    let is_new = self.go_over(&found, changes, losses).await;
                    if is_told && !is_new {
                        let server = self.servers[found.place].name();
                        tracing::info!(server, "the database takes writes again");
                    }
                    return;
                }
                Err(Refusal { error, .. }) => {
                    if !is_told {
                        tracing::warn!(%error, "no server of the database takes writes");
                    }
                    is_told = true;
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Goes over to another server, or another history; returns false if both are the same as before.
    async fn go_over(&self, found: &Found, changes: &Changes, losses: &Losses) -> bool {
        let before = self.current();
        let has_branched = match (&before.history, &found.history) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        if before.place == found.place && !has_branched {
            // It may have begun or ceased to want TLS.
            let options = self.servers[found.place].options();
            before.pool.set_connect_options(options.clone());
            before.listening.set_connect_options(options.clone());
            return false;
        }
        let (server, was) = (self.servers[found.place].name(), self.servers[before.place].name());
        if has_branched {
            changes.announce_restored();
            sleep(FORGOTTEN_WITHIN).await;
        }
        self.renew(&before, found);
        let timeline = found.history.as_ref().map(|history| history.timeline);
        tracing::warn!(server, was, timeline, "another server of the database takes writes now");
        if let Err(error) = self.servers[found.place].mend_sequences().await {
            tracing::warn!(%error, "the sequences of the new server could not be compared");
        }
        if has_branched {
            changes.announce_restored();
            losses.look(&self.current().pool).await;
        }
        changes.announce_lapse();
        true
    }

    /// Replaces all connections by new ones to a server that was found.
    fn renew(&self, before: &Current, found: &Found) {
        let number = self.switches.fetch_add(1, Ordering::Relaxed) + 1;
        let current = Self::connections_to(&self.servers, found, self.connections, number, &self.suspected);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        // Waiting callers fail at once; work under way on them ends by itself.
        drop((before.pool.close(), before.listening.close()));
    }

    /// Tries whether the connections are still sessions.
    async fn try_sessions(&self) {
        let Some(are_sessions) = sessions::try_out(&self.current().pool).await else { return };
        let was_pooled = {
            let mut pooled = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *pooled, !are_sessions)
        };
        if !are_sessions && !was_pooled {
            tracing::error!(detail = sessions::POOLED, "the database's connections are no sessions");
        } else if are_sessions && was_pooled {
            // Statements and channels prepared on one of them may be gone.
            let before = self.current();
            self.renew(&before, &Found { place: before.place, history: before.history.clone() });
            tracing::info!("the database's connections are sessions again");
        }
    }
}

/// Finds the server that takes writes at a start.
pub(super) async fn at_a_start(servers: &[Server]) -> Result<&Server> {
    first(servers).await.map(|found| &servers[found.place])
}

async fn first(servers: &[Server]) -> Result<Found> {
    ask(servers, patience(servers)).await.map_err(|refusal| refusal.error)
}

/// Asks again while what is wrong passes by itself, for as long as a start may take.
async fn awaited(servers: &[Server]) -> Result<Found> {
    let until = Instant::now() + servers.iter().map(Server::patience_for_a_start).max().unwrap_or(ASKED_FOR);
    let mut is_told = false;
    loop {
        match ask(servers, patience(servers)).await {
            Ok(found) => return Ok(found),
            Err(Refusal { error, passes: true }) if Instant::now() + AGAIN < until => {
                if !is_told {
                    tracing::warn!(%error, "no server of the database takes writes");
                }
                is_told = true;
                sleep(AGAIN).await;
            }
            Err(refusal) => return Err(refusal.error),
        }
    }
}

fn patience(servers: &[Server]) -> Duration {
    servers.iter().map(Server::patience).max().unwrap_or(ASKED_FOR)
}

/// Asks every server; returns the one that takes writes, or an error with each one's answer.
async fn ask(servers: &[Server], patience: Duration) -> std::result::Result<Found, Refusal> {
    let asked = servers.iter().enumerate().map(async |(place, server)| {
        let said = timeout(patience, server.history()).await;
        let late = || StoreError::Unavailable("the server did not answer in time".to_owned());
        (place, said.unwrap_or_else(|_| Err(Refusal { error: late(), passes: true })))
    });
    let mut answers: FuturesUnordered<_> = asked.collect();
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    let mut until: Option<Instant> = None;
    while let Some((place, said)) = match until {
        None => answers.next().await,
        Some(until) => timeout_at(until, answers.next()).await.ok().flatten(),
    } {
        match said {
            Ok(history) => {
                until.get_or_insert_with(|| Instant::now() + OTHERS);
                found.push(Found { place, history });
            }
            Err(refusal) => refused.push((place, refusal)),
        }
    }
    let timeline = |found: &Found| found.history.as_ref().map(|history| history.timeline);
    if let Some(found) = found.into_iter().max_by_key(|found| (timeline(found), Reverse(found.place))) {
        return Ok(found);
    }
    refused.sort_by_key(|(place, _)| *place);
    // With several, the one that is to be promoted may be among them, whatever is wrong with the others.
    let passes = refused.iter().any(|(_, refusal)| refusal.passes);
    if let ([_], Some((_, refusal))) = (servers, refused.pop_if(|_| servers.len() == 1)) {
        // The error of an only server is kept whole, not as a text.
        return Err(refusal);
    }
    let said = refused.into_iter().map(|(place, refusal)| {
        let said = match refusal.error {
            StoreError::Unavailable(said) => said,
            other => other.to_string(),
        };
        format!("{}: {said}", servers[place].name())
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let error = StoreError::Unavailable(format!("no server of the database takes writes: {said}"));
    Err(Refusal { error, passes })
}
