//! Handoffs: how soon a customer's stream knows what a desk does, and how soon a request for a human is told when Fini pushes it
//! and when it has to be found by reading.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fini_bridge::domain::handoff::Agent;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    Bench,
    bridge::{self, Setup},
    histogram::Histogram,
    say,
};

/// The key of Fini's own requests.
const ACTION_KEY: &str = "an-action-key-of-the-load-0001";
/// Words that each agent says.
const WORDS: usize = 10;
/// Between two acts, so that none waits for another.
const PAUSE: Duration = Duration::from_millis(25);
/// For anything to turn up.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event on a customer's stream: of which conversation, what, and when it came.
type Seen = (usize, String, Instant);

struct World {
    http: reqwest::Client,
    base: String,
    fini: String,
    token: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    came: HashMap<(usize, String), Instant>,
}

/// Claims, words, pushes and found statuses, each on a conversation with a customer's stream open.
pub async fn run(bench: &Bench) -> Result<()> {
    let setup = bench.setup(bridge::folder(&bench.folder, "handoff")?);
    let setup = Setup { action_key: Some(ACTION_KEY), ..setup };
    let bridge = setup.start().await?;
    let target = bridge.target(0);
    fini_bridge::outbound::install_crypto();
    let (tell, seen) = mpsc::unbounded_channel();
    let mut world = World {
        http: reqwest::Client::builder().no_proxy().build()?,
        base: format!("http://{}", target.address),
        fini: format!("http://{}", bench.fini),
        token: target.token,
        seen,
        came: HashMap::new(),
    };
    let each = if bench.quick { 15 } else { 50 };
    let mut readers = JoinSet::new();
    let mut interactions = Vec::new();
    for number in 0..3 * each {
        interactions.push(world.begin(number, &tell, &mut readers).await?);
    }

    let (mut claims, mut claimed, mut words) = (Histogram::default(), Histogram::default(), Histogram::default());
    let agent = Agent { id: "ada".to_owned(), name: "Ada Lovelace".to_owned(), avatar_url: None };
    for number in 0..each {
        let began = Instant::now();
        world.post(&format!("/v1/conversations/h-{number}/handoff/claim"), &json!({ "agent": agent })).await?;
        claims.add(began.elapsed());
        claimed.add(world.until(number, "handoff.claimed").await?.saturating_duration_since(began));
        tokio::time::sleep(PAUSE).await;
    }
    for word in 0..WORDS {
        for number in 0..each {
            let id = format!("w-{number}-{word}");
            let body = json!({
                "conversation_id": format!("h-{number}"), "message_id": id, "role": "agent", "text": "I am looking into it.", "agent": agent,
            });
            let began = Instant::now();
            world.post("/v1/messages", &body).await?;
            words.add(world.until(number, &id).await?.saturating_duration_since(began));
            tokio::time::sleep(PAUSE).await;
        }
    }
    say!(
        "handoff   claim → answered, the bot silent in the same commit {} ; → on the customer's stream {}",
        claims.summary(),
        claimed.summary()
    );
    say!("handoff   an agent's word at the desk → on the customer's stream {}", words.summary());

    let mut pushed = Histogram::default();
    for (number, interaction) in interactions.iter().enumerate().take(2 * each).skip(each) {
        let began = Instant::now();
        world.push(interaction).await?;
        pushed.add(world.until(number, "handoff.requested").await?.saturating_duration_since(began));
        tokio::time::sleep(PAUSE).await;
    }
    say!("handoff   Fini's action → handoff.requested on the customer's stream {}", pushed.summary());

    let mut found = Histogram::default();
    for (number, interaction) in interactions.iter().enumerate().skip(2 * each) {
        let began = Instant::now();
        world.escalate(interaction).await?;
        found.add(world.until(number, "handoff.requested").await?.saturating_duration_since(began));
        // At any moment of the reader's rounds.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..500))).await;
    }
    say!("handoff   Fini's status, found by reading → handoff.requested {}", found.summary());
    readers.shutdown().await;
    bridge.stop().await?;
    Ok(())
}

impl World {
    /// A conversation that the bot has answered, with its customer's stream open; gives Fini's id.
    async fn begin(
        &mut self,
        number: usize,
        tell: &mpsc::UnboundedSender<Seen>,
        readers: &mut JoinSet<Result<()>>,
    ) -> Result<String> {
        let id = format!("h-{number}");
        let path = format!("/v1/conversations/{id}");
        self.post("/v1/messages", &json!({ "conversation_id": id, "text": "Where is my order?" })).await?;
        let token = self.post(&format!("{path}/tokens"), &json!({})).await?;
        let token = token["token"].as_str().context("a token")?.to_owned();
        let stream = self.http.get(format!("{}{path}/stream", self.base)).bearer_auth(token).send().await?;
        readers.spawn(read(number, stream.error_for_status()?, tell.clone()));
        self.until(number, "turn.completed").await?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let view: Value =
                self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await?.json().await?;
            if let Some(interaction) = view["interaction_id"].as_str() {
                return Ok(interaction.to_owned());
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{id} is not bound")
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Fini asks for a human by its action.
    async fn push(&self, interaction: &str) -> Result<()> {
        let request = self.http.post(format!("{}/v1/fini/actions/escalate", self.base)).header("x-api-key", ACTION_KEY);
        let answer: Value =
            request.json(&json!({ "interaction_id": interaction })).send().await?.error_for_status()?.json().await?;
        ensure!(answer["accepted"] == true, "{answer}");
        Ok(())
    }

    /// Fini shows the status, and tells nobody.
    async fn escalate(&self, interaction: &str) -> Result<()> {
        let url = format!("{}/_sandbox/conversations/{interaction}/status", self.fini);
        let body = json!({ "status": "Escalated to Human Agent" });
        self.http.post(url).json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Returns the time at which this event, or the message of this id, came on the conversation's stream.
    async fn until(&mut self, number: usize, what: &str) -> Result<Instant> {
        let wanted = (number, what.to_owned());
        loop {
            if let Some(at) = self.came.remove(&wanted) {
                return Ok(at);
            }
            let (number, what, at) = timeout(PATIENCE, self.seen.recv())
                .await
                .with_context(|| format!("{wanted:?} did not come"))?
                .context("streams")?;
            self.came.insert((number, what), at);
        }
    }
}

/// Tells of each event by its type, and of each message by its id.
async fn read(number: usize, mut stream: reqwest::Response, tell: mpsc::UnboundedSender<Seen>) -> Result<()> {
    let mut buffer = String::new();
    while let Some(chunk) = stream.chunk().await? {
        let at = Instant::now();
        buffer.push_str(&String::from_utf8_lossy(&chunk));
        while let Some(end) = buffer.find("\n\n") {
            let frame: String = buffer.drain(..end + 2).collect();
            let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
            let message = event.pointer("/data/message/id").and_then(Value::as_str);
            for what in [event["type"].as_str(), message].into_iter().flatten() {
                tell.send((number, what.to_owned(), at))?;
            }
        }
    }
    Ok(())
}
