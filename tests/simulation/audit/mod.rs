//! The verdict: what was written, against what the vendor stored, what the feeds show, and what receivers and streams were given.
//! Looks from the outside alone.

mod asks;
mod browsers;
mod fate;
mod feeds;
mod handoffs;
mod privacy;
mod replies;
mod states;
mod story;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use axum::body::Bytes;
use fini_bridge::sandbox::{AuditReport, Conversation, DEFAULT_API_KEY, Inbound, Sandbox};
use serde_json::Value;

use crate::{
    host::Door,
    plan::{Plan, Talk},
    receiver::Arrival,
    stream::Seen,
    world::{Asked, Erased, Posted, World, lock},
};

/// Everything that is compared.
pub struct Evidence {
    pub plan: Plan,
    pub posted: Vec<Posted>,
    pub erased: Vec<Erased>,
    pub vendor: AuditReport,
    pub conversations: BTreeMap<String, Arc<Conversation>>,
    pub feeds: BTreeMap<Talk, Vec<Value>>,
    /// As `GET /v1/conversations/{id}` shows them.
    pub shown: BTreeMap<Talk, Value>,
    pub arrivals: Vec<Arrival>,
    pub asked: Vec<Asked>,
    pub streamed: BTreeMap<Talk, Vec<Seen>>,
    pub browsed: BTreeMap<Talk, Vec<Seen>>,
    /// Fini conversations that are larger than any page of List may be, each alone.
    pub unlistable: BTreeSet<String>,
    /// The requests of Fini's that fit no conversation, as operators see them.
    pub unmatched: Vec<Value>,
    pub ready: Option<(u16, Value)>,
    /// What was never done.
    pub left: Option<String>,
    pub violations: Vec<String>,
    pub kills: u32,
    pub simulated_ms: i64,
    /// How long the vendor's bot takes to reply.
    pub latency_ms: u64,
    /// The store as it lies on its disk, where something was erased.
    pub store: Vec<u8>,
}

/// What came of a world.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub violations: Vec<String>,
    /// What happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    pub simulated_ms: i64,
    /// Two runs of one world have the same.
    pub digest: u64,
    /// What happened, line by line, where that is wanted.
    pub story: String,
}

impl Verdict {
    pub fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn count(&mut self, what: &'static str, by: usize) {
        *self.counts.entry(what).or_default() += by as u64;
    }
}

