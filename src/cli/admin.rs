//! The admin listener of a running bridge, for commands that go through it.
//!
//! The address and the token come from the command line or from the same configuration the bridge runs with. Nothing here
//! repeats a request: the caller decides whether a repeat is safe.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::{
    console::{CliError, Done, one_line},
    settings::{ConfigArgs, secret_file},
};
use crate::{config::Needs, outbound::client_builder};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of a list that are asked for at a time.
const PART: usize = 100;

/// Its address and token.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AdminArgs {
    /// Address of the admin listener; by default `admin.listen` of the configuration
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// File with the admin token; by default `admin.token` of the configuration
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

/// The admin listener.
#[derive(Debug)]
pub(super) struct Admin {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its status; `None` when there was no answer.
    pub(super) status: Option<StatusCode>,
    /// Its answer.
    detail: String,
}

impl AdminArgs {
    /// A client for it; sends nothing yet.
    pub(super) fn connect(&self) -> Result<Admin, CliError> {
        let given = self.admin_token_file.as_deref().map(secret_file).transpose()?;
        let base = self.admin.as_deref().map(address).transpose()?;
        let (base, token) = match (base, given) {
            (Some(base), Some(token)) => (base, Some(token)),
            (base, given) => {
                let admin = self.config.load_quietly(Needs::Nothing)?.config.admin;
                let own = local(admin.listen)?;
                let base = base.unwrap_or_else(|| own.clone());
                // The token of the configuration is for that listener: another one must not learn it.
                let configured = admin.token.filter(|_| base.origin() == own.origin());
                (base, given.or(configured))
            }
        };
        Admin::new(base, token)
    }
}

impl Admin {
    /// A client for the listener at `base`.
    pub(super) fn new(base: Url, token: Option<SecretString>) -> Result<Self, CliError> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(no_address());
        }
        let http = client_builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| CliError::failed(format!("the HTTP client could not be set up: {error}")))?;
        Ok(Self { http, base, token })
    }

    /// `GET /admin/v1/…`
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Refusal> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.exchange(self.http.request(Method::GET, url)).await
    }

    /// `GET /admin/v1/…` of a list: at most so many of its rows, over as many parts as it takes.
    pub(super) async fn list(
        &self,
        route: &str,
        member: &str,
        filter: &[(&str, String)],
        most: usize,
    ) -> Result<Vec<Value>, Refusal> {
        let (mut rows, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("limit", PART.to_string())];
            query.extend(filter.iter().cloned());
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut part = self.get(&[route], &query).await?;
            let found = part[member].as_array_mut().map(std::mem::take).unwrap_or_default();
            rows.extend(found.into_iter().take(most - rows.len()));
            cursor = part["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || rows.len() >= most {
                return Ok(rows);
            }
        }
    }

    /// `GET /admin/v1/…` of what is no JSON.
    pub(super) async fn get_text(&self, path: &[&str], query: &[(&str, String)]) -> Result<String, Refusal> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let response = self.send(self.http.request(Method::GET, url)).await?;
        response.text().await.map_err(|error| Refusal::unanswered(&error))
    }

    /// `POST /admin/v1/…`
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Refusal> {
        self.exchange(self.http.request(Method::POST, self.url(path)).json(body)).await
    }

    /// A route outside `/admin/v1`, of which only the status matters.
    pub(super) async fn get_plain(&self, path: &str) -> Done {
        let mut url = self.base.clone();
        url.set_path(path);
        let response = self.http.get(url).send().await.map_err(|error| self.explain(&Refusal::unanswered(&error)))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.explain(&Refusal::of(response).await))
    }

    /// Returns the meaning of a refusal for the person who asked.
    pub(super) fn explain(&self, refusal: &Refusal) -> CliError {
        let error = CliError::failed(&refusal.detail).at(shown(&self.base));
        match refusal.status {
            None => error.help("is the bridge running? name its admin listener with --admin or --config"),
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                error.help("give the admin token with --admin-token-file, or the bridge's configuration with --config")
            }
            Some(_) => error,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["admin", "v1"]).extend(path);
        }
        url
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Value, Refusal> {
        let response = self.send(request).await?;
        let status = response.status();
        response.json().await.map_err(|_| Refusal {
            status: Some(status),
            detail: "the answer is not JSON; is this the admin listener of a bridge?".to_owned(),
        })
    }

    /// The answer, where it is a success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Refusal> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(|error| Refusal::unanswered(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(Refusal::of(response).await) }
    }
}

impl Refusal {
    fn unanswered(error: &reqwest::Error) -> Self {
        let mut detail = "no answer".to_owned();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            detail = format!("no answer: {inner}");
            cause = inner.source();
        }
        Self { status: None, detail }
    }

    async fn of(response: Response) -> Self {
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        let said = ["detail", "title", "code"].iter().find_map(|name| problem[*name].as_str());
        let detail = match said {
            Some(said) => format!("{status}: {}{}", one_line(said), faults(&problem)),
            None => status.to_string(),
        };
        Self { status: Some(status), detail }
    }
}

/// The faults of single parameters that an answer names.
fn faults(problem: &Value) -> String {
    let fault = |error: &Value| {
        let (field, message) = (error["field"].as_str()?, error["message"].as_str()?);
        Some(format!("; {} {}", one_line(field), one_line(message)))
    };
    problem["errors"].as_array().into_iter().flatten().filter_map(fault).collect()
}

/// The address that was given. It may hold a password, so that no message repeats it as it is.
fn address(text: &str) -> Result<Url, CliError> {
    Url::parse(text).map_err(|_| no_address())
}

fn no_address() -> CliError {
    CliError::usage("--admin is not an http address").help("write http://127.0.0.1:9090")
}

/// An address without its user and password.
fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for addresses that can hold neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// Returns the address of a listener for its own machine.
pub(super) fn local(listen: SocketAddr) -> Result<Url, CliError> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    Url::parse(&format!("http://{address}")).map_err(|error| CliError::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let url = |listen: &str| local(listen.parse().expect("an address")).expect("a URL").to_string();
        assert_eq!(url("0.0.0.0:9090"), "http://127.0.0.1:9090/");
        assert_eq!(url("[::]:9090"), "http://[::1]:9090/");
        assert_eq!(url("10.1.2.3:80"), "http://10.1.2.3/");
    }

    #[test]
    fn no_message_repeats_a_password() {
        let text = "http://user:hunter2@127.0.0.1:1";
        let admin = Admin::new(address(text).expect("a URL"), None).expect("a client");
        let refusal = Refusal { status: None, detail: "no answer".to_owned() };
        for error in [
            admin.explain(&refusal),
            address("http://user:hunter2@:port").expect_err("no address"),
            Admin::new(address("ftp://user:hunter2@host").expect("a URL"), None).expect_err("no http"),
        ] {
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn path_segments_stay_segments() {
        let admin = Admin::new(Url::parse("http://127.0.0.1:9090").expect("a URL"), None).expect("a client");
        assert_eq!(admin.url(&["deliveries", "a/b?c"]).as_str(), "http://127.0.0.1:9090/admin/v1/deliveries/a%2Fb%3Fc");
        assert!(Admin::new(Url::parse("ftp://host").expect("a URL"), None).is_err());
    }
}
