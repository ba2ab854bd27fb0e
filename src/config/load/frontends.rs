//! The frontends, entry by entry, and what must be unique among them.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    Needs, callbacks,
    context::SeenSecret,
    finding::{Wrong, quote},
    forms::{self, Form},
    reader::Scope,
    secret_forms,
    tree::Value,
};
use crate::{
    config::Frontend,
    domain::{
        event::TextFormat,
        handoff::{HandoffPolicy, OnUnclaimed},
        message::MAX_TEXT_CHARS,
    },
};

const LONGEST_NAME: usize = 40;
const LONGEST_HANDOFF: Duration = Duration::from_hours(365 * 24);

pub(super) fn read(root: &mut Scope<'_>, needs: Needs) -> Vec<Frontend> {
    let entries = root.entries("frontends").unwrap_or_default();
    if entries.is_empty() && needs == Needs::Serve && !root.cx.has_error("frontends") {
        let help = "add a [[frontends]] table, or set FINI_BRIDGE__FRONTENDS__0__NAME, …__BOT_ID, …__TOKENS, \
                    …__CALLBACK_URL and …__CALLBACK_SECRETS";
        root.cx.error("frontends", Wrong::new("is empty: no frontend is configured", help));
    }
    let mut names = BTreeMap::new();
    let mut frontends = Vec::new();
    for (path, node) in entries {
        let help = "begin every frontend with a line [[frontends]]";
        let frontend = root.entry(path, node, help, |s| frontend(s, &mut names));
        frontends.extend(frontend.flatten());
    }
    tokens_are_unique(root);
    frontends
}

fn frontend(s: &mut Scope<'_>, names: &mut BTreeMap<String, String>) -> Option<Frontend> {
    let found = s.required("name", "give the frontend a name, such as name = \"web\"", name);
    if let Some(name) = &found {
        let path = s.path("name");
        if let Some(first) = names.insert(name.clone(), path.clone()) {
            let what = format!("is {} like `{first}`", quote(name));
            s.cx.error(path, Wrong::new(what, "give every frontend its own name"));
        }
    }
    let bot_id = s.required("bot_id", "set it to the id of the agent at Fini; `fini-bridge agents` lists them", bot_id);
    let tokens = s.secrets("tokens", "tokens_file", secret_forms::token);
    let signing_secrets = s.rotating_secrets("signing_secrets", "signing_secrets_file", secret_forms::webhook_secret);
    let browser_token_secrets = browser_token_secrets(s);
    let browser_attributes = s.list("browser_attributes", Vec::new(), browser_attribute);

    let (key, below) = (s.path("tokens"), s.path(""));
    let none = tokens.is_empty() && signing_secrets.is_empty() && browser_token_secrets.is_empty();
    let faulty = ["tokens", "signing_secrets", "browser_token_secret"]
        .iter()
        .any(|key| s.cx.has_error_under(&format!("{below}{key}")));
    if none && !faulty {
        let help =
            "give the frontend at least one token of 24 characters; `signing_secrets` or `browser_token_secret` do too";
        s.cx.error(key, Wrong::new("is missing: nobody could post to this frontend", help));
    }
    let text_format = s.value(
        "text_format",
        TextFormat::default(),
        forms::one_of(&[("plain", TextFormat::Plain), ("markdown", TextFormat::Markdown)]),
    );
    let handoff = s.section("handoff", handoff);
    let (callback, destinations) = callbacks::read(s);
    Some(Frontend {
        name: found?,
        bot_id: bot_id?,
        tokens,
        signing_secrets,
        browser_token_secrets,
        browser_attributes,
        text_format,
        handoff,
        callback: callback.ok()?,
        destinations,
    })
}

/// One secret, or a list of them for rotation.
fn browser_token_secrets(s: &mut Scope<'_>) -> Vec<SecretString> {
    let one = s.secret("browser_token_secret", "browser_token_secret_file", secret_forms::hmac_key);
    let many = s.secrets("browser_token_secrets", "browser_token_secrets_file", secret_forms::hmac_key);
    if one.is_some() && !many.is_empty() {
        let (one, many) = (s.path("browser_token_secret"), s.path("browser_token_secrets"));
        let help = "keep the list: its first secret signs, all of them verify";
        s.cx.error(many, Wrong::new(format!("is given besides `{one}`"), help));
    }
    one.into_iter().chain(many).collect()
}

