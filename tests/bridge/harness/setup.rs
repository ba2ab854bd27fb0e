//! How a test wants its bridge: configuration, frontends, and the sandbox behind it. Secrets are made anew for each test.
//!
//! The defaults make waits short and lift the rate limit, on both sides alike; tests about either set their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fini_bridge::sandbox::{ApiKey, DEFAULT_BOT_ID, RateLimit, SandboxConfig, Settings};

use super::Bridge;

/// One frontend of the bridge under test.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Its name, also the last part of its callback path.
    pub name: String,
    /// The bot that answers its customers.
    pub bot_id: String,
    /// Bearer tokens; the harness uses the first.
    pub tokens: Vec<String>,
    /// Secrets of signed inbound requests.
    pub signing_secrets: Vec<String>,
    /// The HS256 secret of browser tokens.
    pub browser_token_secret: Option<String>,
    /// Secrets its callbacks are signed with.
    pub callback_secrets: Vec<String>,
    /// Patterns of the events it wants.
    pub callback_events: Vec<String>,
    /// An address other than the harness's receiver.
    pub callback_url: Option<String>,
    /// Whether it is called back at all.
    pub callbacks: bool,
    /// Further keys, each with its TOML.
    pub further: BTreeMap<String, String>,
    /// Further receivers of its feed.
    pub destinations: Vec<Destination>,
}

impl Frontend {
    /// A frontend with one of everything.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            bot_id: DEFAULT_BOT_ID.to_owned(),
            tokens: vec![random_token()],
            signing_secrets: vec![random_secret()],
            browser_token_secret: Some(random_token()),
            callback_secrets: vec![random_secret()],
            callback_events: vec!["*".to_owned()],
            callback_url: None,
            callbacks: true,
            further: BTreeMap::new(),
            destinations: Vec::new(),
        }
    }

    /// Whether an event of this type is to be called back.
    pub fn wants(&self, kind: &str) -> bool {
        self.callbacks && matches_any(&self.callback_events, kind)
    }

    /// Every secret it has, to look for where none may appear.
    pub fn secrets(&self) -> impl Iterator<Item = &String> {
        let further = self.destinations.iter().flat_map(|one| &one.callback_secrets);
        let own = self.tokens.iter().chain(&self.signing_secrets).chain(&self.browser_token_secret);
        own.chain(&self.callback_secrets).chain(further)
    }

    fn render(&self, receiver: &str, secrets_in_files: bool, out: &mut String) {
        let list = |items: &[String]| {
            let quoted: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let mut line = |text: String| writeln!(out, "{text}").expect("a string takes any text");
        line("[[frontends]]".to_owned());
        line(format!("name = {:?}\nbot_id = {:?}", self.name, self.bot_id));
        if !secrets_in_files {
            line(format!("tokens = {}\nsigning_secrets = {}", list(&self.tokens), list(&self.signing_secrets)));
        }
        for (key, value) in &self.further {
            line(format!("{key} = {value}"));
        }
        if let Some(secret) = &self.browser_token_secret {
            line(format!("browser_token_secret = {secret:?}"));
        }
        if self.callbacks {
            let url = self.callback_url.clone().unwrap_or_else(|| format!("{receiver}/callback/{}", self.name));
            line(format!("callback_url = {url:?}"));
            if !secrets_in_files {
                line(format!("callback_secrets = {}", list(&self.callback_secrets)));
            }
            line(format!("callback_events = {}", list(&self.callback_events)));
        } else {
            line("callbacks = false".to_owned());
        }
        for one in &self.destinations {
            line(format!("[[frontends.destinations]]\nname = {:?}", one.name));
            line(format!("callback_url = \"{receiver}/callback/{}-{}\"", self.name, one.name));
            line(format!("callback_secrets = {}", list(&one.callback_secrets)));
            line(format!("callback_events = {}\ncallback_posted = {}", list(&one.callback_events), one.posted));
            for (key, value) in &one.further {
                line(format!("{key} = {value}"));
            }
        }
    }
}

/// A further receiver of a frontend's feed.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name; the last part of its callback path is `frontend-name`.
    pub name: String,
    /// Secrets its callbacks are signed with.
    pub callback_secrets: Vec<String>,
    /// Patterns of the events it wants.
    pub callback_events: Vec<String>,
    /// Whether it is told what the frontend's own server posted.
    pub posted: bool,
    /// Further keys, each with its TOML.
    pub further: BTreeMap<String, String>,
}

impl Destination {
    /// One that is told everything.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            callback_secrets: vec![random_secret()],
            callback_events: vec!["*".to_owned()],
            posted: true,
            further: BTreeMap::new(),
        }
    }

    /// Sets one more key; `value` is TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.further.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Whether an event of this type is to be called back.
    pub fn wants(&self, kind: &str) -> bool {
        matches_any(&self.callback_events, kind)
    }
}

