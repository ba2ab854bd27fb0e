//! Rolling upgrades: a database of the first version, with work under way in it, opened by this one; and beside this one,
//! replicas of the first version that go on writing as they always did.
//!
//! What stands here as the first version's is written by its own statements, with the columns that it knew.

use fini_bridge::sandbox::DEFAULT_BOT_ID;
use serde_json::{Value, json};
use sqlx::{
    Connection as _, PgConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::harness::{Bridge, Setup, database, epoch_millis, unique};
use crate::postgres::execute;

/// "FINI": how the bridge knows its own files.
const APPLICATION_ID: i32 = 0x4649_4e49;

const POSTGRES: &str = include_str!("../../src/store/postgres/migrations/0001_initial.sql");
const SQLITE: &str = include_str!("../../src/store/sqlite/migrations/0001_initial.sql");

/// What was under way at Fini and here when the first version stopped.
struct Past {
    /// A conversation whose reply was not called back yet, with a message that waits.
    settled: Spoken,
    waiting: String,
    /// A conversation that is not bound yet: its first message was under way, and nobody heard the answer.
    open: Spoken,
}

/// A message that Fini has, and the conversation it is in there.
struct Spoken {
    text: String,
    interaction: String,
    echo: String,
    reply: String,
    replied: String,
}

/// Says something at Fini as the first version did.
async fn speak(bridge: &Bridge, key: &str) -> Spoken {
    let text = unique("Where is my order?");
    let attributes = json!({"bridge_conversation": format!("kc-{key}"), "bridge_turn": format!("kt-{key}")});
    let body = json!({"botId": DEFAULT_BOT_ID, "content": text, "metadata": {"user_attributes": attributes}});
    let call = bridge.vendor_call("POST", "/v2/hc-interactions/events/public").json(&body);
    let events = call.send().await.expect(200).json();
    let of = |role: &str| -> Value {
        let events = events.as_array().expect("the new events");
        events.iter().find(|event| event["role"] == role).unwrap_or_else(|| panic!("{role} in {events:?}")).clone()
    };
    let (echo, reply) = (of("user"), of("finibot"));
    let text_of = |value: &Value| value.as_str().expect("a text").to_owned();
    let found = bridge.sandbox.conversations_with("bridge_conversation", &format!("kc-{key}"));
    Spoken {
        text,
        interaction: found[0].id.to_string(),
        echo: text_of(&echo["id"]),
        reply: text_of(&reply["id"]),
        replied: text_of(&reply["message"]),
    }
}

impl Past {
    async fn of(bridge: &Bridge) -> Self {
        Self {
            settled: speak(bridge, "1").await,
            waiting: unique("And the other one?"),
            open: speak(bridge, "2").await,
        }
    }

    /// The rows of it.
    fn rows(&self) -> String {
        let now = epoch_millis() - 60_000;
        let day = now + 24 * 3_600_000;
        let Spoken { text, interaction, echo, reply, replied } = &self.settled;
        let posted = |conversation: &str, sequence: i64, id: &str, text: &str| {
            let message = message(id, "user", text, now);
            let data = json!({"message": message, "origin": "frontend", "in_reply_to": null});
            event(conversation, None, sequence, now, &data)
        };
        let told = event(
            "settled",
            Some(interaction),
            2,
            now,
            &json!({"message": message(reply, "bot", replied, now), "origin": "fini", "in_reply_to": "m-1"}),
        );
        let ended = json!({"message_id": "m-1", "outcome": "answered", "replies": 1});
        let ended = event("settled", Some(interaction), 3, now, &ended);
        let (first, second, third) = (
            posted("settled", 1, "m-1", text),
            posted("settled", 4, "m-2", &self.waiting),
            posted("open", 1, "m-3", &self.open.text),
        );
        format!(
            "INSERT INTO conversations (key, frontend, conversation_id, attribute, interaction_id, binding_version, \
                 wrapper_read, first_sent_at, last_sequence, queued, turn_due_at, created_at, updated_at, \
                 last_activity_at, watch_until) VALUES \
                 (1, 'web', 'settled', 'kc-1', '{interaction}', 1, TRUE, {now}, 4, 1, {now}, {now}, {now}, {now}, {day}); \
             INSERT INTO conversations (key, frontend, conversation_id, attribute, first_sent_at, last_sequence, \
                 occupied, created_at, updated_at, last_activity_at) VALUES \
                 (2, 'web', 'open', 'kc-2', {now}, 1, TRUE, {now}, {now}, {now}); \
             INSERT INTO turns (key, conversation_key, frontend, message_id, fingerprint, role, text, extras, attribute, \
                 state, attempt, accepted_at, due_at, sent_at, state_since, echo, replies) VALUES \
                 (1, 1, 'web', 'm-1', 'f-1', 'user', '{text}', '{EXTRAS}', 'kt-1', 'answered', 1, {now}, {now}, {now}, \
                  {now}, '{echo}', 1); \
             INSERT INTO turns (key, conversation_key, frontend, message_id, fingerprint, role, text, extras, attribute, \
                 accepted_at, due_at, state_since) VALUES \
                 (2, 1, 'web', 'm-2', 'f-2', 'user', '{}', '{EXTRAS}', 'kt-1b', {now}, {now}, {now}); \
             INSERT INTO turns (key, conversation_key, frontend, message_id, fingerprint, role, text, extras, attribute, \
                 state, attempt, token, owner, lease_until, accepted_at, due_at, sent_at, state_since) VALUES \
                 (3, 2, 'web', 'm-3', 'f-3', 'user', '{}', '{EXTRAS}', 'kt-2', 'sending', 1, 'token', '7-gone', \
                  {now} + 100, {now}, {now}, {now}, {now}); \
             INSERT INTO waiting (frontend, shard, turns) VALUES ('web', 0, 1); \
             INSERT INTO marks (fini_event_id, conversation_key, turn_key) VALUES ('{echo}', 1, 1), ('{reply}', 1, 1); \
             INSERT INTO events (conversation_key, sequence, id, kind, turn_key, body, recorded_at) VALUES \
                 (1, 1, 'evt_settled_1', 'message.created', 1, '{first}', {now}), \
                 (1, 2, 'evt_settled_2', 'message.created', 1, '{told}', {now}), \
                 (1, 3, 'evt_settled_3', 'turn.completed', 1, '{ended}', {now}), \
                 (1, 4, 'evt_settled_4', 'message.created', 2, '{second}', {now}), \
                 (2, 1, 'evt_open_1', 'message.created', 3, '{third}', {now}); \
             INSERT INTO deliveries (key, id, conversation_key, frontend, sequence, event_id, kind, attempts, due_at, \
                 last_status, last_error, recorded_at) VALUES \
                 (1, 'dlv_1', 1, 'web', 2, 'evt_settled_2', 'message.created', 1, {now}, 503, 'refused', {now}); \
             INSERT INTO deliveries (key, id, conversation_key, frontend, sequence, event_id, kind, due_at, recorded_at) \
                 VALUES (2, 'dlv_2', 1, 'web', 3, 'evt_settled_3', 'turn.completed', {now}, {now}); \
             INSERT INTO lanes (conversation_key, frontend, due_at, is_retry) VALUES (1, 'web', {now}, TRUE); \
             INSERT INTO budget (class, at) VALUES ('send', {now}); \
             INSERT INTO leases (name, owner, until) VALUES ('reader', '7-gone', {now}), ('process:7-gone', '7-gone', {now}); \
             INSERT INTO notes (name, value) VALUES ('sweep.watermark', '{now}');",
            self.waiting, self.open.text,
        )
    }
}

/// What the first version wrote when it took a message in: for a replica of it that is still there.
fn taken_in_by_the_first_version(conversation: &str, text: &str) -> String {
    let now = epoch_millis();
    let data = json!({"message": message("m-late", "user", text, now), "origin": "frontend", "in_reply_to": null});
    let body = event(conversation, None, 1, now, &data);
    format!(
        "INSERT INTO conversations (frontend, conversation_id, attribute, last_sequence, queued, turn_due_at, created_at, \
             updated_at, last_activity_at) VALUES ('web', '{conversation}', 'kc-late', 1, 1, {now}, {now}, {now}, {now}); \
         INSERT INTO turns (conversation_key, frontend, message_id, fingerprint, role, text, extras, attribute, accepted_at, \
             due_at, state_since) SELECT key, 'web', 'm-late', 'f-late', 'user', '{text}', '{EXTRAS}', 'kt-late', {now}, \
             {now}, {now} FROM conversations WHERE attribute = 'kc-late'; \
         INSERT INTO events (conversation_key, sequence, id, kind, turn_key, body, recorded_at) \
             SELECT conversation_key, 1, 'evt_{conversation}_1', 'message.created', key, '{body}', {now} \
             FROM turns WHERE attribute = 'kt-late'; \
         INSERT INTO waiting (frontend, shard, turns) VALUES ('web', 5, 1) \
             ON CONFLICT (frontend, shard) DO UPDATE SET turns = waiting.turns + 1;"
    )
}

const EXTRAS: &str = r#"{"user_id":null,"attributes":{},"channel":null,"metadata":{}}"#;

fn message(id: &str, author: &str, text: &str, at: i64) -> Value {
    json!({"id": id, "author": author, "text": text, "created_at": shown(at), "articles": [], "attachments": [], "tags": []})
}

fn event(conversation: &str, interaction: Option<&str>, sequence: i64, at: i64, data: &Value) -> String {
    let kind = if data["message"].is_null() { "turn.completed" } else { "message.created" };
    let body = json!({"id": format!("evt_{conversation}_{sequence}"), "type": kind, "timestamp": shown(at),
                      "frontend": "web", "conversation_id": conversation, "interaction_id": interaction,
                      "sequence": sequence, "data": data});
    body.to_string().replace('\'', "''")
}

fn shown(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).expect("a time of this century").strftime("%FT%T%.3fZ").to_string()
}

