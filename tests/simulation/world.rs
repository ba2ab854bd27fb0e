//! A world that runs: sets everything up, has every act done in its time, lets it calm down, and gathers what can be seen.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fini_bridge::{
    config::{self, Config},
    sandbox::{DEFAULT_API_KEY, DEFAULT_BOT_ID},
};
use http::Request;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    audit::{self, Evidence, Verdict},
    host::{Door, Host},
    plan::{Act, Deed, DeskStep, FRONTENDS, Named, Plan, Talk},
    receiver::{Mood, Receivers},
    stream,
    time::Time,
    vendor::{Vendor, Weather},
};

const TOKEN: &str = "simulated-frontends-token-that-opens-nothing";
/// What Fini's action shows, and what browsers' tokens are signed with.
const ACTION_KEY: &str = "simulated-action-key-that-opens-nothing";
const BROWSER_SECRET: &str = "simulated-secret-of-browsers-that-opens-nothing";
/// The name under which the bridge's key stands among a conversation's attributes.
const KEY: &str = "bridge_conversation";
/// How often Fini looks for the message that its action is about, and how many times.
const LISTENS: (Duration, usize) = (Duration::from_millis(200), 25);
/// The bots of the workspace.
const BOTS: [&str; 2] = [DEFAULT_BOT_ID, "8c1f5f0e-52a6-4a37-9f0b-61d1a9c0b7e2"];
/// How long a turn may wait for its reply.
pub const LATE_REPLY: Duration = Duration::from_secs(120);
/// How long a conversation is watched, and one with a human. All that Fini does comes sooner after what was said before; so
/// that a long stretch in which nobody does anything takes no time.
const WATCH: (Duration, Duration) = (Duration::from_secs(8 * 60), Duration::from_secs(15 * 60));
/// Once all is well again, everything has to be settled within this: every pause in the bridge has ended by then.
const CALM: Duration = Duration::from_secs(20 * 60);
/// So long nothing may be left to be done before it is judged: whatever Fini does late is seen by then.
const QUIET: Duration = Duration::from_secs(180);

/// One message that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    pub talk: Talk,
    pub id: String,
    /// Milliseconds since the world began; `None` when it was never answered 202.
    pub accepted_at: Option<i64>,
}

/// A conversation that was erased, with when, in milliseconds since the world began.
#[derive(Clone, Copy, Debug)]
pub struct Erased {
    pub talk: Talk,
    pub asked_at: i64,
    /// When that was answered, unless there was nothing to erase.
    pub done_at: Option<i64>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Who {
    /// A frontend's server.
    Server,
    /// A customer's browser, with its token.
    Browser(String),
    /// Fini's action.
    Fini,
}

impl Who {
    /// The value of `Authorization`.
    pub fn bearer(&self, frontend: &str) -> String {
        match self {
            Self::Browser(token) => format!("Bearer {token}"),
            Self::Server | Self::Fini => format!("Bearer {TOKEN}-{frontend}"),
        }
    }
}

/// A request for a human that was taken.
#[derive(Clone, Debug)]
pub struct Asked {
    pub talk: Talk,
    /// Milliseconds since the world began.
    pub made_at: i64,
    pub answered_at: i64,
    /// The Fini conversation from which it came, where Fini asked.
    pub home: Option<String>,
    /// Whether the bridge knew the conversation then.
    pub is_known: bool,
}

/// Everything in it.
pub struct World {
    pub plan: Plan,
    pub time: Arc<Time>,
    pub vendor: Arc<Vendor>,
    pub receivers: Arc<Receivers>,
    pub host: Host,
    pub posted: Mutex<Vec<Posted>>,
    pub erased: Mutex<Vec<Erased>>,
    pub asked: Mutex<Vec<Asked>>,
    pub streamed: Mutex<BTreeMap<Talk, Vec<stream::Seen>>>,
    /// As customers' browsers were shown it.
    pub browsed: Mutex<BTreeMap<Talk, Vec<stream::Seen>>>,
    pub violations: Mutex<Vec<String>>,
    pub kills: Mutex<u32>,
}

/// Runs a world from its beginning to the verdict.
pub fn run(plan: &Plan, folder: &Path) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let outcome = runtime.context("a runtime").and_then(|runtime| runtime.block_on(live(plan.clone(), folder)));
    outcome.unwrap_or_else(|error| Verdict { violations: vec![format!("{error:#}")], ..Verdict::default() })
}

