//! Verifies one callback with the `standardwebhooks` crate.
//!
//! `verify_callback HEADERS_FILE BODY_FILE SECRET_FILE`: exit 0 when it is genuine, 1 when it is not.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use http::{HeaderMap, HeaderName};
use standardwebhooks::Webhook;

/// Whether `body` was signed with `secret` in the last five minutes.
fn verify(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    Webhook::new(secret).is_ok_and(|webhook| webhook.verify(body, headers).is_ok())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [headers_file, body_file, secret_file] = arguments.as_slice() else {
        return Err("usage: verify_callback HEADERS_FILE BODY_FILE SECRET_FILE".into());
    };
    let mut headers = HeaderMap::new();
    for line in fs::read_to_string(headers_file)?.lines() {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(HeaderName::try_from(name)?, value.trim().parse()?);
        }
    }
    let secret = fs::read_to_string(secret_file)?;
    let genuine = verify(secret.trim(), &headers, &fs::read(body_file)?);
    Ok(if genuine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