fn matches_any(patterns: &[String], kind: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    })
}

/// A bridge to be started.
pub struct Setup {
    /// `section.key` to a TOML value, over the harness's defaults.
    values: BTreeMap<String, String>,
    /// The frontends; the first is the one the harness speaks for.
    pub frontends: Vec<Frontend>,
    /// The sandbox to start.
    pub sandbox: SandboxConfig,
    /// The key the bridge uses at the sandbox.
    pub api_key: String,
    /// A database other than a file of its own.
    pub store: Option<String>,
    /// Whether the frontends' secrets are left to what [`Setup::set_web`] says.
    pub secrets_in_files: bool,
}

impl Setup {
    /// One frontend `web`, short waits, no limit to speak of.
    pub fn new() -> Self {
        let api_key = format!("fini_{}", random_token());
        let mut sandbox = SandboxConfig::instant();
        sandbox.api_keys = vec![ApiKey::full(&api_key)];
        sandbox.settings.late_reply_ms = 400;
        let setup = Self {
            values: BTreeMap::new(),
            frontends: vec![Frontend::new("web")],
            sandbox,
            api_key: api_key.clone(),
            store: None,
            secrets_in_files: false,
        };
        let schedule: Vec<String> = [50, 100, 150, 200, 250].iter().map(|ms| format!("\"{ms}ms\"")).collect();
        setup
            .set("server.listen", "\"127.0.0.1:0\"")
            .set("server.shutdown_grace", "\"8s\"")
            .set("admin.listen", "\"127.0.0.1:0\"")
            .set("fini.api_key", &format!("{api_key:?}"))
            .set("poll.sweep_interval", "\"200ms\"")
            .set("delivery.allow_networks", "[\"127.0.0.0/8\"]")
            .set("delivery.allow_http", "true")
            .set("delivery.timeout", "\"5s\"")
            .set("delivery.retry_schedule", &format!("[{}]", schedule.join(", ")))
            .rate_limit(100_000, 60_000)
    }

    /// Sets one key; `value` is TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.values.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A shared database.
    pub fn store(mut self, url: &str) -> Self {
        self.store = Some(url.to_owned());
        self
    }

    /// The same limit for the bridge and for the sandbox.
    pub fn rate_limit(mut self, requests: usize, window_ms: u64) -> Self {
        self.sandbox.settings.rate_limit = Some(RateLimit { requests, window_ms, ..RateLimit::default() });
        self.set("fini.rate_limit", &format!("{{ requests = {requests}, window = \"{window_ms}ms\" }}"))
    }

    /// Changes the first frontend.
    pub fn web(mut self, change: impl FnOnce(&mut Frontend)) -> Self {
        change(&mut self.frontends[0]);
        self
    }

    /// Sets one more key of the first frontend; `value` is TOML.
    pub fn set_web(self, key: &str, value: &str) -> Self {
        self.web(|web| drop(web.further.insert(key.to_owned(), value.to_owned())))
    }

    /// Adds a further destination of the first frontend.
    pub fn destination(self, destination: Destination) -> Self {
        self.web(|web| web.destinations.push(destination))
    }

    /// Adds a frontend.
    pub fn frontend(mut self, frontend: Frontend) -> Self {
        self.frontends.push(frontend);
        self
    }

    /// Changes how the simulated vendor behaves.
    pub fn vendor(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.sandbox.settings);
        self
    }

    /// Starts it, and waits until it listens.
    pub async fn start(self) -> Bridge {
        Bridge::start(self).await
    }

    /// The configuration file.
    pub fn render(&self, base_url: &str, store: &str, receiver: &str) -> String {
        let mut values = self.values.clone();
        values.entry("fini.base_url".to_owned()).or_insert_with(|| format!("{base_url:?}"));
        values.entry("store.url".to_owned()).or_insert_with(|| format!("{store:?}"));
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (path, value) in &values {
            let (section, key) = path.split_once('.').expect("keys are section.key");
            writeln!(sections.entry(section).or_default(), "{key} = {value}").expect("a string takes any text");
        }
        let mut file = String::new();
        for (section, body) in sections {
            write!(file, "[{section}]\n{body}\n").expect("a string takes any text");
        }
        for frontend in &self.frontends {
            frontend.render(receiver, self.secrets_in_files, &mut file);
        }
        file
    }
}

/// A token no configuration refuses, and no other test has.
pub fn random_token() -> String {
    (0..40).map(|_| fastrand::alphanumeric()).collect()
}

/// A `whsec_` secret.
pub fn random_secret() -> String {
    let bytes: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// A text that appears nowhere else, so that it can be counted at the vendor and missed in the log.
pub fn unique(text: &str) -> String {
    let mark: String = (0..12).map(|_| fastrand::lowercase()).collect();
    format!("{text} q{mark}z")
}