async fn live(plan: Plan, folder: &Path) -> Result<Verdict> {
    let world = Arc::new(World::new(plan, folder)?);
    world.host.start().await?;
    if world.plan.acts.iter().any(|act| matches!(act.deed, Deed::Push { .. })) {
        world.open_desks().await;
    }
    let mut acts = JoinSet::new();
    for act in world.plan.acts.clone() {
        acts.spawn(perform(Arc::clone(&world), act));
    }
    while let Some(done) = acts.join_next().await {
        if let Err(error) = done {
            world.wrong(format!("an act failed: {error}"));
        }
    }
    world.vendor.heal();
    for frontend in FRONTENDS {
        world.receivers.set(frontend, Mood::Up);
    }
    let calm = Box::pin(world.calm_down()).await;
    let mut evidence = Evidence::gather(&world, calm).await;
    world.host.bury().await;
    if !evidence.erased.is_empty() {
        evidence.store = world.host.remains()?;
    }
    Ok(audit::judge(&evidence))
}

impl World {
    fn new(plan: Plan, folder: &Path) -> Result<Self> {
        let time = Time::new();
        let vendor = Vendor::new(plan.settings(), BOTS.map(str::to_owned), &plan.character(), plan.seed, &time)?;
        let receivers = Receivers::new(FRONTENDS.map(|name| (name, secret(name))), plan.seed, &time)?;
        let config = config(folder, &plan)?;
        let host = Host::new(config, folder, plan.seed, Arc::clone(&time), Arc::clone(&vendor), Arc::clone(&receivers));
        Ok(Self {
            plan,
            time,
            vendor,
            receivers,
            host,
            posted: Mutex::default(),
            erased: Mutex::default(),
            asked: Mutex::default(),
            streamed: Mutex::default(),
            browsed: Mutex::default(),
            violations: Mutex::default(),
            kills: Mutex::default(),
        })
    }

    pub fn wrong(&self, what: String) {
        lock(&self.violations).push(what);
    }

    /// A request of a frontend's server; tried again while nobody answers. `None` when nobody did for too long.
    pub async fn ask(&self, door: Door, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        self.ask_as(&Who::Server, frontend_of(path, body), (door, method, path), body).await
    }

