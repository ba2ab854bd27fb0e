//! A frontend's callback address that does what a test tells it, and remembers everything that arrives.
//!
//! It speaks HTTP/1.1 on plain sockets, so that it can hang and reset like a real one. Every signature is verified on
//! arrival with the reference library, which shares nothing with the bridge's own implementation.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::{Webhook, WebhookError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Frontend, epoch_seconds, eventually};

/// What the receiver does with a callback.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and one header.
    Header(u16, &'static str, String),
    /// Answers 200 once [`Receiver::release`] was called.
    Hold,
    /// Never answers.
    Hang,
    /// Begins an answer and never ends its head, a byte at a time.
    Drip,
    /// Answers with this status and fifty megabytes.
    Flood(u16),
    /// Resets the connection.
    Reset,
    /// Takes so many in each second of its clock and answers the others 429, to come again in a second.
    PerSecond(usize),
    /// So many are taken each second of a bucket that holds so many; the rest is refused with 429 and told to come again in
    /// one.
    Bucket(f64, f64),
}

/// One attempt as it arrived.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The frontend its path names.
    pub frontend: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
    /// The body read as JSON.
    pub event: Value,
    /// When it was complete.
    pub at: Instant,
    /// Its place among everything that arrived or was answered.
    pub arrived: u64,
    /// The status it was answered with, and when that was written out.
    pub answered: Option<(u16, u64)>,
    /// The method and target of the request line.
    pub line: String,
    ended: bool,
}

impl Callback {
    /// A header as text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("callback headers are ASCII"))
    }

    /// The event's type.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    /// The event's id.
    pub fn id(&self) -> &str {
        self.event["id"].as_str().unwrap_or_default()
    }

    /// The event's conversation.
    pub fn conversation(&self) -> &str {
        self.event["conversation_id"].as_str().unwrap_or_default()
    }

    /// The event's number in its conversation.
    pub fn sequence(&self) -> i64 {
        self.event["sequence"].as_i64().unwrap_or_default()
    }

    /// Whether it was acknowledged.
    pub fn is_delivered(&self) -> bool {
        self.answered.is_some_and(|(status, _)| (200..300).contains(&status))
    }
}

#[derive(Default)]
struct State {
    clock: u64,
    script: VecDeque<Reply>,
    for_conversation: HashMap<String, VecDeque<Reply>>,
    otherwise: Option<Reply>,
    at: HashMap<String, Reply>,
    callbacks: Vec<Callback>,
    faults: Vec<String>,
    secrets: HashMap<String, Vec<String>>,
    /// By destination, the second that is counted for [`Reply::PerSecond`], and how many it took.
    taken_in: HashMap<String, (i64, usize)>,
    /// By destination, what is left in the bucket of [`Reply::Bucket`], and since when.
    buckets: HashMap<String, (Instant, f64)>,
    /// By how many seconds the sender's clock may be off.
    off: Vec<i64>,
}

