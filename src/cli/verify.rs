//! `verify`: is a captured callback genuine, and if not, what exactly is wrong with it?
//!
//! A captured request is old by nature, so that its age is told but decides only with `--tolerance`. Where no signature
//! fits, the usual slips of capturing are tried one by one, because "no match" alone helps nobody.

use std::{path::PathBuf, time::Duration};

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{
    console::{CliError, Done, put, say},
    settings::{read_bytes, read_text, secret_file},
    when::parse_span,
};
use crate::{
    domain::WallClock as _,
    signature::{CallbackSecret, PublicKey, SignedHeaders, TOLERANCE_SECS, Verifier, VerifyError},
    system::SystemClock,
};

const LARGEST_BODY: u64 = 64 * 1024 * 1024;
const LARGEST_HEADERS: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A `whsec_…` secret; may be given several times
    #[arg(long, value_name = "SECRET", required_unless_present_any = ["secret_file", "public_key"])]
    secret: Vec<String>,
    /// File with the secret, which keeps it out of the list of processes
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// A `whpk_…` key for Ed25519 signatures; may be given several times
    #[arg(long, value_name = "KEY")]
    public_key: Vec<String>,
    /// The header `webhook-id`
    #[arg(long, conflicts_with = "headers")]
    id: Option<String>,
    /// The header `webhook-timestamp`
    #[arg(long, conflicts_with = "headers")]
    timestamp: Option<String>,
    /// The header `webhook-signature`
    #[arg(long, conflicts_with = "headers")]
    signature: Option<String>,
    /// File with the headers as they came, one `name: value` per line
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// File with the raw bytes of the body; - is stdin
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Also refuse what was signed longer ago than this (receivers usually allow 5m)
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    tolerance: Option<Duration>,
}

pub(super) fn run(args: &Args) -> Done {
    let verifier = verifier(args)?.with_tolerance(args.tolerance.map(|tolerance| tolerance.as_secs()));
    let body = read_bytes(&args.body, LARGEST_BODY)?;
    let captured = match &args.headers {
        Some(path) => read_text(path, LARGEST_HEADERS)?,
        None => String::new(),
    };
    let refused = |error: VerifyError| CliError::failed(error.to_string());
    let headers = match &args.headers {
        Some(_) => SignedHeaders::pick(header_lines(&captured)).map_err(refused)?,
        None => SignedHeaders {
            id: args.id.as_deref(),
            timestamp: args.timestamp.as_deref(),
            signature: args.signature.as_deref(),
        },
    };
    let now = SystemClock.now().as_secs();
    match verifier.verify(headers, &body, now) {
        Ok(proof) => {
            put(format!("valid: {} signed at {}", proof.id, proof.timestamp))?;
            let age = now.abs_diff(proof.timestamp);
            if age > TOLERANCE_SECS && args.tolerance.is_none() {
                let side = if proof.timestamp < now { "ago" } else { "in the future" };
                say(format!(
                    "note: signed {} {side}; a receiver that allows 5m would refuse it now",
                    humantime::format_duration(Duration::from_secs(age))
                ));
            }
            Ok(())
        }
        Err(error @ VerifyError::NoMatch { .. }) => {
            let lenient = verifier.with_tolerance(None);
            let slip = slip(&body, |body| lenient.verify(headers, body, now).is_ok());
            let help = slip.unwrap_or_else(|| hint(headers, args));
            Err(refused(error).help(help))
        }
        Err(error @ VerifyError::Missing(_)) if args.headers.is_none() => {
            Err(CliError::usage(error.to_string()).help("give --id, --timestamp and --signature, or --headers FILE"))
        }
        Err(error) => Err(refused(error)),
    }
}