/// Every message of the past is answered, every callback delivered, and it all goes on.
async fn goes_on(bridge: &mut Bridge, past: &Past) {
    for (conversation, id, text) in [("settled", "m-2", &past.waiting), ("open", "m-3", &past.open.text)] {
        bridge.remember("web", &json!({"conversation_id": conversation, "text": text}));
        let end = bridge.end_of(conversation, id).await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
        assert_eq!(bridge.times_stored(text), 1);
    }
    bridge.keep_private(&past.settled.text);
    let called_back = bridge.receiver.wait_for("settled", "turn.completed").await;
    assert_eq!((called_back.id(), called_back.sequence()), ("evt_settled_3", 3));
    let before = bridge.receiver.of("settled").remove(0);
    assert_eq!((before.id(), before.sequence()), ("evt_settled_2", 2));
    assert_eq!(before.event["data"]["message"]["id"], past.settled.reply.as_str());
    assert_eq!(bridge.bound("settled").await, past.settled.interaction);
    assert_eq!(bridge.bound("open").await, past.open.interaction);
    bridge.turn("settled", "And on it goes").await;
}

#[tokio::test]
async fn a_file_of_the_first_version_goes_on() {
    let mut bridge = Setup::new().start().await;
    let past = Past::of(&bridge).await;
    bridge.stop().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("first.db");
    let first = rusqlite::Connection::open(&file).expect("a file can be made");
    first.pragma_update(None, "application_id", APPLICATION_ID).expect("it can be written");
    first.execute_batch(SQLITE).expect("the first schema is right");
    first.pragma_update(None, "user_version", 1).expect("it can be written");
    first.execute_batch(&past.rows()).expect("the first version's rows fit its schema");
    first.close().expect("closes");
    bridge.restart_with(|setup| setup.store(&format!("sqlite://{}", file.display()))).await;
    goes_on(&mut bridge, &past).await;
    bridge.finish().await;
}

