//! SQLite's own: the file, the writer, and its speed.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all, poll};

use super::*;
use crate::{
    domain::{
        Timestamp,
        correlation::Correlation,
        destination::Subscriptions,
        ids::{ConversationId, FrontendName, MessageId},
        message::{InboundMessage, Role},
    },
    store::{
        Accepted, BacklogLimits, IntakeStore, NewMessage, StoreError,
        conformance::{Rig, rules},
    },
};

async fn open(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(path, rules(Subscriptions::default())).await
}

fn message(conversation: &str, id: &str, text: &str) -> NewMessage {
    let message = InboundMessage {
        conversation_id: ConversationId::trusted(conversation),
        message_id: MessageId::trusted(id),
        text: text.to_owned(),
        role: Role::User,
        user_id: None,
        attributes: serde_json::Map::new(),
        channel: None,
        metadata: serde_json::Map::new(),
    };
    NewMessage {
        frontend: FrontendName::trusted("web"),
        fingerprint: message.fingerprint(),
        message,
        vouched_user: None,
        only_own: false,
        agent: None,
        counted_for: None,
        cause: Correlation::default(),
        now: Timestamp::from_millis(1_800_000_000_000),
        limits: BacklogLimits {
            per_conversation: 1_000_000,
            per_frontend: 1_000_000,
            bytes_per_conversation: 0,
            browser_messages_per_user: 0,
        },
    }
}

async fn stored(store: &SqliteStore) -> i64 {
    store.number("SELECT COUNT(*) FROM turns").await.expect("counts")
}

#[tokio::test]
async fn a_failing_job_fails_alone_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("bridge.db")).await.expect("opens");
    let good = join_all((0..20).map(|n| store.accept(message("c", &format!("m-{n}"), "hi"))));
    let bad = store.execute("INSERT INTO notes (name, value) VALUES ('half', 'done'); INSERT INTO nowhere VALUES (1)");
    let more = join_all((20..40).map(|n| store.accept(message("c", &format!("m-{n}"), "hi"))));
    let (good, bad, more) = futures_util::join!(good, bad, more);
    assert!(matches!(bad, Err(StoreError::Internal(_))), "{bad:?}");
    assert!(good.iter().chain(&more).all(|one| matches!(one, Ok(Accepted::New { .. }))));
    assert_eq!(stored(&store).await, 40);
    assert_eq!(store.number("SELECT COUNT(*) FROM notes").await.expect("counts"), 0);
}

#[tokio::test]
async fn a_panicking_job_fails_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("bridge.db")).await.expect("opens");
    let panicking: Write<(), ()> = |_, _, ()| async { panic!("a fault of ours") }.boxed();
    let (good, bad) = futures_util::join!(store.accept(message("c", "m", "hi")), store.write((), panicking));
    assert!(matches!(bad, Err(StoreError::Internal(_))), "{bad:?}");
    assert!(matches!(good, Ok(Accepted::New { .. })));
    assert!(store.accept(message("c", "m-2", "hi")).await.is_ok());
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("bridge.db")).await.expect("opens");
    store.accept(message("c", "m-1", "hi")).await.expect("accepts");
    // Ends with the connection: as if somebody had made room meanwhile.
    store.execute("PRAGMA max_page_count = 1").await.expect("limits");
    let large = "x".repeat(200_000);
    let full = join_all((0..5).map(|n| store.accept(message("c", &format!("large-{n}"), &large)))).await;
    assert!(full.iter().any(|one| matches!(one, Err(StoreError::Unavailable(_)))), "{full:?}");
    let kept = i64::try_from(full.iter().filter(|one| one.is_ok()).count()).expect("few");
    assert_eq!(stored(&store).await, 1 + kept);
    for n in 0..5 {
        store.accept(message("c", &format!("large-{n}"), &large)).await.expect("accepts again");
    }
    assert_eq!(stored(&store).await, 6);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_served_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("bridge.db")).await.expect("opens");
    {
        let mut impatient = std::pin::pin!(store.accept(message("c", "m", "hi")));
        assert!(poll!(&mut impatient).is_pending());
    }
    store.ping().await.expect("writes");
    assert_eq!(stored(&store).await, 1);
}

#[tokio::test]
async fn closing_finishes_what_was_begun_and_frees_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bridge.db");
    let store = open(&path).await.expect("opens");
    let second = open(&path).await;
    assert!(matches!(&second, Err(StoreError::Unavailable(why)) if why.contains("in use")), "{second:?}");
    let mut begun = std::pin::pin!(store.accept(message("c", "m", "hi")));
    assert!(poll!(&mut begun).is_pending());
    store.close().await;
    assert!(matches!(begun.await, Ok(Accepted::New { .. })));
    for after in [store.ping().await, store.accept(message("c", "m-2", "hi")).await.map(drop)] {
        assert!(matches!(after, Err(StoreError::Unavailable(_))), "{after:?}");
    }
    store.close().await;
    let store = open(&path).await.expect("opens again");
    assert_eq!(stored(&store).await, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bridge.db");
    let store = open(&path).await.expect("opens");
    store.execute("PRAGMA user_version = 99").await.expect("writes");
    store.close().await;
    let refused = open(&path).await;
    assert!(matches!(refused, Err(StoreError::SchemaTooNew { found: 99, .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text.db");
    let content = "not a database, but somebody's notes; long enough to have a header of a hundred bytes. ".repeat(9);
    std::fs::write(&text, &content).expect("writes");
    let refused = open(&text).await;
    assert!(matches!(&refused, Err(StoreError::Damaged(why)) if why.contains("text.db")), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&text).expect("reads"), content);

    let foreign = directory.path().join("foreign.db");
    let conn = rusqlite::Connection::open(&foreign).expect("creates");
    conn.execute_batch("CREATE TABLE recipes (name TEXT)").expect("creates");
    conn.close().expect("closes");
    let before = std::fs::read(&foreign).expect("reads");
    let refused = open(&foreign).await;
    assert!(matches!(&refused, Err(StoreError::Damaged(why)) if why.contains("another program")), "{refused:?}");
    assert_eq!(std::fs::read(&foreign).expect("reads"), before);
}

#[tokio::test]
async fn readers_cannot_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("bridge.db")).await.expect("opens");
    let write: Read<(), ()> = |conn, ()| async move { ping(conn).await }.boxed();
    assert!(store.read((), write).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new").join("bridge.db");
    let store = open(&path).await.expect("opens");
    store.accept(message("c", "m", "hi")).await.expect("accepts");
    let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(mode(path.parent().expect("a directory")), 0o700);
}

/// Reports how many messages per second are durable with 64 callers; run it alone and optimised for a meaningful figure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "callers on all threads, as requests are")]
async fn accepts_many_messages_per_second() {
    const CALLERS: usize = 64;
    let each = if cfg!(debug_assertions) { 20 } else { 1000 };
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(open(&directory.path().join("bridge.db")).await.expect("opens"));
    let begin = std::time::Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..each {
                let conversation = format!("c-{caller}-{}", n / 5);
                store.accept(message(&conversation, &format!("m-{n}"), "Where is my order?")).await.expect("accepts");
            }
        })
    });
    for caller in join_all(callers).await {
        caller.expect("ends");
    }
    let took = begin.elapsed().max(Duration::from_millis(1));
    let all = CALLERS * each;
    assert_eq!(stored(&store).await, i64::try_from(all).expect("few"));
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let rate = all as f64 / took.as_secs_f64();
    println!("{all} messages by {CALLERS} callers in {took:?}: {rate:.0}/s");
}
