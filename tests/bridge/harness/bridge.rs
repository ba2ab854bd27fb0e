//! A bridge under test, with the world around it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use fini_bridge::sandbox::{self, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::client::{Answer, Call, client};
use super::process::{Lines, Process};
use super::replicas::Replica;
use super::{Allow, Frontend, Receiver, Setup, Stream, eventually, unique};

/// How long an orderly end may take: the grace of the configuration and something for a busy machine.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running bridge between a sandbox and a receiver.
pub struct Bridge {
    /// Base URL of the public listener; changes with a restart.
    pub url: String,
    /// Base URL of the admin listener; changes with a restart.
    pub admin_url: String,
    /// Every base URL so far.
    pub(super) urls: BTreeSet<String>,
    /// The simulated vendor.
    pub sandbox: Sandbox,
    /// The callback address.
    pub receiver: Receiver,
    /// The frontends as configured.
    pub frontends: Vec<Frontend>,
    /// Standard output so far.
    pub stdout: Lines,
    pub(super) stderr: Lines,
    pub(super) process: Option<Process>,
    /// Replicas that are not spoken to at the moment.
    pub(super) others: VecDeque<Replica>,
    pub(super) api_key: String,
    /// Conversations spoken of, as (frontend, conversation).
    pub(super) known: BTreeSet<(String, String)>,
    /// Texts that must never be logged.
    pub(super) private: BTreeSet<String>,
    pub(super) allowed: BTreeSet<Allow>,
    http: reqwest::Client,
    setup: Setup,
    vendor_address: SocketAddr,
    vendor: JoinSet<()>,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Bridge {
    pub(super) async fn start(setup: Setup) -> Self {
        let mut tasks = JoinSet::new();
        let sandbox = Sandbox::new(setup.sandbox.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let vendor_address = listener.local_addr().expect("it is bound");
        let receiver = Receiver::start(&setup.frontends, &mut tasks).await;
        let mut bridge = Self {
            url: String::new(),
            admin_url: String::new(),
            urls: BTreeSet::new(),
            sandbox,
            receiver,
            frontends: setup.frontends.clone(),
            stdout: Lines::default(),
            stderr: Lines::default(),
            process: None,
            others: VecDeque::new(),
            api_key: setup.api_key.clone(),
            known: BTreeSet::new(),
            private: BTreeSet::new(),
            allowed: BTreeSet::new(),
            http: client(),
            setup,
            vendor_address,
            vendor: JoinSet::new(),
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            _tasks: tasks,
        };
        bridge.serve_vendor(listener);
        bridge.launch().await;
        bridge
    }

    fn serve_vendor(&mut self, listener: TcpListener) {
        let sandbox = self.sandbox.clone();
        self.vendor.spawn(async move {
            sandbox::serve(listener, sandbox, std::future::pending()).await.expect("the sandbox serves");
        });
    }

    /// Takes the vendor off the network: connections are refused.
    pub async fn vendor_down(&mut self) {
        self.vendor.shutdown().await;
    }

    /// Brings the vendor back, at the same address.
    pub async fn vendor_up(&mut self) {
        let address = self.vendor_address;
        let listener = eventually("the vendor's port to be free", async || TcpListener::bind(address).await.ok()).await;
        self.serve_vendor(listener);
    }

    /// Where the vendor is.
    pub fn vendor_url(&self) -> String {
        format!("http://{}", self.vendor_address)
    }

    /// A request to the vendor itself, as somebody else in the workspace would make it.
    pub fn vendor_call(&self, method: &str, path: &str) -> Call {
        Call::new(&self.http, method, format!("{}{path}", self.vendor_url())).bearer(&self.api_key)
    }

    pub(super) async fn launch(&mut self) {
        self.write_config();
        let first = self.stdout.all().len();
        let mut process = self.spawn(self.stdout.clone());
        (self.url, self.admin_url) = process.addresses(first).await;
        self.urls.insert(self.url.clone());
        self.process = Some(process);
    }

    /// Writes the present setup, for whatever is started next.
    pub(super) fn write_config(&self) {
        let embedded = || format!("sqlite://{}", self.folder.path().join("bridge.db").display());
        let store = self.setup.store.clone().unwrap_or_else(embedded);
        let text = self.setup.render(&self.vendor_url(), &store, &self.receiver.url);
        std::fs::write(self.config_file(), text).expect("the temporary folder can be written");
    }

    /// Starts a process, and does not wait for anything.
    pub(super) fn spawn(&self, stdout: Lines) -> Process {
        let arguments = ["serve", "--config", &self.config_file()];
        Process::start(&arguments, self.folder.path(), stdout, self.stderr.clone())
    }

    /// Kills the bridge as a power cut would.
    pub async fn kill9(&mut self) {
        let mut process = self.process.take().expect("the bridge runs");
        process.signal("KILL").await;
        process.ended(STOP_WITHIN).await;
    }

    /// Sends SIGTERM and goes on.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends a signal by name and goes on.
    pub async fn signal(&self, name: &str) {
        self.process.as_ref().expect("the bridge runs").signal(name).await;
    }

    /// Starts a second bridge on the same data, and gives how it ended and what it said.
    pub async fn second_process(&self) -> (ExitStatus, String) {
        let file = self.folder.path().join("config.toml");
        let arguments = ["serve", "--config", file.to_str().expect("temporary folders have plain names")];
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let mut second = Process::start(&arguments, self.folder.path(), stdout.clone(), stderr.clone());
        let status = second.ended(STOP_WITHIN).await;
        (status, [stdout.all(), stderr.all()].concat().join("\n"))
    }

    /// The same, on another database.
    pub async fn second_process_on(&mut self, store: &str) -> (ExitStatus, String) {
        let file = self.folder.path().join("config.toml");
        let kept = std::fs::read_to_string(&file).expect("the configuration was written");
        let own = self.setup.store.clone().expect("this bridge shares its database");
        std::fs::write(&file, kept.replace(&own, store)).expect("the temporary folder can be written");
        let ended = self.second_process().await;
        std::fs::write(&file, kept).expect("the temporary folder can be written");
        ended
    }

    /// Waits for the bridge's end after a signal; it must be an orderly one.
    pub async fn ended(&mut self) {
        let status = self.process.take().expect("the bridge was started").ended(STOP_WITHIN).await;
        assert_eq!(status.code(), Some(0), "the bridge did not stop in order");
    }

    /// Stops in order.
    pub async fn stop(&mut self) {
        self.terminate().await;
        self.ended().await;
    }

    /// Starts the bridge again on the same data.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "stop or kill the bridge first");
        self.launch().await;
    }

    /// Starts the bridge again on the same data with another configuration.
    pub async fn restart_with(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.configure(change);
        self.restart().await;
    }

    /// Changes the configuration of whatever is started from now on.
    pub fn configure(&mut self, change: impl FnOnce(Setup) -> Setup) {
        let setup = std::mem::replace(&mut self.setup, Setup::new());
        self.setup = change(setup);
        self.frontends.clone_from(&self.setup.frontends);
    }

    /// The final check excuses this.
    pub fn allow(&mut self, what: Allow) {
        self.allowed.insert(what);
    }

    /// The first frontend.
    pub fn web(&self) -> &Frontend {
        &self.frontends[0]
    }

    /// A request to the public listener with the first frontend's token.
    pub fn call(&self, method: &str, path: &str) -> Call {
        self.anonymous(method, path).bearer(&self.web().tokens[0])
    }

    /// A request to the public listener without credentials.
    pub fn anonymous(&self, method: &str, path: &str) -> Call {
        Call::new(&self.http, method, format!("{}{path}", self.url))
    }

    /// A request to anywhere else.
    pub fn elsewhere(&self, method: &str, url: &str) -> Call {
        Call::new(&self.http, method, url.to_owned())
    }

    /// The configuration the bridge was started with.
    pub fn config_file(&self) -> String {
        self.folder.path().join("config.toml").to_str().expect("temporary folders have plain names").to_owned()
    }

    /// A request to the admin listener.
    pub fn admin(&self, method: &str, path: &str) -> Call {
        Call::new(&self.http, method, format!("{}{path}", self.admin_url))
    }

    /// Posts a message as the first frontend.
    pub async fn post(&mut self, message: &Value) -> Answer {
        let call = self.message(message);
        call.send().await
    }

    /// A message of the first frontend, not yet sent.
    pub fn message(&mut self, message: &Value) -> Call {
        let web = self.web().name.clone();
        self.remember(&web, message);
        self.call("POST", "/v1/messages").json(message)
    }

    /// Has the final check look after this message's conversation and text.
    pub fn remember(&mut self, frontend: &str, message: &Value) {
        if let Some(conversation) = message["conversation_id"].as_str() {
            self.known.insert((frontend.to_owned(), conversation.to_owned()));
        }
        if let Some(text) = message["text"].as_str() {
            self.keep_private(text);
        }
    }

    /// Whether a text stands anywhere in the bridge's data folder.
    pub fn is_on_disk(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder can be read");
        files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("bridge.db")).any(|file| {
            let bytes = std::fs::read(file.path()).expect("files of ours can be read");
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    /// Has the final check leave a conversation alone that was never created.
    pub fn known_forget(&mut self, frontend: &str, conversation: &str) {
        self.known.remove(&(frontend.to_owned(), conversation.to_owned()));
    }

    /// Says that a text must not be logged.
    pub fn keep_private(&mut self, text: &str) {
        // Short words turn up by chance.
        if text.len() >= 16 {
            self.private.insert(text.to_owned());
        }
    }

    /// Posts a text as a customer; it must be accepted. Gives the message's id and the text, which is made unique.
    pub async fn say(&mut self, conversation: &str, text: &str) -> (String, String) {
        let (text, id) = (unique(text), unique("m").replace(' ', "-"));
        let message = json!({"conversation_id": conversation, "message_id": id, "text": text});
        let answer = self.post(&message).await.expect(202).json();
        assert_eq!(answer["message_id"], id.as_str());
        (id, text)
    }

    /// Posts the same kind of text into many conversations at once; gives each conversation with its message's id.
    pub async fn say_in_each(&mut self, conversations: Vec<String>, text: &str) -> Vec<(String, String)> {
        let mut tasks = JoinSet::new();
        let mut posted = Vec::new();
        for conversation in conversations {
            let id = unique("m").replace(' ', "-");
            let body = json!({"conversation_id": conversation, "message_id": id, "text": unique(text)});
            tasks.spawn(self.message(&body).send());
            posted.push((conversation, id));
        }
        for answer in tasks.join_all().await {
            answer.expect(202);
        }
        posted
    }

    /// Posts a text and waits for the end of its turn, which is given with the message's id.
    pub async fn turn(&mut self, conversation: &str, text: &str) -> (String, Value) {
        let (id, _) = self.say(conversation, text).await;
        let end = self.end_of(conversation, &id).await;
        (id, end)
    }

    /// Waits for `turn.completed` or `turn.failed` of a message.
    pub async fn end_of(&self, conversation: &str, message: &str) -> Value {
        self.event(conversation, &format!("the end of the turn of {message}"), |event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn."))
                && event["data"]["message_id"] == message
        })
        .await
    }

    /// Waits for an event of this type in the feed.
    pub async fn event_of(&self, conversation: &str, kind: &str) -> Value {
        self.event(conversation, kind, |event| event["type"] == kind).await
    }

    /// Waits for an event in the feed.
    pub async fn event(&self, conversation: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{what} in the feed of {conversation}"), async || {
            self.events(conversation).await.into_iter().find(&wanted)
        })
        .await
    }