impl Evidence {
    /// Looks at everything there is.
    pub async fn gather(world: &World, left: Option<String>) -> Self {
        let (mut feeds, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for talk in world.plan.talks() {
            feeds.insert(talk, feed(world, talk).await);
            let path = format!("/v1/conversations/{}", talk.id());
            if let Some((200, view)) = world.ask(Door::Public, "GET", &path, None).await {
                shown.insert(talk, view);
            }
        }
        let kept = world.ask(Door::Admin, "GET", "/admin/v1/handoffs?content=true", None).await;
        let ready = world.ask(Door::Admin, "GET", "/readyz", None).await;
        let sandbox = &world.vendor.sandbox;
        let vendor = sandbox.audit(0, true);
        Self {
            plan: world.plan.clone(),
            unlistable: unlistable(sandbox, vendor.inbound.keys()).await,
            posted: lock(&world.posted).clone(),
            erased: lock(&world.erased).clone(),
            vendor,
            conversations: sandbox.conversations(usize::MAX).into_iter().map(|one| (one.id.to_string(), one)).collect(),
            feeds,
            shown,
            arrivals: world.receivers.arrivals(),
            asked: lock(&world.asked).clone(),
            streamed: lock(&world.streamed).clone(),
            browsed: lock(&world.browsed).clone(),
            unmatched: kept.and_then(|(_, kept)| kept["unmatched"].as_array().cloned()).unwrap_or_default(),
            ready,
            left,
            violations: lock(&world.violations).iter().cloned().chain(world.receivers.violations()).collect(),
            kills: *lock(&world.kills),
            simulated_ms: world.time.elapsed(),
            latency_ms: sandbox.settings().reply_latency_ms,
            store: Vec::new(),
        }
    }

    /// Whether anything of a conversation was ever erased.
    fn had_erasure(&self, talk: Talk) -> bool {
        self.erased.iter().any(|erased| erased.talk == talk && erased.done_at.is_some())
    }

    /// Whether a conversation was ever in quarantine: from then on it may have more than one Fini conversation.
    fn had_quarantine(&self, talk: Talk) -> bool {
        self.feeds.get(&talk).into_iter().flatten().any(|event| event["data"]["state"] == "quarantined")
    }

    /// Messages stored at Fini that belong to a conversation, with where.
    fn stored(&self, talk: Talk) -> impl Iterator<Item = (&str, &Inbound)> {
        let name = talk.id();
        let all = self.vendor.inbound.iter().flat_map(|(id, stored)| stored.iter().map(|one| (id.as_str(), one)));
        all.filter(move |(_, stored)| stored.user_attributes.get("sim_talk").and_then(Value::as_str) == Some(&name))
    }

    /// Where a message stands at Fini: by its own mark, where several went out as one.
    fn places(&self, posted: &Posted) -> Vec<&str> {
        let mark = format!("[p{}]", posted.id.trim_start_matches('m'));
        let is_it = |stored: &Inbound| {
            stored.user_attributes.get("sim_message").and_then(Value::as_str) == Some(&posted.id)
                || stored.content.contains(&mark)
        };
        self.stored(posted.talk).filter(|(_, stored)| is_it(stored)).map(|(interaction, _)| interaction).collect()
    }

    /// Whether Fini has put several conversations of ours into one.
    fn is_joined(&self, interaction: &str) -> bool {
        let stored = self.vendor.inbound.get(interaction).map_or(&[][..], Vec::as_slice);
        let mut talks: Vec<_> = stored.iter().map(|stored| stored.user_attributes.get("sim_talk")).collect();
        talks.dedup();
        talks.len() > 1
    }
}

/// Which of these conversations List can give on no page, since each alone is larger than a page may be.
async fn unlistable(sandbox: &Sandbox, ids: impl Iterator<Item = &String>) -> BTreeSet<String> {
    let Some(most) = sandbox.settings().list_max_bytes else { return BTreeSet::new() };
    sandbox.set(|settings| settings.rate_limit = None);
    let mut found = BTreeSet::new();
    for id in ids {
        let path = format!("/v2/hc-interactions/{id}/public");
        let answered = sandbox.call("GET", &path, Some(DEFAULT_API_KEY), Bytes::new()).await;
        if answered.is_ok_and(|answered| answered.body.len() > most) {
            found.insert(id.clone());
        }
    }
    found
}

/// Judges a world.
pub fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict {
        violations: evidence.violations.clone(),
        simulated_ms: evidence.simulated_ms,
        digest: digest(evidence),
        ..Verdict::default()
    };
    verdict.count("kills", evidence.kills as usize);
    verdict.count("requests to Fini", usize::try_from(evidence.vendor.requests).unwrap_or(usize::MAX));
    verdict.count("callbacks", evidence.arrivals.len());
    verdict.count("joins", evidence.vendor.inbound.keys().filter(|id| evidence.is_joined(id)).count());
    if let Some(left) = &evidence.left {
        verdict.wrong(format!("never done: {left}"));
    }
    if !matches!(evidence.ready, Some((200, _))) {
        verdict.wrong(format!("not ready in the end: {:?}", evidence.ready));
    }
    if evidence.vendor.max_in_window > evidence.plan.limit {
        verdict.wrong(format!("budget: {} requests in a minute of Fini's", evidence.vendor.max_in_window));
    }
    asks::judge(evidence, &mut verdict);
    browsers::judge(evidence, &mut verdict);
    fate::judge(evidence, &mut verdict);
    feeds::judge(evidence, &mut verdict);
    handoffs::judge(evidence, &mut verdict);
    privacy::judge(evidence, &mut verdict);
    replies::judge(evidence, &mut verdict);
    states::judge(evidence, &mut verdict);
    waits::judge(evidence, &mut verdict);
    if evidence.plan.is_told {
        verdict.story = story::tell(evidence);
    }
    verdict
}

fn digest(evidence: &Evidence) -> u64 {
    let mut hash = DefaultHasher::new();
    for arrival in &evidence.arrivals {
        (arrival.at, &arrival.body[..]).hash(&mut hash);
    }
    (evidence.vendor.requests, evidence.simulated_ms).hash(&mut hash);
    hash.finish()
}

/// The whole feed of a conversation.
pub async fn feed(world: &World, talk: Talk) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let path = format!("/v1/conversations/{}/events?after={}&limit=500", talk.id(), events.len());
        let Some((200, page)) = world.ask(Door::Public, "GET", &path, None).await else { return events };
        let more = page["events"].as_array().cloned().unwrap_or_default();
        let has_more = page["has_more"] == true && !more.is_empty();
        events.extend(more);
        if !has_more {
            return events;
        }
    }
}

/// Whether a message is one of those that an erasure took, or may have taken.
pub fn is_erased(erased: &[Erased], posted: &Posted) -> bool {
    erased.iter().any(|erased| {
        erased.talk == posted.talk && erased.done_at.is_some_and(|done| posted.accepted_at.is_none_or(|at| at <= done))
    })
}

/// Whether a message has come to its end.
pub fn is_settled(feed: &[Value], message: &str) -> bool {
    feed.iter().any(|event| closes(event, message))
}

fn closes(event: &Value, message: &str) -> bool {
    matches!(event["type"].as_str(), Some("turn.completed" | "turn.failed")) && event["data"]["message_id"] == message
}

/// Whether anything stands between the bridge and the vendor, ever.
fn is_disturbed(plan: &Plan) -> bool {
    plan.answers.iter().any(|answer| answer.is_trouble()) || plan.acts.iter().any(|act| act.deed.is_trouble())
}
