//! Secrets that change while the bridge runs: which of them do, and what is then in force.
//!
//! Only what a room can exchange without stopping is taken over: Fini's keys, the operators' token, and what the frontends
//! that run already sign, verify and are known by. Everything else of a configuration counts from the next start.

use secrecy::{ExposeSecret, SecretString};

use super::{Callback, Config, Frontend, RotatingSecret};
use crate::domain::destination::MAIN;

/// A configuration with the secrets of a newer reading.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The values in force from now on.
    pub config: Config,
    /// The keys whose secrets are others than before.
    pub changed: Vec<String>,
}

impl Config {
    /// This configuration with the secrets of `newer`.
    #[must_use]
    pub fn renewed(&self, newer: &Self) -> Renewed {
        let mut config = self.clone();
        let mut changed = Vec::new();
        let mut note = |is_other: bool, key: String| {
            if is_other {
                changed.push(key);
            }
        };
        note(!same(&self.fini.keys.read, &newer.fini.keys.read), "fini.read_api_key".to_owned());
        note(!same(&self.fini.keys.write, &newer.fini.keys.write), "fini.write_api_key".to_owned());
        config.fini.keys = newer.fini.keys.clone();
        note(!same_option(self.fini.action_key.as_ref(), newer.fini.action_key.as_ref()), "fini.action_key".to_owned());
        config.fini.action_key.clone_from(&newer.fini.action_key);
        note(!same_option(self.admin.token.as_ref(), newer.admin.token.as_ref()), "admin.token".to_owned());
        config.admin.token.clone_from(&newer.admin.token);
        for known in &mut config.admin.operators {
            let newer = newer.admin.operators.iter().find(|newer| newer.operator.name == known.operator.name);
            let Some(newer) = newer else { continue };
            note(!same(&known.token, &newer.token), format!("admin.operators.{}.token", known.operator.name));
            known.token.clone_from(&newer.token);
        }
        for frontend in &mut config.frontends {
            let Some(newer) = newer.frontends.iter().find(|newer| newer.name == frontend.name) else { continue };
            for key in renew(frontend, newer) {
                note(true, format!("frontends.{}.{key}", frontend.name));
            }
        }
        Renewed { config, changed }
    }
}

/// Takes over the secrets of one frontend, and names those that are others.
fn renew(frontend: &mut Frontend, newer: &Frontend) -> Vec<String> {
    let mut changed: Vec<&'static str> = Vec::new();
    let mut note = |is_same: bool, key| {
        if !is_same {
            changed.push(key);
        }
    };
    note(same_list(&frontend.tokens, &newer.tokens), "tokens");
    frontend.tokens.clone_from(&newer.tokens);
    note(same_rotating(&frontend.signing_secrets, &newer.signing_secrets), "signing_secrets");
    frontend.signing_secrets.clone_from(&newer.signing_secrets);
    note(same_list(&frontend.browser_token_secrets, &newer.browser_token_secrets), "browser_token_secrets");
    frontend.browser_token_secrets.clone_from(&newer.browser_token_secrets);
    let mut changed: Vec<String> = changed.into_iter().map(str::to_owned).collect();
    for callback in frontend.callback.iter_mut().chain(&mut frontend.destinations) {
        let Some(newer) = newer.callbacks().find(|newer| newer.name == callback.name) else { continue };
        let place = if callback.name == MAIN { String::new() } else { format!("destinations.{}.", callback.name) };
        changed.extend(renew_callback(callback, newer).into_iter().map(|key| format!("{place}{key}")));
    }
    changed
}

/// Takes over the secrets of one destination, and names those that are others.
fn renew_callback(callback: &mut Callback, newer: &Callback) -> Vec<&'static str> {
    let Callback { secrets, signing_key, headers, .. } = newer;
    let mut changed = Vec::new();
    if !same_rotating(&callback.secrets, secrets) {
        changed.push("callback_secrets");
    }
    callback.secrets.clone_from(secrets);
    if !same_option(callback.signing_key.as_ref(), signing_key.as_ref()) {
        changed.push("callback_signing_key");
    }
    callback.signing_key.clone_from(signing_key);
    if !same_list(&callback.headers, headers) {
        changed.push("headers");
    }
    callback.headers.clone_from(headers);
    changed
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn same_option(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

fn same_list(one: &[SecretString], other: &[SecretString]) -> bool {
    one.iter().map(ExposeSecret::expose_secret).eq(other.iter().map(ExposeSecret::expose_secret))
}

fn same_rotating(one: &[RotatingSecret], other: &[RotatingSecret]) -> bool {
    let parts = |secret: &RotatingSecret| (secret.secret.expose_secret().to_owned(), secret.not_after);
    one.iter().map(parts).eq(other.iter().map(parts))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{event::TextFormat, handoff::HandoffPolicy};

    fn frontend(name: &str, token: &str) -> Frontend {
        Frontend {
            name: name.to_owned(),
            bot_id: Uuid::nil(),
            tokens: vec![SecretString::from(token)],
            signing_secrets: Vec::new(),
            browser_token_secrets: Vec::new(),
            browser_attributes: Vec::new(),
            text_format: TextFormat::Plain,
            handoff: HandoffPolicy::default(),
            callback: None,
            destinations: Vec::new(),
        }
    }

    #[test]
    fn secrets_are_taken_over_and_nothing_else() {
        let running =
            Config { frontends: vec![frontend("web", "old"), frontend("desk", "kept")], ..Config::defaults() };
        let mut newer = Config { frontends: vec![frontend("new", "x"), frontend("web", "new")], ..Config::defaults() };
        newer.fini.keys.write = SecretString::from("other");
        newer.server.max_body = 1;
        let Renewed { config, changed } = running.renewed(&newer);
        assert_eq!(changed, ["fini.write_api_key", "frontends.web.tokens"]);
        let names: Vec<_> = config.frontends.iter().map(|frontend| frontend.name.as_str()).collect();
        assert_eq!(names, ["web", "desk"]);
        assert_eq!(config.frontends[0].tokens[0].expose_secret(), "new");
        assert_eq!(config.frontends[1].tokens[0].expose_secret(), "kept");
        assert_eq!(config.server.max_body, running.server.max_body);
        assert!(config.renewed(&config).changed.is_empty());
    }
}