fn handoff(s: &mut Scope<'_>) -> HandoffPolicy {
    let default = HandoffPolicy::default();
    let duration = || forms::duration(Duration::from_secs(1)..=LONGEST_HANDOFF);
    HandoffPolicy {
        claim_timeout: s.value("claim_timeout", default.claim_timeout, duration()),
        on_unclaimed: s.value("on_unclaimed", default.on_unclaimed, on_unclaimed),
        return_after: s.value("return_after", default.return_after, duration()),
    }
}

/// The end of a request that nobody claims: a word, or the words in which the customer is asked for an address.
fn on_unclaimed(value: &Value) -> Form<OnUnclaimed> {
    const HELP: &str = "write \"bot\", \"stay\", or { ask = \"Leave us your address, and we write to you.\" }";
    if let Value::Table(table) = value {
        let words = table.get("ask").filter(|_| table.len() == 1).map(|node| forms::words(&node.value)).transpose()?;
        let words = words.ok_or_else(|| Wrong::new("is a table without `ask`, or with more than that", HELP))?;
        if words.chars().count() > MAX_TEXT_CHARS {
            return Err(Wrong::new(format!("asks in more than {MAX_TEXT_CHARS} characters"), HELP));
        }
        return Ok(OnUnclaimed::Ask(words));
    }
    match forms::text(value)? {
        "bot" => Ok(OnUnclaimed::Bot),
        "stay" => Ok(OnUnclaimed::Stay),
        other => Err(Wrong::new(format!("cannot be {}", quote(other)), HELP)),
    }
}

/// Two frontends with one token would see each other's conversations. Tokens of one frontend twice are a slip, and refused
/// as well: revoking one of them would revoke nothing.
fn tokens_are_unique(root: &mut Scope<'_>) {
    let is_token = |path: &str| path.starts_with("frontends[") && path.contains("].tokens[");
    let mut repeated = Vec::new();
    let seen: Vec<_> = root.cx.secrets.iter().filter(|seen| is_token(&seen.path)).collect();
    for (index, later) in seen.iter().enumerate() {
        let same = |first: &&&SeenSecret| first.secret.expose_secret() == later.secret.expose_secret();
        if let Some(first) = seen[..index].iter().find(same) {
            repeated.push((later.path.clone(), first.path.clone()));
        }
    }
    for (path, first) in repeated {
        let wrong = Wrong::new(
            format!("is the same token as `{first}`"),
            "make a new one; a token must belong to one frontend, and once only",
        );
        root.cx.error(path, wrong);
    }
}

/// The name of a frontend, or of a destination.
pub(super) fn name(value: &Value) -> Form<String> {
    let written = forms::text(value)?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=LONGEST_NAME).contains(&written.len()) && written.chars().all(allowed) {
        return Ok(written.to_owned());
    }
    Err(Wrong::new(format!("cannot be {}", quote(written)), "use 1 to 40 of the characters a-z, 0-9 and -"))
}

fn bot_id(value: &Value) -> Form<Uuid> {
    const HYPHENATED: usize = 36;
    let written = forms::text(value)?.trim();
    let wrong = || {
        Wrong::new(
            format!("is not a UUID: {}", quote(written)),
            "write it like 4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3; `fini-bridge agents` lists the ids",
        )
    };
    if written.len() != HYPHENATED {
        return Err(wrong());
    }
    Uuid::try_parse(written).map_err(|_| wrong())
}

/// The name of an attribute that a page may set.
fn browser_attribute(value: &Value) -> Form<String> {
    let written = forms::words(value)?;
    if written == "user_id" {
        let help = "leave it out: who the customer is says the token's `sub`";
        return Err(Wrong::new("has user_id, by which a page would choose whose customer it is", help));
    }
    Ok(written)
}