/// A database with the schema of the first version.
async fn first_schema() -> Option<String> {
    let url = database().await?;
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let first = Migration::new(1, "initial".into(), MigrationType::Simple, POSTGRES.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&mut connection).await.expect("migrates");
    connection.close().await.expect("closes");
    Some(url)
}

/// Which migrations are on record, in the order of their versions.
async fn migrations(url: &str) -> Vec<i64> {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let versions = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(&mut connection)
        .await
        .expect("they are on record");
    connection.close().await.expect("closes");
    versions
}

/// All that this version comes with, by the numbers of their files.
fn all_migrations() -> Vec<i64> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/migrations");
    let files = std::fs::read_dir(folder).expect("they are part of the project").flatten();
    let number = |name: String| name.split('_').next().and_then(|number| number.parse().ok()).expect("a number first");
    let mut numbers: Vec<i64> = files.map(|file| number(file.file_name().to_string_lossy().into_owned())).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn two_replicas_upgrade_a_database_while_the_first_version_goes_on_writing() {
    let Some(url) = first_schema().await else { return };
    let mut bridge = Setup::new().start().await;
    let past = Past::of(&bridge).await;
    bridge.stop().await;
    let counters = "SELECT setval(pg_get_serial_sequence('conversations', 'key'), 10); \
                    SELECT setval(pg_get_serial_sequence('turns', 'key'), 10); \
                    SELECT setval(pg_get_serial_sequence('deliveries', 'key'), 10)";
    execute(&url, &format!("{} {counters}", past.rows())).await;
    bridge.configure(|setup| setup.store(&url));
    bridge.start_together(2).await;
    assert_eq!(migrations(&url).await, all_migrations());
    goes_on(&mut bridge, &past).await;

    let late = unique("Taken in by the version before");
    execute(&url, &taken_in_by_the_first_version("late", &late)).await;
    bridge.remember("web", &json!({"conversation_id": "late", "text": late}));
    // No replica of that version is there to tell of it: it is found by looking, at the latest when something else happens.
    bridge.turn("open", "And on it goes").await;
    let end = bridge.end_of("late", "m-late").await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    bridge.next_replica();
    bridge.turn("late", "And on it goes here").await;
    bridge.finish().await;
}

#[tokio::test]
async fn replicas_that_start_at_the_same_moment_make_one_schema() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().start().await;
    bridge.stop().await;
    bridge.configure(|setup| setup.store(&url));
    bridge.start_together(3).await;
    assert_eq!(migrations(&url).await, all_migrations());
    for n in 0..3 {
        bridge.turn("c", &format!("Message {n}")).await;
        bridge.next_replica();
    }
    bridge.finish().await;
}
