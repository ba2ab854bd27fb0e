//! Faults that only a database over the network has, and rules for several processes on it.

use std::{net::Ipv4Addr, time::Duration};

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::{PostgresStore, connect::Patience, server};
use crate::{
    domain::{
        Timestamp,
        destination::Subscriptions,
        ids::{ConversationKey, FrontendName},
    },
    store::{
        AdminStore, BudgetStore, BudgetTerms, Change, ClaimTurns, Grant, Heard, IntakeStore, Lease, Listener, Owner,
        ReadingStore, RequestClass, Rules, Store, StoreError, TimeStore, Token, TurnStore, conformance,
    },
};

/// Runs a test on an empty schema; without PostgreSQL the server's module has said so.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(url) = super::server::schema().await {
                        super::$name(url).await;
                    }
                }
            )*
        }
    };
}

on_postgres!(
    processes_hear_of_each_other_s_changes,
    a_lock_held_by_somebody_else_does_not_hold_us_for_ever,
    the_time_is_the_server_s,
    several_processes_start_at_once,
    a_schema_of_a_newer_version_is_refused,
    a_closed_store_says_so,
    several_processes_share_one_budget,
    commits_are_on_disk_whatever_the_server_s_default,
    a_caller_that_goes_away_leaves_nothing_behind,
    what_is_due_and_being_written_to_is_claimed_soon,
);

fn rules() -> Rules {
    conformance::rules(Subscriptions::default())
}

async fn open(url: &SecretString) -> PostgresStore {
    PostgresStore::open(std::slice::from_ref(url), 16, rules()).await.expect("opens")
}

/// Opens a store for several processes on one database. They share the source of their ids, or they would take each other for
/// themselves.
async fn open_several<const PROCESSES: usize>(url: &SecretString) -> [PostgresStore; PROCESSES] {
    let rules = rules();
    let stores =
        join_all((0..PROCESSES).map(|_| PostgresStore::open(std::slice::from_ref(url), 16, rules.clone()))).await;
    let stores: Vec<_> = stores.into_iter().map(|store| store.expect("opens")).collect();
    stores.try_into().expect("as many as were opened")
}

/// Opens two, and listens to the second before it can have heard anything.
async fn open_and_listen(url: &SecretString) -> (PostgresStore, PostgresStore, Listener) {
    let rules = rules();
    let one = PostgresStore::open(std::slice::from_ref(url), 16, rules.clone()).await.expect("opens");
    let other = PostgresStore::open(std::slice::from_ref(url), 16, rules).await.expect("opens");
    let listener = other.changes().listen();
    (one, other, listener)
}

/// Opens a connection past the store, in the same schema.
async fn operator(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.expect("connects")
}

/// Waits until the listener hears it.
async fn hear(listener: &mut Listener, expected: Heard) {
    let heard = tokio::time::timeout(Duration::from_secs(20), async { while listener.next().await != expected {} });
    heard.await.unwrap_or_else(|_| panic!("{expected:?} is heard"));
}

async fn processes_hear_of_each_other_s_changes(url: SecretString) {
    let (one, other, mut listener) = open_and_listen(&url).await;
    // The other listens once it has said that it may have missed something.
    hear(&mut listener, Heard::Missed).await;
    for change in [Change::Turns, Change::Feed(ConversationKey(7)), Change::Binding(ConversationKey(i64::MAX))] {
        one.engine.announce(&[change]);
        hear(&mut listener, Heard::Change(change)).await;
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn cut_connections_are_made_good() {
    let Some(url) = server::database().await else { return };
    let (one, other, mut listener) = open_and_listen(&url).await;
    hear(&mut listener, Heard::Missed).await;
    one.remember("note", "before").await.expect("writes");

    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let cut = sqlx::query(cut).fetch_all(&mut operator(&url).await).await.expect("cuts");
    assert!(cut.len() >= 3, "two that listen, and one that wrote");

    hear(&mut listener, Heard::Missed).await;
    one.remember("note", "after").await.expect("a new connection is made");
    assert_eq!(other.recall("note").await.expect("reads").as_deref(), Some("after"));
    // Once the other listens again, it hears again.
    let heard = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            one.engine.announce(&[Change::Deliveries]);
            let next = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
            if next == Ok(Heard::Change(Change::Deliveries)) {
                break;
            }
        }
    });
    heard.await.expect("it hears again");
}

async fn a_lock_held_by_somebody_else_does_not_hold_us_for_ever(url: SecretString) {
    let patience = Patience { statement: Duration::from_millis(200), ..Patience::default() };
    let store = PostgresStore::open_with(std::slice::from_ref(&url), 16, rules(), patience).await.expect("opens");
    let mut operator = operator(&url).await;
    let mut lock = operator.begin().await.expect("begins");
    sqlx::query("LOCK TABLE notes").execute(&mut *lock).await.expect("locks");
    let refused = store.remember("note", "value").await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    lock.rollback().await.expect("rolls back");
    assert_eq!(store.recall("note").await.expect("reads"), None, "nothing of it happened");
    store.remember("note", "value").await.expect("writes");
}

async fn the_time_is_the_server_s(url: SecretString) {
    let store = open(&url).await;
    let now = store.time().await.expect("tells").0.expect("it has a server");
    let mut operator = operator(&url).await;
    let later: f64 = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS FLOAT8)")
        .fetch_one(&mut operator)
        .await
        .expect("tells");
    #[expect(clippy::cast_possible_truncation, reason = "seconds of this century fit")]
    let seconds = later as i64;
    assert!((0..60).contains(&(seconds - now.as_secs())), "{now} and {later}");
    assert!(store.is_shared());
}

