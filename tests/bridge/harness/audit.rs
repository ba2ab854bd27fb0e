//! The final check: what must hold at the end of every test, whatever it was about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::posted_by_browser;
use super::{Bridge, Callback, Frontend, eventually, log};

/// What a test may excuse, because it brings it about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allow {
    /// A callback may arrive again after it was acknowledged (a crash before it was recorded, a replay).
    Repeats,
    /// Callbacks may be undelivered or dead.
    Undelivered,
    /// Loops may fail, because the database is taken away or a replica stands still.
    FailedLoops,
    /// Turns may be open.
    OpenTurns,
    /// Conversations may be without a Fini conversation.
    Unbound,
    /// A message may be missing at the vendor (it was refused there, or given up).
    Unsent,
}

impl Bridge {
    pub(super) async fn check_and_end(&mut self) {
        if self.process.is_none() {
            self.restart().await;
        }
        let mut feeds = BTreeMap::new();
        for (name, conversation) in self.known.clone() {
            let frontend = self.frontends.iter().find(|one| one.name == name).expect("it is configured").clone();
            self.wait_for_turns(&frontend, &conversation).await;
            if let Some(feed) = self.feed(&frontend, &conversation).await {
                feeds.insert((frontend.name.clone(), conversation), feed);
            }
        }
        self.wait_for_deliveries().await;
        self.wait_for_backlog().await;
        // What came in the meantime belongs to the picture.
        for ((name, conversation), feed) in &mut feeds {
            let frontend = self.frontends.iter().find(|one| one.name == *name).expect("it is configured").clone();
            *feed = self.feed(&frontend, conversation).await.unwrap_or_default();
        }
        self.wait_for_deliveries().await;
        self.stop_others().await;
        self.stop().await;

        let mut faults = self.receiver.faults();
        for ((name, conversation), feed) in &feeds {
            faults.extend(numbering(conversation, feed));
            for text in feed.iter().filter_map(|event| event["data"]["message"]["text"].as_str()) {
                self.keep_private(text);
            }
            let frontend = self.frontends.iter().find(|one| one.name == *name).expect("it is configured");
            let callbacks: Vec<Callback> =
                self.receiver.of(conversation).into_iter().filter(|one| one.frontend == *name).collect();
            faults.extend(self.order(&callbacks));
            let wanted = |kind: &str, is_own: bool, by_browser: bool| frontend.wants(kind) && (!is_own || by_browser);
            faults.extend(self.completeness(wanted, feed, &callbacks));
            for one in &frontend.destinations {
                let at = format!("{name}-{}", one.name);
                let callbacks: Vec<Callback> =
                    self.receiver.of(conversation).into_iter().filter(|one| one.frontend == at).collect();
                faults.extend(self.order(&callbacks));
                let wanted = |kind: &str, is_own: bool, by_browser: bool| {
                    one.wants(kind) && (!is_own || one.posted || by_browser)
                };
                faults.extend(self.completeness(wanted, feed, &callbacks));
            }
        }
        faults.extend(self.exactly_once(&feeds));
        faults.extend(self.limit());
        faults.extend(self.privacy());
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    fn allows(&self, what: Allow) -> bool {
        self.allowed.contains(&what)
    }

    /// Every message the frontend posted has come to an end, and its conversation is bound.
    async fn wait_for_turns(&self, frontend: &Frontend, conversation: &str) {
        if !self.allows(Allow::OpenTurns) {
            eventually(&format!("the end of every turn of {conversation}"), async || {
                let feed = self.feed(frontend, conversation).await.unwrap_or_default();
                let ended: BTreeSet<&str> = feed
                    .iter()
                    .filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("turn.")))
                    .filter_map(|event| event["data"]["message_id"].as_str())
                    .collect();
                posted(&feed).all(|message| ended.contains(message["id"].as_str().unwrap_or_default())).then_some(())
            })
            .await;
        }
        if !self.allows(Allow::Unbound) {
            eventually(&format!("{conversation} to be bound"), async || {
                let path = format!("/v1/conversations/{conversation}");
                let answer = self.anonymous("GET", &path).bearer(&frontend.tokens[0]).send().await;
                (answer.status == 404 || !answer.json()["interaction_id"].is_null()).then_some(())
            })
            .await;
        }
    }

    async fn wait_for_deliveries(&self) {
        if !self.allows(Allow::Undelivered) {
            eventually("every callback to be delivered", async || {
                let open = self.deliveries("state=pending").await.len() + self.deliveries("state=dead").await.len();
                (open == 0).then_some(())
            })
            .await;
        }
    }

    async fn wait_for_backlog(&self) {
        let kinds = [
            (Allow::OpenTurns, "turns"),
            (Allow::OpenTurns, "unclear_turns"),
            (Allow::Unbound, "bindings"),
            (Allow::Undelivered, "deliveries"),
            (Allow::Undelivered, "dead_letters"),
        ];
        for (_, kind) in kinds.into_iter().filter(|(excuse, _)| !self.allows(*excuse)) {
            let sample = format!("fini_bridge_backlog{{kind=\"{kind}\"}}");
            eventually(&format!("{sample} to be 0"), async || (self.metric(&sample).await == Some(0.0)).then_some(()))
                .await;
        }
    }

    /// No callback overtook another, and none came again without a reason.
    fn order(&self, callbacks: &[Callback]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut acknowledged: BTreeMap<&str, u64> = BTreeMap::new();
        for (index, callback) in callbacks.iter().enumerate() {
            if acknowledged.contains_key(callback.id()) && !self.allows(Allow::Repeats) {
                faults.push(format!("{} came again after it was acknowledged", callback.id()));
            }
            let earlier = callbacks[..index].iter().filter(|other| other.sequence() < callback.sequence());
            for other in earlier {
                let done = acknowledged.get(other.id()).is_some_and(|at| *at < callback.arrived);
                if !done && !self.allows(Allow::Undelivered) {
                    faults.push(format!("{} overtook {}", callback.id(), other.id()));
                }
            }
            let later = callbacks[..index].iter().any(|other| other.sequence() > callback.sequence());
            if later && !self.allows(Allow::Repeats) {
                faults.push(format!("{} came after a later one", callback.id()));
            }
            if let (true, Some((_, at))) = (callback.is_delivered(), callback.answered) {
                acknowledged.entry(callback.id()).or_insert(at);
            }
        }
        faults
    }

    /// Exactly the wanted events were called back, as they stand in the feed, byte for byte the same in every attempt.
    fn completeness(
        &self,
        wants: impl Fn(&str, bool, bool) -> bool,
        feed: &[Value],
        callbacks: &[Callback],
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for callback in callbacks {
            if !feed.contains(&callback.event) {
                faults.push(format!("a callback is not in the feed: {}", callback.event));
            }
            let first = callbacks.iter().find(|other| other.id() == callback.id()).expect("at least itself");
            if first.body != callback.body {
                faults.push(format!("the body of {} changed between attempts", callback.id()));
            }
        }
        for event in feed {
            let kind = event["type"].as_str().unwrap_or_default();
            let own = kind == "message.created" && event["data"]["origin"] == "frontend";
            let by_browser = if own { posted_by_browser(&self.urls, event) } else { Some(false) };
            let Some(by_browser) = by_browser else { continue };
            let wanted = wants(kind, own, by_browser);
            let id = event["id"].as_str().unwrap_or_default();
            if !wanted && callbacks.iter().any(|callback| callback.id() == id) {
                faults.push(format!("called back against the rules: {event}"));
            }
            let delivered = callbacks.iter().any(|callback| callback.id() == id && callback.is_delivered());
            if wanted && !delivered && !self.allows(Allow::Undelivered) {
                faults.push(format!("never called back: {event}"));
            }
        }
        faults
    }

    /// Every text reached the vendor as often as it was posted.
    fn exactly_once(&self, feeds: &BTreeMap<(String, String), Vec<Value>>) -> Vec<String> {
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for text in feeds.values().flat_map(|feed| posted(feed)).filter_map(|message| message["text"].as_str()) {
            *wanted.entry(text).or_default() += 1;
        }
        let audit = self.sandbox.audit(0, true);
        let mut faults = Vec::new();
        for (text, count) in wanted {
            let stored = audit.times_stored(text);
            if stored > count || (stored < count && !self.allows(Allow::Unsent)) {
                faults.push(format!("posted {count} times, but stored {stored} times at the vendor: {text:?}"));
            }
        }
        faults
    }

    fn limit(&self) -> Option<String> {
        let limit = self.sandbox.settings().rate_limit?;
        let audit = self.sandbox.audit(0, false);
        (audit.max_in_window > limit.requests)
            .then(|| format!("{} requests in a window of {}", audit.max_in_window, limit.requests))
    }

    fn privacy(&self) -> Vec<String> {
        let mut secret: Vec<String> = self.frontends.iter().flat_map(Frontend::secrets).cloned().collect();
        secret.push(self.api_key.clone());
        secret.extend(self.private.iter().cloned());
        let mut faults = log::faults(&self.stdout.all(), &secret, self.allows(Allow::FailedLoops));
        // Before the log begins, the configuration's warnings stand there.
        for line in self.stderr.all().iter().filter(|line| line.contains("panicked")) {
            faults.push(format!("on standard error: {line}"));
        }
        for line in self.stderr.all() {
            faults.extend(log::leaks(&line, &secret).map(|what| format!("{what:?} on standard error: {line}")));
        }
        faults
    }
}

/// The messages a frontend posted itself.
fn posted(feed: &[Value]) -> impl Iterator<Item = &Value> {
    feed.iter()
        .filter(|event| event["type"] == "message.created" && event["data"]["origin"] == "frontend")
        .map(|event| &event["data"]["message"])
}

/// 1, 2, 3 … without gaps, every id once.
fn numbering(conversation: &str, feed: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, event) in feed.iter().enumerate() {
        if event["sequence"].as_u64() != Some(index as u64 + 1) {
            faults.push(format!("{conversation}: event {} has sequence {}", index + 1, event["sequence"]));
        }
        if event["conversation_id"] != conversation {
            faults.push(format!("{conversation}: an event of {}", event["conversation_id"]));
        }
        if !ids.insert(event["id"].to_string()) {
            faults.push(format!("{conversation}: {} twice", event["id"]));
        }
    }
    faults
}
