//! The tests that every store must pass, written once and run against each of them.
//!
//! A test is an async function over a [`Fixture`]; [`suite!`] runs it per database. Time is virtual: every store method
//! takes the present time, so nothing here sleeps to let time pass.

mod bindings;
mod budget;
mod claims;
mod continued;
mod conversations;
mod correlation;
mod deliveries;
mod destinations;
mod erased;
mod expiry;
mod feed;
mod figures;
mod handoff;
mod intake;
mod lanes;
mod ledger;
mod log;
mod observations;
mod people;
mod races;
mod reading;
mod replay;
mod replays;
mod report;
mod talk;
mod time;
mod turns;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::*;
use crate::domain::{
    Entropy, Timestamp, WallClock, WallTime,
    conversation::StatusPolicy,
    correlation::Correlation,
    destination::{Destination, MAIN, Subscription, Subscriptions},
    handoff::HandoffPolicies,
    ids::{ConversationId, ConversationKey, EventId, FrontendName, IdSpace, MessageId},
    message::{InboundMessage, Role},
};

/// Runs each named test against every store.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::store::conformance::Fixture::sqlite().await).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    // Without PostgreSQL the server's module has said so.
                    if let Some(fixture) = crate::store::conformance::Fixture::postgres().await {
                        super::$name(fixture).await;
                    }
                }
            )*
        }
    };
}
use suite;

/// Operations of tests on a store past the port.
#[async_trait::async_trait]
pub(super) trait Rig: Send + Sync {
    /// Appends an event to a conversation's feed and files its delivery, due at `now`; returns its sequence.
    async fn owe(&self, conversation: ConversationKey, now: Timestamp) -> Result<i64>;
    /// Listens to the store's announcements.
    fn listen(&self) -> Listener;
    /// Returns true if other processes may use the database.
    fn may_be_shared(&self) -> bool;
    /// Runs statements.
    async fn execute(&self, sql: &str) -> Result<()>;
    /// Reads one number.
    async fn number(&self, sql: &str) -> Result<i64>;
}

/// A store as the tests see it.
pub(super) trait Subject: Store + Rig {}

impl<S: Store + Rig> Subject for S {}

/// The wall clock's time at first; events shown to people carry it, whatever time waits go by.
pub(super) const SHOWN: Timestamp = Timestamp::from_millis(1_795_237_200_000);

/// A wall clock that shows the time it is set to.
#[derive(Debug)]
pub(super) struct Showing(AtomicI64);

impl Default for Showing {
    fn default() -> Self {
        Self(AtomicI64::new(SHOWN.as_millis()))
    }
}

impl Showing {
    /// Shows this time (RFC 3339) from now on.
    fn show(&self, time: &str) {
        let time: jiff::Timestamp = time.parse().expect("a time");
        self.0.store(time.as_millisecond(), Ordering::Relaxed);
    }
}

impl WallClock for Showing {
    fn now(&self) -> WallTime {
        WallTime::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Ids that differ and can be repeated.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Returns the rules that the tests' stores apply.
pub(super) fn rules(subscriptions: Subscriptions) -> Rules {
    Rules {
        entropy: Arc::new(Counting::default()),
        wall: Arc::new(Showing::default()),
        subscriptions,
        statuses: StatusPolicy::new(
            &["Escalated to Human Agent".to_owned()],
            &["Closed".to_owned()],
            &["Waiting for Customer".to_owned()],
        ),
        hold_window: Duration::from_secs(20),
        watch: WatchPolicy { idle: Duration::from_hours(24), escalated: Duration::from_hours(7 * 24) },
        handoffs: HandoffPolicies::default(),
        formats: std::collections::HashMap::new(),
    }
}

/// The place of a store's data.
enum Place {
    /// A file in a folder that goes with the test.
    File { path: PathBuf, _directory: tempfile::TempDir },
    /// A schema of the tests' server.
    Schema(SecretString),
}

impl Place {
    async fn open(&self, rules: Rules) -> Result<Arc<dyn Subject>> {
        Ok(match self {
            Self::File { path, .. } => Arc::new(SqliteStore::open(path, rules).await?),
            Self::Schema(url) => Arc::new(PostgresStore::open(std::slice::from_ref(url), 16, rules).await?),
        })
    }
}

/// A store to test, and the data to open it again.
struct Fixture {
    store: Arc<dyn Subject>,
    place: Place,
    rules: Rules,
    wall: Arc<Showing>,
}

impl Fixture {
    /// Opens an empty SQLite store.
    async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data").join("bridge.db");
        Self::at(Place::File { path, _directory: directory }).await
    }

    /// Opens an empty PostgreSQL store; `None` without PostgreSQL.
    async fn postgres() -> Option<Self> {
        Some(Self::at(Place::Schema(postgres::server::schema().await?)).await)
    }

    /// Opens a store in an empty place. The frontend `quiet` wants callbacks only about failures, `shop` at two destinations.
    async fn at(place: Place) -> Self {
        let failures =
            Subscription { destination: MAIN.to_owned(), patterns: vec!["turn.failed".to_owned()], posted: false };
        let wanted = [(FrontendName::trusted("quiet"), vec![failures]), destinations::wanted()];
        let wall = Arc::new(Showing::default());
        let rules = Rules { wall: Arc::clone(&wall) as Arc<dyn WallClock>, ..rules(Subscriptions::new(wanted)) };
        let store = place.open(rules.clone()).await.expect("opens");
        Self { store, place, rules, wall }
    }

    /// Drops the store without closing it, as a killed process would, and opens it again.
    async fn reopen(self) -> Self {
        let Self { store, place, rules, wall } = self;
        drop(store);
        let reopened = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match place.open(rules.clone()).await {
                    Ok(store) => return store,
                    // The dropped store's task has yet to notice.
                    Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let store = reopened.await.expect("opens again");
        Self { store, place, rules, wall }
    }

    /// Stores a user's message and returns its conversation.
    async fn post(&self, conversation: &str, message: &str, now: Timestamp) -> ConversationKey {
        match self.store.accept(new_message(conversation, message, now)).await.expect("accepts") {
            Accepted::New { conversation, .. } => conversation,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the time at which the tests begin, plus so many milliseconds.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn web() -> FrontendName {
    FrontendName::trusted("web")
}

/// Returns the own callback of `web`.
fn main() -> Destination {
    Destination::main(web())
}

fn inbound(conversation: &str, message: &str, text: &str, role: Role) -> InboundMessage {
    InboundMessage {
        conversation_id: ConversationId::trusted(conversation),
        message_id: MessageId::trusted(message),
        text: text.to_owned(),
        role,
        user_id: None,
        attributes: Map::new(),
        channel: None,
        metadata: Map::new(),
    }
}

/// Returns a message of the frontend `web`, with generous limits.
fn wrap(message: InboundMessage, now: Timestamp) -> NewMessage {
    NewMessage {
        frontend: web(),
        fingerprint: message.fingerprint(),
        message,
        vouched_user: None,
        only_own: false,
        agent: None,
        counted_for: None,
        cause: Correlation::default(),
        now,
        limits: BacklogLimits {
            per_conversation: 1000,
            per_frontend: 10_000,
            bytes_per_conversation: 0,
            browser_messages_per_user: 0,
        },
    }
}

/// Returns a user's message whose text names its id.
pub(super) fn new_message(conversation: &str, message: &str, now: Timestamp) -> NewMessage {
    wrap(inbound(conversation, message, &format!("text of {message}"), Role::User), now)
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).expect("a body is JSON")
}
