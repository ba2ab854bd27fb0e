//! The log of a frontend, followed over the public listener of a running bridge: for `listen` and `tail`.
//!
//! A connection that ends is made anew from the last event that was read, for ever: nothing is lost or doubled over restarts of
//! the bridge. Only a refusal that no repeat would change ends it.

use std::{path::PathBuf, time::Duration};

use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::{
    admin::local,
    console::{CliError, one_line, say},
    settings::{ConfigArgs, secret_file},
    when::{FORMS, parse_when},
};
use crate::{config::Needs, domain::WallClock as _, outbound::client_builder, system::SystemClock};

/// The bridge says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(10);
/// Before a connection is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// The source that is followed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FollowArgs {
    /// Address of the public listener; by default `server.listen` of the configuration
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with a token of the frontend; by default the first of its `tokens` in the configuration
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The frontend whose log it is; not needed where there is one frontend only, or with --token-file
    #[arg(long, value_name = "NAME")]
    frontend: Option<String>,
    /// Only these types, such as `turn.completed` or `conversation.*`; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Begin at this time; otherwise with what happens from now on
    #[arg(long, value_name = "TIME", help = format!("Begin at this time instead of now: {FORMS}"))]
    since: Option<String>,
    /// Go on behind this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with = "since")]
    after: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// One event of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The cursor behind it.
    pub(super) cursor: String,
    /// Its type.
    pub(super) kind: String,
    /// Its body, byte for byte.
    pub(super) body: String,
}

/// A log that is being followed.
pub(super) struct Log {
    http: reqwest::Client,
    url: Url,
    token: SecretString,
    last: Option<String>,
    open: Option<(reqwest::Response, Lines)>,
    /// True if somebody was told that it cannot be reached.
    is_told: bool,
}

impl FollowArgs {
    /// The source; sends nothing yet.
    pub(super) fn open(&self) -> Result<Log, CliError> {
        let given = self.token_file.as_deref().map(secret_file).transpose()?;
        let (base, token) = match (&self.url, given) {
            (Some(url), Some(token)) => (address(url)?, token),
            (url, given) => {
                let config = self.config.load_quietly(Needs::Nothing)?.config;
                let base = match url {
                    Some(url) => address(url)?,
                    None => local(config.server.listen)?,
                };
                let token = match given {
                    Some(token) => token,
                    None => self.configured(&config)?,
                };
                (base, token)
            }
        };
        let mut url = base;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "stream"]);
        }
        {
            let mut query = url.query_pairs_mut();
            for kind in &self.types {
                query.append_pair("type", kind);
            }
            if let Some(id) = &self.conversation {
                query.append_pair("conversation_id", id);
            }
            if let Some(since) = &self.since {
                let at = parse_when(since, SystemClock.now().point()).map_err(CliError::usage)?;
                query.append_pair("since", &at.to_string());
            }
        }
        let http = client_builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| CliError::failed(format!("the HTTP client could not be set up: {error}")))?;
        Ok(Log { http, url, token, last: self.after.clone(), open: None, is_told: false })
    }

    fn configured(&self, config: &crate::config::Config) -> Result<SecretString, CliError> {
        let frontend = match (&self.frontend, config.frontends.as_slice()) {
            (Some(name), all) => all.iter().find(|frontend| frontend.name == *name),
            (None, [only]) => Some(only),
            (None, _) => return Err(CliError::usage("whose log?").help("name the frontend with --frontend")),
        };
        let frontend = frontend.ok_or_else(|| {
            CliError::usage("there is no such frontend in the configuration")
                .help("name it with --frontend, or give --token-file")
        })?;
        frontend.tokens.first().cloned().ok_or_else(|| {
            CliError::usage(format!("frontend \"{}\" has no token", frontend.name)).help("give one with --token-file")
        })
    }
}

fn address(text: &str) -> Result<Url, CliError> {
    // It may hold a password, so that no message repeats it.
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| CliError::usage("--url is not an http address").help("write http://127.0.0.1:8080"))
}

impl Log {
    /// The place to go on from.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The next event, once there is one. Fails where no repeat would help.
    pub(super) async fn next(&mut self) -> Result<Entry, CliError> {
        loop {
            if let Some((response, lines)) = &mut self.open {
                if let Some(entry) = lines.entry() {
                    self.last = Some(entry.cursor.clone());
                    return Ok(entry);
                }
                if let Ok(Some(chunk)) = response.chunk().await {
                    lines.take(&chunk);
                    continue;
                }
                self.open = None;
            }
            if let Some(response) = self.connect().await? {
                if std::mem::take(&mut self.is_told) {
                    say("connected again");
                }
                self.open = Some((response, Lines::default()));
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Connects, or says that it cannot at present.
    async fn connect(&mut self) -> Result<Option<reqwest::Response>, CliError> {
        let mut url = self.url.clone();
        if self.last.is_some() {
            // A cursor says more than a time.
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| name != "since")
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        let mut request = self.http.get(url).bearer_auth(self.token.expose_secret());
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        let Ok(response) = request.send().await else {
            return Ok(self.wait("the bridge does not answer; trying again"));
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Some(response));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(self.wait(&format!("the bridge answers {status}; trying again")));
        }
        let problem: Value = response.json().await.unwrap_or_default();
        let said = ["detail", "title"].iter().find_map(|name| problem[*name].as_str()).unwrap_or_default();
        let error = CliError::failed(format!("{status}: {}", one_line(said)));
        Err(match problem["oldest_cursor"].as_str() {
            Some(oldest) => error.help(format!("go on with --after {}", one_line(oldest))),
            None if status == StatusCode::UNAUTHORIZED => error.help("give a token of the frontend with --token-file"),
            None => error,
        })
    }

    fn wait(&mut self, what: &str) -> Option<reqwest::Response> {
        if !self.is_told {
            say(what);
            self.is_told = true;
        }
        None
    }
}

/// The lines of a stream, put together to events.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    fn take(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole event.
    fn entry(&mut self) -> Option<Entry> {
        loop {
            let end = self.buffer.windows(2).position(|window| window == b"\n\n")?;
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                    .map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned())
            };
            if let (Some(cursor), Some(kind), Some(body)) = (field("id"), field("event"), field("data")) {
                return Some(Entry { cursor, kind, body });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_they_are_cut() {
        let stream = "retry: 2000\nevent: a.b\ndata: {\"x\":\"é\"}\nid: log_1\n\n: heartbeat\nevent: c\ndata: 2\nid: log_2\n\nevent: half";
        for size in 1..stream.len() {
            let (mut lines, mut entries) = (Lines::default(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                lines.take(chunk);
                entries.extend(std::iter::from_fn(|| lines.entry()));
            }
            let found: Vec<_> =
                entries.iter().map(|one| (one.cursor.as_str(), one.kind.as_str(), one.body.as_str())).collect();
            assert_eq!(found, [("log_1", "a.b", "{\"x\":\"é\"}"), ("log_2", "c", "2")], "{size}");
        }
    }

    #[test]
    fn no_message_repeats_a_password() {
        let error = address("ftp://user:hunter2@host").expect_err("no http");
        assert!(!error.to_string().contains("hunter2"));
    }
}
