//! `listen`: real events of a frontend, posted to an address on the developer's own machine as callbacks are.
//!
//! It reads the log, so that it takes nothing away from the real receivers, and needs no public address. The signature is by a
//! secret of the developer's own, never by the frontend's.

use std::{path::PathBuf, time::Duration};

use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    console::{CliError, Done, one_line, put, say},
    follow::{Entry, FollowArgs},
    secret::random,
    settings::secret_file,
};
use crate::{
    domain::WallClock as _,
    outbound::client_builder,
    signature::{CallbackSecret, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signer},
    system::{SystemClock, SystemEntropy},
};

const TIMEOUT: Duration = Duration::from_secs(15);
/// A local server that is being restarted is waited for.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address that each event is posted to
    #[arg(long, value_name = "URL")]
    forward_to: Url,
    /// File with the `whsec_…` secret that signs; by default one is made and printed
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArgs,
}

pub(super) async fn run(args: Args) -> Done {
    if !matches!(args.forward_to.scheme(), "http" | "https") {
        return Err(CliError::usage("--forward-to is not an http address").help("write http://127.0.0.1:3000/callback"));
    }
    let secret = if let Some(path) = &args.secret_file {
        let secret = secret_file(path)?;
        CallbackSecret::parse(secret.expose_secret()).map_err(|error| CliError::usage(error).at(path.display()))?
    } else {
        let secret = CallbackSecret::generate(random(&SystemEntropy));
        say(format!("signed with {}", secret.reveal()));
        secret
    };
    let signer = Signer::new(secret);
    let http = client_builder()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| CliError::failed(format!("the HTTP client could not be set up: {error}")))?;
    let mut log = args.follow.open()?;
    loop {
        let entry = tokio::select! {
            entry = log.next() => entry?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let posted = tokio::select! {
            posted = post(&http, &args.forward_to, &signer, &entry) => posted,
            _ = tokio::signal::ctrl_c() => break,
        };
        put(format!("{posted}  {}  {}", entry.kind, one_line(&entry.cursor)))?;
    }
    if let Some(cursor) = log.cursor() {
        say(format!("go on with --after {cursor}"));
    }
    Ok(())
}

/// Posts one event until it is answered, whatever the answer; gives the status.
async fn post(http: &reqwest::Client, to: &Url, signer: &Signer, entry: &Entry) -> u16 {
    let id = event_id(&entry.body);
    let mut is_told = false;
    loop {
        let timestamp = SystemClock.now().as_secs();
        let signature = signer.sign(&id, timestamp, entry.body.as_bytes(), timestamp);
        let request = http
            .post(to.clone())
            .header("content-type", "application/json")
            .header(HEADER_ID, &id)
            .header(HEADER_TIMESTAMP, timestamp)
            .header(HEADER_SIGNATURE, signature)
            .body(entry.body.clone());
        match request.send().await {
            Ok(response) => return response.status().as_u16(),
            Err(_) if is_told => {}
            Err(_) => {
                say("nobody answers there; trying again");
                is_told = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn event_id(body: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    event["id"].as_str().unwrap_or_default().to_owned()
}