fn verifier(args: &Args) -> Result<Verifier, CliError> {
    let mut secrets = Vec::new();
    for (n, text) in (1..).zip(&args.secret) {
        let secret = CallbackSecret::parse(text).map_err(|error| CliError::usage(format!("--secret {n} {error}")))?;
        secrets.push(secret);
    }
    for path in &args.secret_file {
        let text = secret_file(path)?;
        let parsed = CallbackSecret::parse(text.expose_secret());
        secrets.push(parsed.map_err(|error| CliError::usage(format!("the secret {error}")).at(path.display()))?);
    }
    let mut keys = Vec::new();
    for (n, text) in (1..).zip(&args.public_key) {
        let key = PublicKey::parse(text).map_err(|error| CliError::usage(format!("--public-key {n} {error}")))?;
        keys.push(key);
    }
    Ok(Verifier::new(secrets, keys))
}

/// Lines of the form `name: value`, as servers, proxies and `curl -v` print them; others are passed over.
fn header_lines(text: &str) -> impl Iterator<Item = (&str, &[u8])> {
    text.lines().filter_map(|line| {
        let line = line.trim_start_matches(['<', '>', ' ', '\t']);
        let (name, value) = line.split_once(':')?;
        Some((name.trim(), value.trim().as_bytes()))
    })
}

/// Returns the slip of capturing that explains why nothing fits.
fn slip(body: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<String> {
    let trimmed = body.trim_ascii_end();
    if trimmed.len() < body.len() && fits(trimmed) {
        return Some("the body was captured with a line break or space at its end that was not signed".to_owned());
    }
    let with_newline = [body, b"\n"].concat();
    if fits(&with_newline) {
        return Some("the body was signed with a line break at its end, which the capture lost".to_owned());
    }
    let unix: Vec<u8> = String::from_utf8_lossy(body).replace("\r\n", "\n").into_bytes();
    if unix != body && fits(&unix) {
        return Some("the capture turned line breaks into CR LF".to_owned());
    }
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf")
        && fits(rest)
    {
        return Some("the capture put a byte order mark before the body".to_owned());
    }
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && fits(value.to_string().as_bytes())
    {
        return Some("the body was formatted anew; sign and verify the raw bytes, never parsed JSON".to_owned());
    }
    None
}

fn hint(headers: SignedHeaders<'_>, args: &Args) -> String {
    let signature = headers.signature.unwrap_or_default();
    let has = |version: &str| signature.split(' ').any(|entry| entry.starts_with(version));
    let secrets = args.secret.len() + args.secret_file.len();
    if has("v1a,") && !has("v1,") && args.public_key.is_empty() {
        return "it carries Ed25519 signatures only; give the key with --public-key whpk_…".to_owned();
    }
    if has("v1,") && !has("v1a,") && secrets == 0 {
        return "it carries no Ed25519 signature; give the secret with --secret or --secret-file".to_owned();
    }
    "either the secret is another one (is it that of this frontend, before or after a rotation?), or id, timestamp or \
     body are not those that were signed"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_among_other_lines() {
        let text = "POST /hook HTTP/1.1\r\n> Webhook-Id: evt_1\r\nwebhook-timestamp:5\r\nx: y\r\n\r\nnot a header";
        let picked = SignedHeaders::pick(header_lines(text)).expect("once each");
        assert_eq!((picked.id, picked.timestamp, picked.signature), (Some("evt_1"), Some("5"), None));
    }

    #[test]
    fn slips_of_capturing_are_recognised() {
        for (captured, signed, word) in [
            (&b"{}\n"[..], &b"{}"[..], "at its end that was not signed"),
            (b"{}", b"{}\n", "the capture lost"),
            (b"{\r\n}", b"{\n}", "CR LF"),
            (b"\xef\xbb\xbf{}", b"{}", "byte order"),
            (b"{ \"a\": 1 }", b"{\"a\":1}", "formatted anew"),
        ] {
            let told = slip(captured, |body| body == signed).expect(word);
            assert!(told.contains(word), "{told}");
        }
        assert_eq!(slip(b"{}", |_| false), None);
    }
}
