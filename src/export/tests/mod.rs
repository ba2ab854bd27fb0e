//! The export against the simulated vendor, compared row by row with the vendor's own data.

mod following;
mod history;
mod interrupted;
mod moving;
mod still;
mod troubled;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{
    domain::{Entropy, Timestamp, WallClock},
    fini::{ClientSettings, FiniClient, Network},
    sandbox::{Conversation, DEFAULT_API_KEY, Sandbox, SandboxConfig, Seed, serve},
    system::SystemClock,
};

const DAY: i64 = 86_400_000;
const TEST: Purpose<'_> = Purpose { text: "test", workspace: "one" };

/// Chance that repeats from run to run.
struct Dice(AtomicU64);

impl Entropy for Dice {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
    }
}

/// A sandbox on loopback and a client for it.
struct Bench {
    sandbox: Sandbox,
    client: FiniClient,
    folder: tempfile::TempDir,
    dice: Dice,
    _server: JoinSet<()>,
}

/// Does something to the list after every page.
struct Mover<F>(F);

impl<F: Fn(&Counts) + Send + Sync> Watcher for Mover<F> {
    fn page(&self, place: &Place) {
        (self.0)(&place.counts);
    }
    fn waiting(&self, _: &str, _: Duration) {}
    fn note(&self, _: &str) {}
}

/// The result of an export.
struct Outcome {
    rows: Vec<Value>,
    counts: Counts,
    state: State,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(adapt: impl FnOnce(&mut SandboxConfig)) -> Self {
        let mut config = SandboxConfig::instant();
        config.settings.rate_limit = None;
        config.seed = Some(7);
        adapt(&mut config);
        let sandbox = Sandbox::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut server = JoinSet::new();
        let twin = sandbox.clone();
        server.spawn(async move {
            serve(listener, twin, std::future::pending()).await.expect("serves for ever");
        });
        let key = SecretString::from(DEFAULT_API_KEY);
        let settings = ClientSettings {
            base_url: format!("http://{address}").parse().expect("a URL"),
            read_key: key.clone(),
            write_key: key,
            reply_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            network: Network::default(),
        };
        let client = FiniClient::new(settings, Box::new(|_| ())).expect("a client");
        // Every page is synced, which in memory costs nothing.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        Self { sandbox, client, folder, dice: Dice(AtomicU64::new(1)), _server: server }
    }

    /// Seeds conversations from `from` to `to` days ago, `events_each` events in each.
    fn seed(&self, conversations: u32, from: i64, to: i64, events_each: u32) {
        let now = SystemClock.now().as_millis();
        let (from_ms, to_ms) = (Some(now - from * DAY), Some(now - to * DAY));
        let seed = Seed { conversations, events_each, from_ms, to_ms, ..Seed::default() };
        self.sandbox.seed(&seed).expect("seeded");
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out.ndjson")
    }

    fn patient<'a>(&'a self, permits: &'a dyn Permits, watcher: &'a dyn Watcher) -> Patient<'a> {
        let patience = Patience {
            first: Duration::from_millis(1),
            throttled: Duration::from_millis(1),
            longest: Duration::from_millis(20),
            total: Duration::from_secs(20),
        };
        Patient::new(&self.client, permits, watcher, &self.dice, patience)
    }

    /// Exports everything that happened from `since` to `until` days ago.
    async fn export(&self, since: i64, until: Option<i64>, watcher: &dyn Watcher) -> Result<Outcome, ExportError> {
        let now = SystemClock.now().point();
        let ago = |days: i64| Timestamp::from_millis(now.as_millis() - days * DAY);
        let range = Range { since: ago(since), until: until.map(ago) };
        let state = State::new(now.as_millis(), range.until.map(Timestamp::as_millis), range.windows(now));
        let staging = Stage::open::<State>(&self.out(), TEST, Kept::Respect)?.staging;
        self.go_on(staging, state, watcher).await
    }

    async fn go_on(&self, mut staging: Stage, mut state: State, watcher: &dyn Watcher) -> Result<Outcome, ExportError> {
        let permits = OwnLog::new(u32::MAX, Duration::from_secs(1));
        let patient = self.patient(&permits, watcher);
        Conversations::new(&patient, &SystemClock, Filter::default()).read(&mut staging, &mut state).await?;
        let outputs = Outputs { first: Some(Destination::File(self.out())), second: None };
        let finished = finish(&staging, Tables::Conversations, Format::Ndjson, &outputs)?;
        staging.discard()?;
        let rows = self.rows();
        assert_eq!(finished.conversations, rows.len() as u64);
        Ok(Outcome { rows, counts: state.counts, state })
    }

    fn rows(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.out()).expect("the output");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Returns the vendor's conversations, oldest creation first.
    fn truth(&self) -> Vec<Arc<Conversation>> {
        let mut all = self.sandbox.conversations(usize::MAX);
        all.sort_by_key(|conversation| conversation.created_at);
        all
    }
}

fn json(conversation: &Conversation) -> Value {
    serde_json::to_value(conversation).expect("plain data")
}

fn id(row: &Value) -> String {
    row["id"].as_str().expect("an id").to_owned()
}

/// Asserts that each row stands there once, in order of creation.
fn assert_in_order(rows: &[Value]) {
    let ids: BTreeSet<String> = rows.iter().map(id).collect();
    assert_eq!(ids.len(), rows.len(), "a conversation twice");
    assert!(rows.is_sorted_by_key(|row| row["createdAt"].as_i64()), "not in order");
}

/// Asserts that the rows are the vendor's conversations, byte for byte of their meaning.
fn assert_exact(bench: &Bench, rows: &[Value]) {
    assert_in_order(rows);
    let wanted: Vec<Value> = bench.truth().iter().map(|conversation| json(conversation)).collect();
    assert_eq!(rows.len(), wanted.len());
    for (row, wanted) in rows.iter().zip(&wanted) {
        assert_eq!(row, wanted);
    }
}

/// Asserts that each of `wanted` is there with at least the events it had then; nothing else but what `allowed` lets pass.
fn assert_holds(rows: &[Value], wanted: &[Arc<Conversation>], allowed: impl Fn(&str) -> bool) {
    assert_in_order(rows);
    let rows: BTreeMap<String, &Value> = rows.iter().map(|row| (id(row), row)).collect();
    for conversation in wanted {
        let row = rows.get(&conversation.id.to_string()).unwrap_or_else(|| panic!("{} is missing", conversation.id));
        let truth = json(conversation);
        let (had, has) = (truth["events"].as_array().expect("events"), row["events"].as_array().expect("events"));
        assert!(has.starts_with(had), "{} lost events", conversation.id);
    }
    let wanted: BTreeSet<String> = wanted.iter().map(|conversation| conversation.id.to_string()).collect();
    for id in rows.keys() {
        assert!(wanted.contains(id) || allowed(id), "{id} does not belong");
    }
}