async fn several_processes_start_at_once(url: SecretString) {
    let stores: [_; 6] = open_several(&url).await;
    for store in &stores {
        store.ping().await.expect("works");
        assert_eq!(
            store.backlog(&super::super::LeftAlone::default(), Timestamp::ZERO).await.expect("counts").queued_turns,
            0
        );
    }
}

async fn a_schema_of_a_newer_version_is_refused(url: SecretString) {
    open(&url).await.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'newer', TRUE, '', 0)";
    sqlx::query(newer).execute(&mut operator(&url).await).await.expect("inserts");
    let refused = PostgresStore::open(std::slice::from_ref(&url), 16, rules()).await.map(drop);
    assert!(matches!(refused, Err(StoreError::SchemaTooNew { found: 99, .. })), "{refused:?}");
}

async fn a_closed_store_says_so(url: SecretString) {
    let store = open(&url).await;
    store.close().await;
    for refused in [store.ping().await, store.recall("note").await.map(drop), store.time().await.map(drop)] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    store.close().await;
}

async fn several_processes_share_one_budget(url: SecretString) {
    let stores: [_; 3] = open_several(&url).await;
    let terms = BudgetTerms { limit: 20, share: 5, window: Duration::from_mins(1), ..BudgetTerms::default() };
    let now = Timestamp::from_millis(1_800_000_000_000);
    let takes = (0..60).map(|number| {
        let class = if number % 2 == 0 { RequestClass::Send } else { RequestClass::Sweep };
        stores[number % 3].take_permit(class, terms, now)
    });
    let granted = join_all(takes).await.into_iter().filter(|grant| matches!(grant, Ok(Grant::Now(_)))).count();
    assert_eq!(granted, 20);
    let used = stores[0].budget_use(terms.window, now).await.expect("answers");
    assert_eq!(used.used(), 20);
    assert!(used.by_class[2] <= 5, "{used:?}");
}

async fn commits_are_on_disk_whatever_the_server_s_default(url: SecretString) {
    let lazy = SecretString::from(format!("{}%20-csynchronous_commit%3Doff", url.expose_secret()));
    let asked = "SELECT current_setting('synchronous_commit')";
    let default: String = sqlx::query_scalar(asked).fetch_one(&mut operator(&lazy).await).await.expect("tells");
    assert_eq!(default, "off");
    let store = open(&lazy).await;
    let ours: String = sqlx::query_scalar(asked).fetch_one(&store.engine.primary.current().pool).await.expect("tells");
    assert_eq!(ours, "on");
}

/// A transaction whose caller has gone leaves nothing behind: no lock, and no connection in the middle of something.
async fn a_caller_that_goes_away_leaves_nothing_behind(url: SecretString) {
    let store = open(&url).await;
    let mut operator = operator(&url).await;
    let mut lock = operator.begin().await.expect("begins");
    sqlx::query("LOCK TABLE notes").execute(&mut *lock).await.expect("locks");
    for _ in 0..40 {
        let call = store.remember("note", "abandoned");
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err(), "it waits for the lock");
    }
    lock.rollback().await.expect("rolls back");
    store.remember("note", "kept").await.expect("writes");
    assert_eq!(store.recall("note").await.expect("reads").as_deref(), Some("kept"));
}

/// A transaction that writes to a conversation may have nothing to announce afterwards.
async fn what_is_due_and_being_written_to_is_claimed_soon(url: SecretString) {
    let store = open(&url).await;
    let now = Timestamp::from_millis(1_800_000_000_000);
    store.accept(conformance::new_message("c", "m", now)).await.expect("accepts");
    let mut operator = operator(&url).await;
    let mut writer = operator.begin().await.expect("begins");
    sqlx::query("SELECT key FROM conversations FOR NO KEY UPDATE").execute(&mut *writer).await.expect("locks");
    let claim = || ClaimTurns {
        token: Token("claim".into()),
        lease: Lease { owner: Owner("process-1".into()), now, until: now.plus(Duration::from_mins(1)) },
        max: 8,
        frontends: vec![FrontendName::trusted("web")],
        join_window: Duration::ZERO,
        budget: BudgetTerms { limit: 100, window: Duration::from_mins(1), share: 50, ..BudgetTerms::default() },
    };
    let claimed = store.claim_turns(claim()).await.expect("claims");
    assert!(claimed.turns.is_empty());
    let next = claimed.next.expect("it is tried again");
    assert!(next > now && next <= now.plus(Duration::from_secs(1)), "{next}");
    writer.rollback().await.expect("rolls back");
    assert_eq!(store.claim_turns(claim()).await.expect("claims").turns.len(), 1);
    assert_eq!(store.claim_turns(claim()).await.expect("claims").next, None, "nothing is left");
}

/// A server that takes connections and never says a word.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let port = silent.local_addr().expect("an address").port();
    let url = SecretString::from(format!("postgres://bridge:hush@127.0.0.1:{port}/bridge"));
    let patience = Patience { start: Duration::from_millis(200), ..Patience::default() };
    let refused = PostgresStore::open_with(std::slice::from_ref(&url), 16, rules(), patience).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_the_password() {
    let free = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let patience = Patience { start: Duration::from_millis(200), ..Patience::default() };
    for url in [format!("postgres://bridge:hush@127.0.0.1:{port}/bridge"), "postgres://bridge:hush@:x/".to_owned()] {
        let refused = PostgresStore::open_with(&[SecretString::from(url)], 16, rules(), patience).await.map(drop);
        let Err(StoreError::Unavailable(message)) = refused else { panic!("{refused:?}") };
        assert!(!message.contains("hush"), "{message}");
    }
}