    /// The same of somebody else.
    async fn ask_as(
        &self,
        who: &Who,
        frontend: &str,
        (door, method, path): (Door, &str, &str),
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let until = Instant::now() + Duration::from_secs(600);
        let mut pause = Duration::from_millis(200);
        while Instant::now() < until {
            let request = Request::builder().method(method).uri(path).header("host", "localhost");
            let request = match who {
                Who::Fini => request.header("x-api-key", ACTION_KEY),
                Who::Server | Who::Browser(_) => request.header("authorization", who.bearer(frontend)),
            };
            let request = request
                .header("content-type", "application/json")
                .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
                .ok()?;
            if let Ok((status, bytes)) = self.host.call(door, request).await
                && !matches!(status, 429 | 503)
            {
                return Some((status, serde_json::from_slice(&bytes).unwrap_or_default()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        None
    }

    async fn write(&self, talk: Talk, id: String, role: &'static str, text: String) {
        let body = json!({
            "conversation_id": talk.id(), "message_id": id, "text": text, "role": role,
            "user": {"id": format!("u{}", talk.person), "attributes": {
                "email": format!("p{}@example.com", talk.person), "user_id": format!("u{}", talk.person), "sim_talk": talk.id(), "sim_message": id,
            }},
        });
        let number = {
            let mut posted = lock(&self.posted);
            let known = posted.iter().position(|posted| posted.talk == talk && posted.id == id);
            known.unwrap_or_else(|| {
                posted.push(Posted { talk, id: id.clone(), accepted_at: None });
                posted.len() - 1
            })
        };
        match self.ask(Door::Public, "POST", "/v1/messages", Some(&body)).await {
            // The first answer counts; after an erasure, a later one is of a new conversation.
            Some((200 | 202, answer)) => {
                let now = self.time.elapsed();
                let posted = &mut lock(&self.posted)[number];
                if posted.accepted_at.is_none() || answer["duplicate"] == false {
                    posted.accepted_at = Some(now);
                }
            }
            Some((status, answer)) => self.wrong(format!("{}/{id}: answered {status} {answer}", talk.id())),
            None => self.wrong(format!("{}/{id}: not taken for ten minutes", talk.id())),
        }
    }

    /// The Fini conversation in which a message of this conversation was stored last.
    fn upstream(&self, talk: Talk) -> Option<String> {
        let report = self.vendor.sandbox.audit(0, true);
        let mine = report.inbound.into_iter().filter_map(|(id, stored)| {
            let last = stored.into_iter().rfind(|stored| stored.user_attributes["sim_talk"] == talk.id().as_str())?;
            Some((last.at, id))
        });
        mine.max().map(|(_, id)| id).filter(|id| self.vendor.sandbox.conversation(id).is_ok())
    }

    /// Whether the customer of a Fini conversation spoke there last: a human answers whoever did, of several.
    fn spoke_last(&self, talk: Talk, interaction: &str) -> bool {
        let report = self.vendor.sandbox.audit(0, true);
        let stored = report.inbound.get(interaction).map_or(&[][..], Vec::as_slice);
        let last = stored.iter().rfind(|stored| stored.role == "user");
        last.is_none_or(|last| last.user_attributes["sim_talk"] == talk.id().as_str())
    }

    /// An operator has a conversation begin anew, if it is in quarantine.
    async fn settle(&self, talk: Talk) {
        let path = format!("/admin/v1/conversations/{}/{}/bind", talk.frontend(), talk.id());
        let answer = self.ask(Door::Admin, "POST", &path, Some(&json!({"new": true}))).await;
        if let Some((status, answer)) = answer.filter(|(status, _)| !matches!(status, 200 | 404 | 409)) {
            self.wrong(format!("{}: a quarantine cannot be settled: {status} {answer}", talk.id()));
        }
    }

    /// An agent of the frontend's desk does something; where that cannot be, it is told so.
    async fn desk(&self, talk: Talk, agent: usize, step: DeskStep) {
        let named = json!({"id": format!("agent-{agent}"), "name": format!("Agent {agent}")});
        let (route, body) = match step {
            DeskStep::Ask => ("", json!({})),
            DeskStep::Claim => ("/claim", json!({"agent": named})),
            DeskStep::Join => ("/claim", json!({"agent": named, "join": true})),
            DeskStep::Leave => ("/leave", json!({"agent": {"id": named["id"]}})),
            DeskStep::Return => ("/return", json!({"to": "bot"})),
        };
        let path = format!("/v1/conversations/{}/handoff{route}", talk.id());
        let answer = self.ask(Door::Public, "POST", &path, Some(&body)).await;
        if let Some((status, answer)) = answer.filter(|(status, _)| !matches!(status, 200 | 404 | 409)) {
            self.wrong(format!("{}: {step:?} is answered {status} {answer}", talk.id()));
        }
    }

    /// The desks say that they are there: so an answer to Fini tells whether its conversation was known.
    async fn open_desks(&self) {
        for frontend in FRONTENDS {
            let desk = json!({"open": true});
            let put = (Door::Public, "PUT", "/v1/desk");
            let answer = self.ask_as(&Who::Server, frontend, put, Some(&desk)).await;
            if !matches!(answer, Some((200, _))) {
                self.wrong(format!("a desk cannot say that it is there: {answer:?}"));
            }
        }
    }

    /// A customer's browser, with a token of now for one conversation.
    pub async fn browser(&self, talk: Talk) -> Option<Who> {
        let path = format!("/v1/conversations/{}/tokens", talk.id());
        let wish = json!({"user_id": format!("u{}", talk.person)});
        match self.ask(Door::Public, "POST", &path, Some(&wish)).await {
            Some((200, minted)) => Some(Who::Browser(minted["token"].as_str()?.to_owned())),
            other => {
                self.wrong(format!("{}: no token for a browser: {other:?}", talk.id()));
                None
            }
        }
    }

    /// A customer asks for a human in the browser.
    async fn wish(&self, talk: Talk) {
        let Some(browser) = self.browser(talk).await else { return };
        let path = format!("/v1/conversations/{}/handoff", talk.id());
        let asked_at = self.time.elapsed();
        let asks = (Door::Public, "POST", path.as_str());
        match self.ask_as(&browser, talk.frontend(), asks, Some(&json!({}))).await {
            Some((200, _)) => self.was_asked(talk, asked_at, None, true),
            // Its token is older than an erasure, or was minted under a clock that has been set since.
            Some((401, _)) => {}
            other => self.wrong(format!("{}: a customer asks for a human: {other:?}", talk.id())),
        }
    }

    /// Fini's action asks for a human in answer to the customer who spoke last, and repeats the words.
    async fn push(&self, talk: Talk, named: Named) {
        let mut home = None;
        for _ in 0..LISTENS.1 {
            home = self.upstream(talk).filter(|home| self.spoke_last(talk, home));
            if home.is_some() {
                break;
            }
            sleep(LISTENS.0).await;
        }
        let Some(home) = home else { return };
        let Ok(conversation) = self.vendor.sandbox.conversation(&home) else { return };
        let words =
            conversation.events.iter().rfind(|event| event.role == "user").and_then(|event| event.message.clone());
        let mut body = json!({"reason": "asks for a human", "summary": words.unwrap_or_default()});
        if named != Named::Key {
            body["interaction_id"] = home.clone().into();
        }
        if let Some(key) = conversation.user_attributes.get(KEY).filter(|_| named != Named::Id) {
            body[KEY] = key.clone();
        }
        let asked_at = self.time.elapsed();
        let asks = (Door::Public, "POST", "/v1/fini/actions/escalate");
        match self.ask_as(&Who::Fini, FRONTENDS[0], asks, Some(&body)).await {
            Some((200, answer)) if answer["accepted"] == true => {
                self.was_asked(talk, asked_at, Some(home), answer["open"].is_boolean());
            }
            other => self.wrong(format!("{}: Fini's action is answered {other:?}", talk.id())),
        }
    }

    fn was_asked(&self, talk: Talk, asked_at: i64, home: Option<String>, is_known: bool) {
        let answered_at = self.time.elapsed();
        lock(&self.asked).push(Asked { talk, made_at: asked_at, answered_at, home, is_known });
    }

    /// Waits until nothing is left to be done; says what is left where that does not come.
    async fn calm_down(&self) -> Option<String> {
        let until = Instant::now() + CALM;
        let mut calm_since = None;
        let mut feeds = BTreeMap::new();
        loop {
            let left = self.left(&mut feeds).await;
            match left {
                None if calm_since.is_some_and(|since: Instant| since.elapsed() >= QUIET) => {
                    return None;
                }
                None => calm_since = calm_since.or_else(|| Some(Instant::now())),
                Some(left) if Instant::now() >= until => return Some(left),
                Some(_) => calm_since = None,
            }
            sleep(Duration::from_secs(10)).await;
        }
    }

    /// What is left to be done, as anybody can see it. Feeds are read again where they have grown, or shrunk by an erasure.
    async fn left(&self, feeds: &mut BTreeMap<Talk, (i64, Vec<Value>)>) -> Option<String> {
        let pending = self.ask(Door::Admin, "GET", "/admin/v1/deliveries?state=pending", None).await;
        let Some((200, pending)) = pending else { return Some(format!("deliveries: {pending:?}")) };
        if let Some(first) = pending["deliveries"].get(0) {
            return Some(format!("a callback is pending: {first}"));
        }
        for talk in self.plan.talks() {
            let path = format!("/admin/v1/conversations/{}/{}", talk.frontend(), talk.id());
            match self.ask(Door::Admin, "GET", &path, None).await {
                Some((404, _)) => {}
                Some((200, shown)) => {
                    let last = shown["last_sequence"].as_i64().unwrap_or(-1);
                    if feeds.get(&talk).is_none_or(|(read, _)| *read != last || last < 0) {
                        feeds.insert(talk, (last, audit::feed(self, talk).await));
                    }
                    let events = &feeds[&talk].1;
                    let posted = lock(&self.posted).clone();
                    let open = posted.into_iter().filter(|posted| posted.talk == talk && posted.accepted_at.is_some());
                    let erased = lock(&self.erased).clone();
                    let mut open = open.filter(|posted| !audit::is_erased(&erased, posted));
                    if let Some(open) = open.find(|posted| !audit::is_settled(events, &posted.id)) {
                        // What waits in quarantine waits for an operator.
                        if shown["state"] == "quarantined" {
                            self.settle(talk).await;
                        }
                        return Some(format!(
                            "{}/{} is not settled (state {}, interaction {})",
                            talk.id(),
                            open.id,
                            shown["state"],
                            shown["interaction_id"]
                        ));
                    }
                }
                other => return Some(format!("{}: {other:?}", talk.id())),
            }
        }
        None
    }
}

async fn perform(world: Arc<World>, act: Act) {
    sleep(Duration::from_millis(act.at)).await;
    let frontend = |number: usize| FRONTENDS[number];
    match act.deed {
        Deed::Write { talk, id, role, text } => world.write(talk, id, role, text).await,
        Deed::Agent { talk, text } => {
            if let Some(id) = world.upstream(talk).filter(|id| world.spoke_last(talk, id)) {
                drop(world.vendor.sandbox.agent_message(&id, &text));
            }
        }
        Deed::Note { talk } => {
            if let Some(id) = world.upstream(talk) {
                drop(world.vendor.sandbox.note(&id, "Internal: a note of an agent's."));
            }
        }
        Deed::Status { talk, status } => {
            if let Some(id) = world.upstream(talk) {
                drop(world.vendor.sandbox.set_status(&id, status));
            }
        }
        Deed::Resolved { talk, resolved } => {
            if let Some(id) = world.upstream(talk) {
                drop(world.vendor.sandbox.set_resolved(&id, Some(resolved)));
            }
        }
        Deed::Stream { talk, for_ms, is_browser } => {
            stream::follow(&world, talk, Duration::from_millis(for_ms), is_browser).await;
        }
        Deed::Weather { weather, for_ms } => {
            world.vendor.set_weather(weather);
            sleep(Duration::from_millis(for_ms)).await;
            world.vendor.set_weather(Weather::default());
        }
        Deed::Mood { frontend: number, mood, for_ms } => {
            world.receivers.set(frontend(number), mood);
            sleep(Duration::from_millis(for_ms)).await;
            world.receivers.set(frontend(number), Mood::Up);
        }
        Deed::Kill { questions, polls, down_ms, again } => {
            let _switched_off = world.host.switch.lock().await;
            *lock(&world.kills) += 1;
            world.host.kill(questions, polls).await;
            sleep(Duration::from_millis(down_ms)).await;
            let mut started = Ok(());
            if let Some(questions) = again {
                *lock(&world.kills) += 1;
                started = world.host.start_in_vain(questions).await;
            }
            if let Err(error) = started.and(world.host.start().await) {
                world.wrong(format!("does not come up again: {error:#}"));
            }
        }
        Deed::Step { by_ms } => world.time.step(by_ms),
        Deed::Pause { frontend: number, for_ms } => {
            let name = frontend(number);
            world.ask(Door::Admin, "POST", &format!("/admin/v1/frontends/{name}/pause"), None).await;
            sleep(Duration::from_millis(for_ms)).await;
            world.ask(Door::Admin, "POST", &format!("/admin/v1/frontends/{name}/resume"), None).await;
        }
        Deed::Erase { talk } => {
            let path = format!("/v1/conversations/{}?upstream=true", talk.id());
            let number = {
                let mut erased = lock(&world.erased);
                erased.push(Erased { talk, asked_at: world.time.elapsed(), done_at: None });
                erased.len() - 1
            };
            if world.ask(Door::Public, "DELETE", &path, None).await.is_some_and(|(status, _)| status == 202) {
                lock(&world.erased)[number].done_at = Some(world.time.elapsed());
            }
        }
        Deed::Settle => {
            for talk in world.plan.talks() {
                world.settle(talk).await;
            }
        }
        Deed::Desk { talk, agent, step } => world.desk(talk, agent, step).await,
        Deed::Wish { talk } => world.wish(talk).await,
        Deed::Push { talk, named } => world.push(talk, named).await,
        Deed::Replay => {
            world.ask(Door::Admin, "POST", "/admin/v1/deliveries/retry", Some(&json!({}))).await;
        }
    }
}

/// The secret that a frontend's callbacks are signed with.
fn secret(frontend: &str) -> String {
    let byte = frontend.bytes().next().unwrap_or_default();
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// Who asks for a conversation: the frontend it is of.
fn frontend_of(path: &str, body: Option<&Value>) -> &'static str {
    let named = body.and_then(|body| body["conversation_id"].as_str());
    let named = named.or_else(|| path.strip_prefix("/v1/conversations/")?.split(['/', '?']).next());
    let talk = named.and_then(|id| {
        let (person, number) = id.strip_prefix('p')?.split_once('-')?;
        Some(Talk { person: person.parse().ok()?, number: number.parse().ok()? })
    });
    talk.map_or(FRONTENDS[0], Talk::frontend)
}

fn config(folder: &Path, plan: &Plan) -> Result<Config> {
    let (limit, join_window) = (plan.limit, if plan.joins { 2 } else { 0 });
    let pauses: Vec<_> = ["\"1s\"", "\"5s\"", "\"20s\""].into_iter().chain(["\"30s\""; 90]).collect();
    let mut text = format!(
        "[store]\nurl = \"sqlite://{}\"\n[fini]\napi_key = \"{DEFAULT_API_KEY}\"\naction_key = \"{ACTION_KEY}\"\nlate_reply_window = \"{}s\"\n\
         rate_limit = {{ requests = {limit}, window = \"60s\" }}\n\
         [turns]\njoin_window = \"{join_window}s\"\n\
         [poll]\nwatch_idle = \"{}s\"\nwatch_escalated = \"{}s\"\n\
         [delivery]\nretry_schedule = [{}]\n",
        folder.join("bridge.db").display(),
        LATE_REPLY.as_secs(),
        WATCH.0.as_secs(),
        WATCH.1.as_secs(),
        pauses.join(", "),
    );
    for (name, bot) in FRONTENDS.into_iter().zip(plan.bots) {
        let (secret, bot) = (secret(name), BOTS[bot]);
        write!(
            text,
            "[[frontends]]\nname = \"{name}\"\nbot_id = \"{bot}\"\ntokens = [\"{TOKEN}-{name}\"]\n\
             callback_url = \"https://receiver.example/{name}\"\ncallback_secrets = [\"{secret}\"]\n\
             browser_token_secret = \"{BROWSER_SECRET}-{name}\"\n"
        )?;
    }
    let file = folder.join("bridge.toml");
    std::fs::write(&file, text)?;
    let sources = config::Sources {
        file: Some(file),
        default_file: "none".into(),
        env: BTreeMap::new(),
        now: jiff::Timestamp::from_millisecond(crate::time::BEGINNING)?,
        needs: config::Needs::Serve,
    };
    Ok(config::load(&sources).map_err(|errors| anyhow::anyhow!("{errors}"))?.config)
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
