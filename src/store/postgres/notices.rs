//! Changes over several processes: each process hears of the others' commits.
//!
//! Changes are announced within the process at once; this module tells the other processes, and hears their notices
//! (`NOTIFY`, `LISTEN`). Notices are sent after the commit and by a connection of their own, many changes in one: inside
//! the transaction they would let only one transaction of the whole database commit at a time. A notice that is lost, in
//! a crash or on the way, costs time and nothing else: all that wait also look by themselves now and then, and whenever
//! notices may have been missed, every listener is told to look. A connection that hears nothing for a while has to hear a
//! notice that this process sends itself, by another connection: one that listens in vain is logged and replaced.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};

use super::primary::{Current, Primary};

use crate::{
    domain::ids::ConversationKey,
    store::{Change, Changes},
};

/// The channel of `NOTIFY`.
const CHANNEL: &str = "fini_bridge";
/// The most changes that may wait to be sent; beyond, the others are told to look for themselves.
const QUEUE: usize = 4096;
/// PostgreSQL takes payloads of fewer than 8,000 bytes.
const PAYLOAD_BYTES: usize = 7_900;
/// A connection without notices is tried after this; a network may have forgotten it, or its server may be gone.
const QUIET: Duration = Duration::from_secs(5);
/// Longest time that such a trial, or a notice, may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time after a notice in which further changes are gathered for the next one.
const GATHERED: Duration = Duration::from_millis(10);
/// Time for which work that came up in another process is left to that one.
const DONE_THERE: Duration = Duration::from_millis(30);
/// Pause before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);
/// The word for "look for yourself".
const LAPSE: &str = "*";
/// The word for "do you hear me?", which each process asks itself.
const TRIAL: &str = "?";

/// The sender's handle: takes changes for the other processes.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    outbox: mpsc::Sender<Change>,
    overflow: Arc<Notify>,
}

/// The sender's task: the changes to send, and their origin.
#[derive(Debug)]
pub(super) struct Telling {
    waiting: mpsc::Receiver<Change>,
    overflow: Arc<Notify>,
    /// Random per process: its own notices come back to it too.
    origin: String,
}

impl Teller {
    /// Returns both ends.
    pub(super) fn new(origin: String) -> (Self, Telling) {
        let (outbox, waiting) = mpsc::channel(QUEUE);
        let overflow = Arc::new(Notify::new());
        (Self { outbox, overflow: Arc::clone(&overflow) }, Telling { waiting, overflow, origin })
    }

    /// Queues a change for the other processes.
    pub(super) fn tell(&self, change: Change) {
        if self.outbox.try_send(change).is_err() {
            self.overflow.notify_one();
        }
    }
}

impl Telling {
    /// Sends queued changes until every [`Teller`] is gone.
    pub(super) async fn run(mut self, primary: Arc<Primary>) {
        let mut changes = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.overflow.notified() => self.send(&primary, &[LAPSE.to_owned()]).await,
                taken = self.waiting.recv_many(&mut changes, QUEUE) => {
                    if taken == 0 {
                        return;
                    }
                    let words = distinct(changes.drain(..));
                    self.send(&primary, &words).await;
                    tokio::time::sleep(GATHERED).await;
                }
            }
        }
    }

    async fn send(&self, primary: &Primary, words: &[String]) {
        for payload in payloads(&self.origin, words) {
            // A change that cannot be sent is found by looking.
            let _ = tell(&primary.current().pool, &payload).await;
        }
    }
}

async fn tell(pool: &PgPool, payload: &str) -> Result<(), sqlx::Error> {
    let notice = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(pool);
    timeout(PATIENCE, notice).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(drop)
}

