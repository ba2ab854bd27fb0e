//! `token`: mints a browser token, as a customer's backend would.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::{
    console::{CliError, Done, put, say},
    settings::{ConfigArgs, secret_file},
    when::parse_span,
};
use crate::{
    config::Needs,
    domain::{Timestamp, WallClock as _, exact, ids::ConversationId},
    signature::token::{Claims, MAX_LIFETIME_SECS, TokenSecret, mint},
    system::SystemClock,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The frontend whose secret signs
    #[arg(long, value_name = "NAME")]
    frontend: String,
    /// The one conversation the token opens; without it, all of --user
    #[arg(long, value_name = "ID", required_unless_present = "user")]
    conversation: Option<String>,
    /// The user who speaks
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Attributes of the user, as a JSON object; the page cannot change them
    #[arg(long, value_name = "JSON")]
    attributes: Option<String>,
    /// Only pages of this origin may use it; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// The time for which it is valid, at most 1h
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_span)]
    ttl: Duration,
    #[command(flatten)]
    config: ConfigArgs,
    /// Read the browser token secret from this file instead of the configuration
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    secret_file: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Done {
    let conversation = args.conversation.as_deref().map(ConversationId::parse).transpose();
    let conversation = conversation.map_err(|error| CliError::usage(format!("--conversation {error}")))?;
    let attributes = match args.attributes.as_deref().map(|text| exact::value(text.as_bytes())) {
        None => Map::new(),
        Some(Ok(Value::Object(attributes))) => attributes,
        Some(_) => return Err(CliError::usage("--attributes must be a JSON object")),
    };
    let secret = match &args.secret_file {
        Some(path) => secret_file(path)?,
        None => configured(&args)?,
    };
    let secret = TokenSecret::new(secret.expose_secret())
        .map_err(|error| CliError::usage(format!("the browser token secret {error}")))?;
    let now = SystemClock.now().as_secs();
    let ttl = i64::try_from(args.ttl.as_secs()).unwrap_or(i64::MAX);
    if !(1..=MAX_LIFETIME_SECS).contains(&ttl) {
        return Err(CliError::usage("--ttl must be from 1s to 1h").help("a page fetches a new token when one ends"));
    }
    let claims = Claims {
        frontend: args.frontend,
        conversation_id: conversation.map(|id| id.to_string()),
        sub: args.user,
        attributes,
        origins: args.origin,
        iat: now,
        exp: now.saturating_add(ttl),
    };
    put(mint(&claims, &secret).map_err(|error| CliError::usage(error.to_string()))?)?;
    say(format!("valid until {}", Timestamp::from_millis(claims.exp.saturating_mul(1000))));
    Ok(())
}

fn configured(args: &Args) -> Result<SecretString, CliError> {
    let config = args.config.load_quietly(Needs::Nothing)?.config;
    let Some(frontend) = config.frontends.iter().find(|frontend| frontend.name == args.frontend) else {
        let names: Vec<&str> = config.frontends.iter().map(|frontend| frontend.name.as_str()).collect();
        let help = if names.is_empty() {
            "the configuration has no frontends; name it with --config, or give --secret-file".to_owned()
        } else {
            format!("use one of: {}", names.join(", "))
        };
        return Err(CliError::usage(format!("there is no frontend \"{}\"", args.frontend)).help(help));
    };
    frontend.browser_token_secrets.first().cloned().ok_or_else(|| {
        CliError::usage(format!("frontend \"{}\" has no browser tokens", args.frontend))
            .help("set its `browser_token_secret`")
    })
}