    /// The feed of a conversation of the first frontend; empty when there is none.
    pub async fn events(&self, conversation: &str) -> Vec<Value> {
        self.feed(self.web(), conversation).await.unwrap_or_default()
    }

    /// The whole feed of a conversation, page by page; `None` when there is none.
    pub async fn feed(&self, frontend: &Frontend, conversation: &str) -> Option<Vec<Value>> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event["sequence"].as_i64().expect("events have a sequence"));
            let path = format!("/v1/conversations/{conversation}/events?after={after}&limit=500");
            // A bridge that is being restarted has no feed to show.
            let answer = self.anonymous("GET", &path).bearer(&frontend.tokens[0]).attempt().await?;
            if answer.status == 404 {
                return None;
            }
            let page = answer.expect(200).json();
            events.extend(page["events"].as_array().expect("a page has events").iter().cloned());
            if page["has_more"] == false {
                return Some(events);
            }
        }
    }

    /// `GET /v1/conversations/{id}` as the first frontend.
    pub async fn conversation(&self, conversation: &str) -> Value {
        self.call("GET", &format!("/v1/conversations/{conversation}")).send().await.expect(200).json()
    }

    /// Waits until a conversation is in this state.
    pub async fn state(&self, conversation: &str, state: &str) -> Value {
        eventually(&format!("{conversation} to be {state}"), async || {
            Some(self.conversation(conversation).await).filter(|found| found["state"] == state)
        })
        .await
    }

    /// Waits until a conversation is bound, and gives Fini's id of it.
    pub async fn bound(&self, conversation: &str) -> String {
        eventually(&format!("{conversation} to be bound"), async || {
            self.conversation(conversation).await["interaction_id"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Opens the stream of a conversation of the first frontend.
    pub async fn stream(&self, conversation: &str, query: &str) -> Stream {
        Stream::open(self.call("GET", &format!("/v1/conversations/{conversation}/stream{query}"))).await
    }

    /// The deliveries the operators see.
    pub async fn deliveries(&self, query: &str) -> Vec<Value> {
        let answer = self.admin("GET", &format!("/admin/v1/deliveries?limit=500&{query}")).send().await.expect(200);
        answer.json()["deliveries"].as_array().expect("a list").clone()
    }

    /// Waits until so many callbacks are dead letters.
    pub async fn dead_letters(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} dead letters"), async || {
            Some(self.deliveries("state=dead").await).filter(|dead| dead.len() == count)
        })
        .await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        self.admin("GET", "/metrics").send().await.expect(200).text
    }

    /// One sample of `/metrics`, named as it stands there.
    pub async fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.metrics().await;
        text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// The log so far, line by line.
    pub fn log(&self) -> Vec<Value> {
        self.stdout.all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often a text was stored at the vendor.
    pub fn times_stored(&self, text: &str) -> usize {
        self.sandbox.audit(0, true).times_stored(text)
    }

    /// Ends everything, and checks what must hold whatever the test was about.
    pub async fn finish(mut self) {
        self.check_and_end().await;
    }
}

impl Drop for Bridge {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the bridge said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.stdout.all().iter().chain(&self.stderr.all()) {
                eprintln!("bridge: {line}");
            }
        }
    }
}