/// Hears the notices of other processes than `origin`, and announces them, until `primary` is closed.
pub(super) async fn hear(primary: Arc<Primary>, origin: String, changes: Changes) {
    let mut hearing = Hearing::default();
    while !primary.is_closed() {
        let current = primary.current();
        let ended = listen(&current, &origin, &changes, &mut hearing).await;
        // Between two connections anything may have been missed.
        changes.announce_lapse();
        if primary.is_closed() {
            return;
        }
        if primary.is_past(&current) {
            hearing.end("its server takes no writes any more");
            continue;
        }
        primary.suspect();
        match ended {
            Ok(End::Cut) => hearing.end("the connection was cut"),
            Ok(End::Deaf) => hearing.end(
                "what this process told did not come back: a pooler that gives every transaction another session does that",
            ),
            Err(error) => hearing.end(&error.to_string()),
        }
        tokio::select! {
            () = primary.closed() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

/// The reception of notices, as last logged.
#[derive(Debug, Default)]
struct Hearing {
    is_lost: bool,
}

impl Hearing {
    fn end(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::warn!(error, "notices of the other replicas are not heard; they are found by looking");
        }
    }

    fn prove(&mut self) {
        if std::mem::replace(&mut self.is_lost, false) {
            tracing::info!("notices of the other replicas are heard again");
        }
    }
}

/// The reason for leaving a connection.
enum End {
    Cut,
    Deaf,
}

async fn listen(current: &Current, origin: &str, changes: &Changes, hearing: &mut Hearing) -> Result<End, sqlx::Error> {
    let mut listener = PgListener::connect_with(&current.listening).await?;
    listener.listen(CHANNEL).await?;
    changes.announce_lapse();
    let mut elsewhere = Elsewhere::default();
    // At once: a connection that hears nothing is known from the beginning.
    let (mut heard_at, mut asked_at) = (Instant::now(), Some(Instant::now()));
    let trial = format!("{origin} {TRIAL}");
    tell(&current.pool, &trial).await?;
    loop {
        elsewhere.announce_due(changes);
        let due_at = asked_at.map_or(heard_at + QUIET, |at| at + PATIENCE);
        let until = elsewhere.due_at.map_or(due_at, |at| at.min(due_at));
        match tokio::time::timeout_at(until, listener.try_recv()).await {
            Ok(Ok(Some(notice))) => {
                (heard_at, asked_at) = (Instant::now(), None);
                hearing.prove();
                announce(notice.payload(), origin, changes, &mut elsewhere);
            }
            Ok(Ok(None)) => return Ok(End::Cut),
            Ok(Err(error)) => return Err(error),
            Err(_) if Instant::now() < due_at => {}
            Err(_) if asked_at.is_some() => return Ok(End::Deaf),
            Err(_) => {
                tell(&current.pool, &trial).await?;
                asked_at = Some(Instant::now());
            }
        }
    }
}

/// Work that came up in other processes. They are at it already, so this one looks a little later, and once for all that
/// came up meanwhile: it finds work that they could not take.
#[derive(Debug, Default)]
struct Elsewhere {
    work: Vec<Change>,
    due_at: Option<Instant>,
}

impl Elsewhere {
    fn came_up(&mut self, change: Change) {
        if !self.work.contains(&change) {
            self.work.push(change);
        }
        self.due_at.get_or_insert_with(|| Instant::now() + DONE_THERE);
    }

    fn announce_due(&mut self, changes: &Changes) {
        if self.due_at.is_some_and(|at| at <= Instant::now()) {
            self.due_at = None;
            self.work.drain(..).for_each(|change| changes.announce(change));
        }
    }
}

fn announce(payload: &str, origin: &str, changes: &Changes, elsewhere: &mut Elsewhere) {
    let mut words = payload.split(' ');
    if words.next() == Some(origin) {
        return;
    }
    for word in words {
        match parse(word) {
            Some(change @ (Change::Turns | Change::Deliveries)) => elsewhere.came_up(change),
            Some(change) => changes.announce(change),
            // A lapse, or a word of another version: asking the store covers both.
            None => changes.announce_lapse(),
        }
    }
}

/// Returns the words of changes, each once.
fn distinct(changes: impl Iterator<Item = Change>) -> Vec<String> {
    let mut words: Vec<String> = changes.map(word).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Packs words into as few payloads as they fit.
fn payloads(origin: &str, words: &[String]) -> Vec<String> {
    let mut payloads: Vec<String> = Vec::new();
    for word in words {
        match payloads.last_mut() {
            Some(payload) if payload.len() + 1 + word.len() <= PAYLOAD_BYTES => {
                payload.push(' ');
                payload.push_str(word);
            }
            _ => payloads.push(format!("{origin} {word}")),
        }
    }
    payloads
}

fn word(change: Change) -> String {
    match change {
        Change::Turns => "T".to_owned(),
        Change::Deliveries => "D".to_owned(),
        Change::Reading => "R".to_owned(),
        Change::Feed(key) => format!("F{}", key.0),
        Change::Started(key) => format!("A{}", key.0),
        Change::Settled(key) => format!("S{}", key.0),
        Change::Binding(key) => format!("B{}", key.0),
        Change::Typing(key) => format!("Y{}", key.0),
    }
}

fn parse(word: &str) -> Option<Change> {
    let (name, key) = word.split_at_checked(1)?;
    let conversation = || key.parse().ok().map(ConversationKey);
    match (name, key) {
        ("T", "") => Some(Change::Turns),
        ("D", "") => Some(Change::Deliveries),
        ("R", "") => Some(Change::Reading),
        ("F", _) => conversation().map(Change::Feed),
        ("A", _) => conversation().map(Change::Started),
        ("S", _) => conversation().map(Change::Settled),
        ("B", _) => conversation().map(Change::Binding),
        ("Y", _) => conversation().map(Change::Typing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Heard;

    const KEY: ConversationKey = ConversationKey(42);
    const ALL: [Change; 8] = [
        Change::Typing(KEY),
        Change::Turns,
        Change::Deliveries,
        Change::Reading,
        Change::Feed(KEY),
        Change::Started(KEY),
        Change::Settled(KEY),
        Change::Binding(KEY),
    ];

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_heard_by_others_and_not_by_oneself() {
        let changes = Changes::default();
        let mut listener = changes.listen();
        let words = distinct(ALL.into_iter().chain(ALL));
        let mut elsewhere = Elsewhere::default();
        for payload in payloads("me", &words) {
            announce(&payload, "me", &changes, &mut elsewhere);
            announce(&payload, "other", &changes, &mut elsewhere);
        }
        let mut heard = Vec::new();
        for _ in 0..ALL.len() - 2 {
            let Heard::Change(change) = listener.next().await else { panic!("a change") };
            heard.push(change);
        }
        // For a moment work is left to the process where it came up.
        assert!(!heard.contains(&Change::Turns) && !heard.contains(&Change::Deliveries), "{heard:?}");
        elsewhere.announce_due(&changes);
        tokio::time::advance(DONE_THERE).await;
        elsewhere.announce_due(&changes);
        elsewhere.announce_due(&changes);
        for _ in 0..2 {
            let Heard::Change(change) = listener.next().await else { panic!("a change") };
            heard.push(change);
        }
        assert!(ALL.iter().all(|change| heard.contains(change)), "{heard:?}");
        drop(changes);
        assert_eq!(listener.next().await, Heard::Closed, "nothing came twice");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_a_reason_to_look() {
        for payload in ["other *", "other X7", "other F", "other Fx", "other é"] {
            let changes = Changes::default();
            let mut listener = changes.listen();
            announce(payload, "me", &changes, &mut Elsewhere::default());
            assert_eq!(listener.next().await, Heard::Missed, "{payload}");
        }
    }

    #[test]
    fn payloads_stay_below_the_server_s_limit() {
        let words = distinct((0..5_000).map(|key| Change::Feed(ConversationKey(i64::MAX - key))));
        let packed = payloads("origin", &words);
        assert!(packed.iter().all(|payload| payload.len() < 8_000));
        let count: usize = packed.iter().map(|payload| payload.split(' ').count() - 1).sum();
        assert_eq!(count, 5_000);
    }
}
