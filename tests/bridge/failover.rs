//! A PostgreSQL that fails over: two real servers, one of which follows the other, and replicas of the bridge that are told both
//! addresses.

use std::{
    net::TcpListener,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
};

use crate::harness::{Allow, Bridge, Call, Setup, eventually, left_out, said, unique, within};
use crate::postgres::{as_ordinary_user, execute, number, programs};

/// What a user waits for at most, once the new server takes writes.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs two servers, the second a standby of the first, and does with them as it is told line by line, answering each.
const SCRIPT: &str = r#"
trap '' INT
bin=$1; folder=$(mktemp -d) || exit 1
export PGUSER=fini_bridge PGDATABASE=postgres
up() { "$bin/pg_ctl" -s -w -D "$folder/$1" -l "$folder/$1.log" \
    -o "-k $folder -h 127.0.0.1 -p $2 -c wal_level=replica -c max_wal_senders=8 -c wal_log_hints=on -c max_connections=100 -c shared_buffers=32MB -c wal_keep_size=64MB" start </dev/null; }
{
    "$bin/initdb" -D "$folder/one" -U fini_bridge -A trust -E UTF8 --locale=C --no-sync && up one "$2" &&
    "$bin/pg_basebackup" -h 127.0.0.1 -p "$2" -D "$folder/two" -R -X stream -c fast --no-sync && up two "$3"
} >/dev/null 2>"$folder/err" </dev/null || { cat "$folder/err" "$folder"/*.log >&2; exit 1; }
echo ready
while read -r word which; do
    case $word in
        kill) "$bin/pg_ctl" -s -D "$folder/$which" -m immediate stop ;;
        promote) "$bin/pg_ctl" -s -w -D "$folder/$which" promote ;;
        follow)
            "$bin/pg_ctl" -s -w -D "$folder/$which" -m fast stop
            [ "$which" = one ] && own=$2 other=$3 || { own=$3 other=$2; }
            # Until its first checkpoint the promoted one does not say in its files that it is on a timeline of its own.
            "$bin/psql" -h 127.0.0.1 -p "$other" -c CHECKPOINT &&
            "$bin/pg_rewind" -D "$folder/$which" --source-server="host=127.0.0.1 port=$other user=fini_bridge dbname=postgres" &&
            printf "primary_conninfo = 'host=127.0.0.1 port=%s user=fini_bridge'\ndefault_transaction_read_only = off\n" "$other" >> "$folder/$which/postgresql.auto.conf" &&
            touch "$folder/$which/standby.signal" && up "$which" "$own" ;;
    esac >"$folder/err" 2>&1 </dev/null && echo "$word" || { echo "$word failed"; cat "$folder/err" "$folder"/*.log >&2; }
done
for which in one two; do "$bin/pg_ctl" -s -D "$folder/$which" -m immediate stop; done >/dev/null 2>&1 </dev/null
rm -rf "$folder"
"#;

/// A server and its standby.
struct Pair {
    ports: [u16; 2],
    keeper: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Pair {
    /// Starts them; `None` where there is no PostgreSQL.
    async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            left_out("PostgreSQL (initdb)");
            return None;
        };
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"));
        let ports = free.map(|free| free.local_addr().expect("it is bound").port());
        let mut command = as_ordinary_user();
        command.args(["sh", "-c", SCRIPT, "sh"]).arg(programs).args(ports.map(|port| port.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell is everywhere");
        // Asynchronous, since the tests' receiver and vendor run meanwhile.
        let input = ChildStdin::from_std(child.stdin.take().expect("piped")).expect("a pipe");
        let output = ChildStdout::from_std(child.stdout.take().expect("piped")).expect("a pipe");
        let mut pair = Self { ports, keeper: child, input: Some(input), output: BufReader::new(output).lines() };
        assert_eq!(pair.answer().await, "ready");
        Some(pair)
    }

    async fn answer(&mut self) -> String {
        self.output.next_line().await.ok().flatten().expect("the servers' keeper answers")
    }

    async fn tell(&mut self, words: &str) {
        let input = self.input.as_mut().expect("piped");
        input.write_all(format!("{words}\n").as_bytes()).await.expect("the servers' keeper listens");
        assert_eq!(Some(self.answer().await.as_str()), words.split(' ').next());
    }

    /// The address of a database on one of them.
    fn on(&self, which: usize, database: &str) -> String {
        format!("postgres://fini_bridge@127.0.0.1:{}/{database}", self.ports[which])
    }

    /// An empty database on both, and its address as operators write it.
    async fn database(&self) -> String {
        execute(&self.on(0, "postgres"), "CREATE DATABASE bridge").await;
        let [one, two] = self.ports;
        format!("postgres://fini_bridge@127.0.0.1:{one},127.0.0.1:{two}/bridge?target_session_attrs=read-write")
    }

    /// Has one of them take no further writes, with every session living on; returns once what was begun before has ended.
    async fn refuse_writes(&self, which: usize) {
        let url = self.on(which, "postgres");
        execute(&url, "ALTER SYSTEM SET default_transaction_read_only = on").await;
        execute(&url, "SELECT pg_reload_conf()").await;
        let set = "SELECT COUNT(*) FROM pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on'";
        eventually("a new session to take no writes", async || (number(&url, set).await == 1).then_some(())).await;
        // A session hears of it before its next transaction.
        let now = number(&url, "SELECT CAST(1000 * EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)").await + 1;
        let older = format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'bridge' AND 1000 * EXTRACT(EPOCH FROM xact_start) <= {now}"
        );
        eventually("what was begun before to end", async || (number(&url, &older).await == 0).then_some(())).await;
    }

    /// Waits until the standby has everything that was written until now.
    async fn level(&self, which: usize) {
        let url = self.on(which, "postgres");
        let written = number(&url, "SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS BIGINT)").await;
        let level =
            format!("SELECT COUNT(*) FROM pg_stat_replication WHERE pg_wal_lsn_diff(replay_lsn, '0/0') >= {written}");
        within(PATIENCE, "the standby to be level", async || (number(&url, &level).await == 1).then_some(())).await;
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // At the end of its input the keeper stops both servers.
        drop(self.input.take());
        let _ = self.keeper.wait();
    }
}

/// A message to the replica that is spoken to, and its id.
fn message(bridge: &mut Bridge, conversation: &str, text: &str) -> (String, Call) {
    let id = unique("m").replace(' ', "-");
    let call = bridge.message(&json!({"conversation_id": conversation, "message_id": id, "text": unique(text)}));
    (id, call)
}

/// Posts it until it is accepted.
async fn accepted(call: &Call) {
    within(PATIENCE, "the message to be accepted", async || {
        let answer = call.clone().attempt().await?;
        assert!([202, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 202).then_some(())
    })
    .await;
}

async fn insist(bridge: &mut Bridge, conversation: &str, text: &str) -> String {
    let (id, call) = message(bridge, conversation, text);
    accepted(&call).await;
    id
}

async fn answered(bridge: &Bridge, conversation: &str, id: &str) {
    let end = within(PATIENCE, &format!("the end of {id}"), async || {
        let path = format!("/v1/conversations/{conversation}/events?limit=500");
        let answer = bridge.call("GET", &path).attempt().await.filter(|answer| answer.status == 200)?.json();
        let events = answer["events"].as_array()?.clone();
        events.into_iter().find(|event| event["data"]["message_id"] == id)
    })
    .await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
}

fn lines(bridge: &Bridge, message: &str) -> Vec<Value> {
    bridge.log().into_iter().filter(|line| line["message"] == message).collect()
}

async fn logged(bridge: &Bridge, message: &str, count: usize) {
    eventually(message, async || (lines(bridge, message).len() >= count).then_some(())).await;
}

/// Two replicas that know both servers, with a turn behind them.
async fn replicas(pair: &Pair) -> Bridge {
    let setup = Setup::new().store(&pair.database().await).vendor(|vendor| vendor.reply_latency_ms = 40);
    let mut bridge = setup.start().await;
    bridge.join().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge
}

/// Every replica takes a message, has it answered, and its neighbour's stream shows it.
async fn all_work_again(bridge: &mut Bridge, promoted: (Instant, jiff::Timestamp), switches: usize, how: &str) {
    let mut messages = Vec::new();
    for _ in 0..bridge.replicas() {
        messages.push(message(bridge, "c", "After it"));
        bridge.next_replica();
    }
    join_all(messages.iter().map(|(_, call)| accepted(call))).await;
    let taken = promoted.0.elapsed();
    let switched = "another server of the database takes writes now";
    logged(bridge, switched, switches).await;
    let at = |line: &Value| -> jiff::Timestamp {
        line["timestamp"].as_str().and_then(|at| at.parse().ok()).expect("a time")
    };
    let last = lines(bridge, switched).iter().map(at).max().expect("it was logged");
    let gone_over = Duration::try_from(promoted.1.until(last).expect("minutes")).unwrap_or_default();
    said(&format!(
        "{how}: gone over {gone_over:.1?} after the promotion, and a message taken by every replica after {taken:.1?}"
    ));
    assert!(gone_over < BACK_WITHIN, "{how}: {gone_over:?}");
    for (id, _) in &messages {
        bridge.next_replica();
        let mut stream = bridge.stream("c", "").await;
        let ended = async {
            while stream.next().await.expect("the stream goes on").data["data"]["message_id"] != id.as_str() {}
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("another replica's event is streamed");
    }
    // Both listen there.
    logged(bridge, "notices of the other replicas are heard again", switches).await;
}

#[expect(clippy::disallowed_methods, reason = "the bridge's log says by the wall clock when it heard of something")]
fn now() -> (Instant, jiff::Timestamp) {
    (Instant::now(), jiff::Timestamp::now())
}

fn allow_what_an_outage_does(bridge: &mut Bridge) {
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
}

#[tokio::test]
async fn a_planned_switchover_whose_old_server_still_answers_read_only_and_back() {
    let Some(mut pair) = Pair::start().await else { return };
    let mut bridge = replicas(&pair).await;
    pair.refuse_writes(0).await;
    pair.level(0).await;
    pair.tell("promote two").await;
    all_work_again(&mut bridge, now(), 2, "switchover").await;
    let sessions = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'bridge'";
    let url = pair.on(0, "postgres");
    eventually("the sessions at the old one to be closed", async || (number(&url, sessions).await == 0).then_some(()))
        .await;
    let nothing = "the database's history branched off; nothing that was taken in here is missing";
    logged(&bridge, nothing, 2).await;
    // And back, to the one that has meanwhile followed.
    pair.tell("follow one").await;
    pair.refuse_writes(1).await;
    pair.level(1).await;
    pair.tell("promote one").await;
    all_work_again(&mut bridge, now(), 4, "and back").await;
    logged(&bridge, nothing, 4).await;
    allow_what_an_outage_does(&mut bridge);
    bridge.finish().await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_its_standby_that_is_promoted() {
    let Some(mut pair) = Pair::start().await else { return };
    let mut bridge = replicas(&pair).await;
    let before = insist(&mut bridge, "c", "Just before").await;
    pair.level(0).await;
    pair.tell("kill one").await;
    pair.tell("promote two").await;
    all_work_again(&mut bridge, now(), 2, "kill and promote").await;
    answered(&bridge, "c", &before).await;
    allow_what_an_outage_does(&mut bridge);
    bridge.finish().await;
}

#[tokio::test]
async fn a_promotion_that_loses_the_last_commits_names_what_was_answered_202_and_is_gone() {
    let Some(mut pair) = Pair::start().await else { return };
    let mut bridge = replicas(&pair).await;
    let kept = insist(&mut bridge, "c", "It is there").await;
    answered(&bridge, "c", &kept).await;
    pair.level(0).await;
    // The standby hears nothing any more.
    execute(&pair.on(1, "postgres"), "ALTER SYSTEM SET primary_conninfo = ''").await;
    execute(&pair.on(1, "postgres"), "SELECT pg_reload_conf()").await;
    let senders = "SELECT COUNT(*) FROM pg_stat_replication";
    let first = pair.on(0, "postgres");
    eventually("the standby to be cut off", async || (number(&first, senders).await == 0).then_some(())).await;
    let lost = insist(&mut bridge, "d", "It will be lost").await;
    answered(&bridge, "d", &lost).await;
    pair.tell("kill one").await;
    pair.tell("promote two").await;
    all_work_again(&mut bridge, now(), 2, "a promotion that loses commits").await;
    let message = "a message that was answered 202 is lost with the server that had it";
    logged(&bridge, message, 1).await;
    let named = lines(&bridge, message);
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!((&named[0]["message_id"], &named[0]["conversation_id"]), (&json!(lost), &json!("d")));
    let summed = lines(&bridge, "the database's history branched off, and commits are missing");
    assert_eq!((summed.len(), &summed[0]["lost"]), (1, &json!(1)), "{summed:?}");
    assert_eq!(bridge.call("GET", "/v1/conversations/d/events").send().await.status, 404, "it is gone");
    // Whoever wrote it writes it again, as the log is there to say.
    bridge.known_forget("web", "d");
    bridge.turn("d", "Again, then").await;
    bridge.next_replica();
    allow_what_an_outage_does(&mut bridge);
    drop(bridge);
}
