//! A database as companies have it: moved to another server, owned by another role, with limits of its own.

use std::process::Stdio;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::{Bridge, Setup, server, within};
use crate::postgres::{execute, number, programs};

const PATIENCE: Duration = Duration::from_secs(60);

/// How a database is moved to another server.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// `pg_dump | pg_restore`.
    Dump,
    /// A logical replication, as blue/green switches do it: it brings rows, and no sequence.
    Replication,
}

fn shell(script: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(programs().expect("it was there")).args(arguments);
    let done = command.stdin(Stdio::null()).output().expect("a shell is part of every system");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn move_to(from: &str, to: &str, how: Move) {
    match how {
        Move::Dump => shell(r#""$1/pg_dump" -Fc "$2" | "$1/pg_restore" -d "$3""#, &[from, to]),
        Move::Replication => {
            shell(r#""$1/pg_dump" -s "$2" | "$1/psql" -q -v ON_ERROR_STOP=1 -d "$3""#, &[from, to]);
            execute(from, "CREATE PUBLICATION moved FOR ALL TABLES").await;
            let subscribe = format!("CREATE SUBSCRIPTION moved CONNECTION '{from}' PUBLICATION moved");
            let mut subscriber = PgConnection::connect(to).await.expect("connects");
            sqlx::query(AssertSqlSafe(subscribe)).execute(&mut subscriber).await.expect("subscribes");
            subscriber.close().await.expect("closes");
            let left = "SELECT COUNT(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
            within(PATIENCE, "all rows to be moved", async || (number(to, left).await == 0).then_some(())).await;
            let mut subscriber = PgConnection::connect(to).await.expect("connects");
            sqlx::query("DROP SUBSCRIPTION moved").execute(&mut subscriber).await.expect("ends");
        }
    }
}

/// The keys of the turns of `c`, in the order in which they were written.
async fn keys_are_in_order(url: &str) {
    let disorder = "SELECT COUNT(*) FROM turns a JOIN turns b ON a.conversation_key = b.conversation_key \
                    WHERE a.accepted_at < b.accepted_at AND a.key >= b.key";
    assert_eq!(number(url, disorder).await, 0);
}

#[tokio::test]
async fn after_a_move_to_another_server_the_next_message_has_its_place() {
    for how in [Move::Dump, Move::Replication] {
        let (Some(old), Some(new)) = (server("-c wal_level=logical"), server("-c wal_level=logical")) else { return };
        let (from, to) = (old.database().await, new.database().await);
        let mut bridge = Setup::new().store(&from).start().await;
        for n in 0..4 {
            bridge.turn("c", &format!("Message {n}")).await;
        }
        bridge.bound("c").await;
        bridge.stop().await;
        // Most of what was numbered is pruned: a number that is given again would meet nobody.
        execute(&from, "DELETE FROM budget").await;
        move_to(&from, &to, how).await;
        bridge.restart_with(|setup| setup.store(&to)).await;
        for n in 4..8 {
            bridge.turn("c", &format!("Message {n}, after {how:?}")).await;
        }
        bridge.turn("d", "Another conversation").await;
        bridge.bound("d").await;
        keys_are_in_order(&to).await;
        assert_eq!(is_told(&bridge, "a sequence stood behind its rows"), matches!(how, Move::Replication), "{how:?}");
        bridge.finish().await;
    }
}

fn is_told(bridge: &Bridge, words: &str) -> bool {
    bridge.log().iter().any(|line| line["message"].as_str().is_some_and(|message| message.starts_with(words)))
}

/// The same database as another role.
fn by(role: &str, url: &str) -> String {
    url.replace("fini_bridge@", &format!("{role}@"))
}

#[tokio::test]
async fn a_role_that_may_only_run_runs_and_what_it_lacks_to_bring_the_schema_up_to_date_is_named() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    execute(&server.url("postgres"), "CREATE ROLE runs LOGIN; CREATE ROLE crowd LOGIN CONNECTION LIMIT 1").await;
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge.stop().await;
    execute(
        &url,
        "GRANT USAGE ON SCHEMA public TO runs; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO runs; \
         GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO runs",
    )
    .await;
    bridge.restart_with(|setup| setup.store(&by("runs", &url))).await;
    bridge.turn("c", "And by a role that may less").await;
    bridge.bound("c").await;
    let fresh = server.database().await;
    for (role, database, words) in
        [("runs", &fresh, "CREATE on the schema"), ("crowd", &url, "CONNECTION LIMIT"), ("nobody", &url, "this role")]
    {
        let (status, said) = bridge.second_process_on(&by(role, database)).await;
        assert_eq!(status.code(), Some(1), "{role}: {said}");
        assert!(said.contains(words), "{role}: {said}");
        assert!(!said.contains("error returned from database"), "{role}: {said}");
    }
    bridge.finish().await;
}