impl State {
    /// Decides on arrival what depends on what came before.
    fn decided(&mut self, reply: Reply, destination: &str) -> Reply {
        let is_taken = match reply {
            Reply::PerSecond(limit) => {
                let (second, taken) = self.taken_in.entry(destination.to_owned()).or_default();
                if *second != epoch_seconds() {
                    (*second, *taken) = (epoch_seconds(), 0);
                }
                *taken += 1;
                *taken <= limit
            }
            Reply::Bucket(rate, burst) => {
                let now = Instant::now();
                let (since, tokens) = self.buckets.entry(destination.to_owned()).or_insert((now, burst));
                *tokens = (*tokens + now.duration_since(*since).as_secs_f64() * rate).min(burst);
                *since = now;
                let is_taken = *tokens >= 1.0;
                if is_taken {
                    *tokens -= 1.0;
                }
                is_taken
            }
            reply => return reply,
        };
        if is_taken { Reply::Status(200) } else { Reply::Header(429, "retry-after", "1".to_owned()) }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// The callback address. Clones share everything.
#[derive(Clone)]
pub struct Receiver {
    /// `http://127.0.0.1:…`
    pub url: String,
    state: Arc<Mutex<State>>,
    released: watch::Sender<bool>,
}

impl Receiver {
    /// Starts one in `tasks`.
    pub async fn start(frontends: &[Frontend], tasks: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let further = frontends.iter().flat_map(|frontend| {
            let name = |one: &str| format!("{}-{one}", frontend.name);
            frontend.destinations.iter().map(move |one| (name(&one.name), one.callback_secrets.clone()))
        });
        let own = frontends.iter().map(|one| (one.name.clone(), one.callback_secrets.clone()));
        let secrets = own.chain(further).collect();
        let state = Arc::new(Mutex::new(State { secrets, ..State::default() }));
        let receiver = Self { url, state, released: watch::Sender::new(false) };
        let own = receiver.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        let own = own.clone();
                        connections.spawn(async move { own.serve(stream).await });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        receiver
    }

    /// What the next callbacks get, one entry each, whichever they are.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state().script.extend(replies);
    }

    /// What the next callbacks of one conversation get.
    pub fn script_for(&self, conversation: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state().for_conversation.entry(conversation.to_owned()).or_default().extend(replies);
    }

    /// What every callback gets that no script speaks of; 200 at first.
    pub fn otherwise(&self, reply: Reply) {
        self.state().otherwise = Some(reply);
    }

    /// Lets go of everything held, now and later.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// From now on, signatures must be by one of these secrets.
    pub fn expect_secrets(&self, frontend: &str, secrets: &[String]) {
        self.state().secrets.insert(frontend.to_owned(), secrets.to_vec());
    }

    /// Every attempt so far, in order of arrival.
    pub fn all(&self) -> Vec<Callback> {
        self.state().callbacks.clone()
    }

    /// Every attempt for a conversation so far.
    pub fn of(&self, conversation: &str) -> Vec<Callback> {
        self.all().into_iter().filter(|callback| callback.conversation() == conversation).collect()
    }

    /// Every attempt at one destination so far, by the last part of its path.
    pub fn at(&self, destination: &str) -> Vec<Callback> {
        self.all().into_iter().filter(|callback| callback.frontend == destination).collect()
    }

    /// What every callback to one destination gets, whatever else is said; `None` for what all others get.
    pub fn always_at(&self, destination: &str, reply: Option<Reply>) {
        let mut state = self.state();
        match reply {
            Some(reply) => drop(state.at.insert(destination.to_owned(), reply)),
            None => drop(state.at.remove(destination)),
        }
    }

    /// Waits for an acknowledged callback of this type in this conversation.
    pub async fn wait_for(&self, conversation: &str, kind: &str) -> Callback {
        eventually(&format!("a delivered {kind} callback of {conversation}"), async || {
            self.of(conversation).into_iter().find(|callback| callback.kind() == kind && callback.is_delivered())
        })
        .await
    }

    /// Waits until so many attempts of a conversation have arrived.
    pub async fn wait_attempts(&self, conversation: &str, count: usize) -> Vec<Callback> {
        eventually(&format!("{count} callback attempts of {conversation}"), async || {
            Some(self.of(conversation)).filter(|all| all.len() >= count)
        })
        .await
    }

    /// From now on the sender's clock may also be off by so much.
    pub fn expect_off(&self, seconds: i64) {
        self.state().off.push(seconds);
    }

    /// What arrived that must never arrive: wrong signatures, overlap inside a conversation, malformed requests.
    pub fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some((line, headers, body)) = read_request(&mut stream, &mut buffer).await {
            let (index, reply) = self.take(line, headers, body);
            let Some(status) = self.act(&reply, &mut stream).await else {
                self.state().callbacks[index].ended = true;
                return;
            };
            let extra = match &reply {
                Reply::Header(_, name, value) => format!("{name}: {value}\r\n"),
                _ => String::new(),
            };
            {
                // Counted as answered just before it is: the sender cannot know earlier.
                let mut state = self.state();
                let at = state.tick();
                state.callbacks[index].answered = Some((status, at));
                state.callbacks[index].ended = true;
            }
            let head = format!("HTTP/1.1 {status} Because\r\n{extra}content-length: 0\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Carries a reply out; gives the status to answer with, if any.
    async fn act(&self, reply: &Reply, stream: &mut TcpStream) -> Option<u16> {
        let mut released = self.released.subscribe();
        match reply {
            Reply::Status(status) | Reply::Header(status, ..) => Some(*status),
            Reply::PerSecond(_) | Reply::Bucket(..) => unreachable!("decided on arrival"),
            Reply::Hold => {
                let mut end = [0];
                tokio::select! {
                    _ = released.wait_for(|released| *released) => Some(200),
                    _ = stream.read(&mut end) => None,
                }
            }
            Reply::Hang => {
                let mut end = [0];
                let _ = stream.read(&mut end).await;
                None
            }
            Reply::Drip => {
                let ((mut from, mut to), mut end) = (stream.split(), [0]);
                let drip = async {
                    let mut written = to.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
                    while written.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        written = to.write_all(b"x").await;
                    }
                };
                // Whoever asked goes away at some time.
                tokio::select! { () = drip => {}, _ = from.read(&mut end) => {} }
                None
            }
            Reply::Flood(status) => {
                let ((mut from, mut to), mut end) = (stream.split(), [0]);
                let flood = async {
                    let length = 50_usize << 20;
                    let head = format!("HTTP/1.1 {status} Flood\r\ncontent-length: {length}\r\n\r\n");
                    let piece = vec![b'x'; 1 << 16];
                    let mut written = to.write_all(head.as_bytes()).await;
                    for _ in 0..length >> 16 {
                        if written.is_ok() {
                            written = to.write_all(&piece).await;
                        }
                    }
                };
                tokio::select! { () = flood => {}, _ = from.read(&mut end) => {} }
                None
            }
            Reply::Reset => {
                let _ = stream.set_zero_linger();
                None
            }
        }
    }

    fn take(&self, line: String, headers: HeaderMap, body: Vec<u8>) -> (usize, Reply) {
        let mut state = self.state();
        let frontend = line.split_whitespace().nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let frontend = frontend.to_owned();
        let event: Value = serde_json::from_slice(&body).unwrap_or_default();
        let arrived = state.tick();
        let callback = Callback {
            frontend: frontend.clone(),
            headers,
            body,
            event,
            at: Instant::now(),
            arrived,
            answered: None,
            line,
            ended: false,
        };
        let secrets = state.secrets.get(&callback.frontend).map_or(&[][..], Vec::as_slice);
        let mut faults = check(&callback, secrets, &state.off);
        let busy = state.callbacks.iter().any(|other| {
            !other.ended
                && !callback.conversation().is_empty()
                && (other.conversation(), &other.frontend) == (callback.conversation(), &callback.frontend)
        });
        if busy {
            faults.push(format!("{} arrived while another of its conversation was under way", callback.id()));
        }
        state.faults.append(&mut faults);
        let conversation = callback.conversation().to_owned();
        let fixed = state.at.get(&callback.frontend).cloned();
        state.callbacks.push(callback);
        if let Some(reply) = fixed {
            let reply = state.decided(reply, &frontend);
            return (state.callbacks.len() - 1, reply);
        }
        let own = state.for_conversation.get_mut(&conversation).and_then(VecDeque::pop_front);
        let reply = own.or_else(|| state.script.pop_front()).or_else(|| state.otherwise.clone());
        let reply = reply.map(|reply| state.decided(reply, &frontend));
        (state.callbacks.len() - 1, reply.unwrap_or(Reply::Status(200)))
    }
}

/// Whether the signature is the one that this secret makes, whatever the time.
fn signed(webhook: &Webhook, callback: &Callback) -> Result<(), WebhookError> {
    let sent = callback.header("webhook-timestamp").parse().map_err(|_| WebhookError::InvalidTimestamp)?;
    let own = webhook.sign(callback.id(), sent, &callback.body)?;
    let is_there = callback.header("webhook-signature").split(' ').any(|one| one == own);
    if is_there { Ok(()) } else { Err(WebhookError::InvalidSignature) }
}

fn check(callback: &Callback, secrets: &[String], off: &[i64]) -> Vec<String> {
    let mut faults = Vec::new();
    let id = callback.id();
    for secret in secrets {
        let webhook = Webhook::new(secret).expect("the harness makes valid secrets");
        // The library judges by the time of day, and has its own word for what it finds old.
        let judged = webhook.verify(&callback.body, &callback.headers);
        if let Err(error) = judged.or_else(|error| if off.is_empty() { Err(error) } else { signed(&webhook, callback) })
        {
            faults.push(format!("callback {id}: {error}"));
        }
    }
    if secrets.is_empty() {
        faults.push(format!("callback {id} to an unknown frontend: {}", callback.line));
    }
    let sent: i64 = callback.header("webhook-timestamp").parse().unwrap_or_default();
    let shows = |off: &i64| (epoch_seconds() + off - sent).abs() <= 5;
    if !shows(&0) && !off.iter().any(shows) {
        faults.push(format!("callback {id}: its timestamp {sent} is not that of the attempt"));
    }
    if callback.header("webhook-id") != id || id.is_empty() {
        faults.push(format!("callback {id:?}: webhook-id is {:?}", callback.header("webhook-id")));
    }
    let agent = concat!("fini-bridge/", env!("CARGO_PKG_VERSION"));
    let wanted = [("content-type", "application/json"), ("user-agent", agent)];
    for (name, value) in wanted {
        if callback.header(name) != value {
            faults.push(format!("callback {id}: {name} is {:?}", callback.header(name)));
        }
    }
    if !callback.line.starts_with("POST ") {
        faults.push(format!("callback {id}: {}", callback.line));
    }
    faults
}

/// Reads one request; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, HeaderMap, Vec<u8>)> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for header in lines {
        let (name, value) = header.split_once(':')?;
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?);
    }
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let body_start = head_end + 4;
    while buffer.len() < body_start + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[body_start..body_start + length].to_vec();
    buffer.drain(..body_start + length);
    Some((line, headers, body))
}
