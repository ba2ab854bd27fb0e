//! The forms secrets must have, from the standards that ask for them. No message repeats a secret, or a part of one.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

use super::{finding::Wrong, forms::Form};

/// Checks the form of a secret without repeating it.
pub(super) type Check = fn(&str) -> Form<()>;

/// The characters with which a bearer token survives an HTTP header: visible ASCII (RFC 9110, section 5.5).
pub(super) fn visible(text: &str) -> Form<()> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Wrong::new(
        "has white space or other characters that cannot stand in an HTTP header",
        "use letters, digits and punctuation of ASCII only; look for a line break at its end",
    ))
}

/// A bearer token.
pub(super) fn token(text: &str) -> Form<()> {
    visible(text)?;
    if text.len() < 24 {
        let help = "use at least 24 characters, such as the output of `openssl rand -hex 24`";
        return Err(Wrong::new(format!("has only {} characters", text.len()), help));
    }
    Ok(())
}

/// The address of a proxy, which may hold a user and a password.
pub(super) fn proxy(text: &str) -> Form<()> {
    const HELP: &str = "write it as http://proxy.example:3128, https://… or socks5://…";
    let url = url::Url::parse(text).map_err(|_| Wrong::new("is not an address", HELP))?;
    if matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host() {
        return Ok(());
    }
    Err(Wrong::new("is not the address of an http, https or socks5 proxy", HELP))
}

/// A header of callbacks, as `Name: value`. Those that the bridge itself writes cannot be replaced.
pub(super) fn header(text: &str) -> Form<()> {
    const HELP: &str = "write it as a line `Name: value`";
    const OWN: [&str; 9] = [
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ];
    let Some((name, value)) = crate::config::Callback::header(text) else {
        return Err(Wrong::new("is no header", HELP));
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Wrong::new("has characters in its name that no header may have", HELP));
    }
    if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
        return Err(Wrong::new("has characters in its value that no header may have", HELP));
    }
    if OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Wrong::new("is a header that the bridge writes itself", "leave it out"));
    }
    Ok(())
}

/// The key of browser tokens: at least as many bytes as HS256 puts out (RFC 7518, section 3.2).
pub(super) fn hmac_key(text: &str) -> Form<()> {
    if text.len() < 32 {
        let help = "HS256 needs at least 32, such as the output of `openssl rand -hex 32`";
        return Err(Wrong::new(format!("has only {} bytes", text.len()), help));
    }
    Ok(())
}

/// A Standard Webhooks secret: `whsec_` and standard base64 of 24 to 64 bytes.
pub(super) fn webhook_secret(text: &str) -> Form<()> {
    let bytes = decoded(text, "whsec_", "`fini-bridge secret` makes one")?.len();
    if (24..=64).contains(&bytes) {
        return Ok(());
    }
    let what = format!("holds {bytes} bytes where 24 to 64 are asked for");
    Err(Wrong::new(what, "`fini-bridge secret` makes one that fits"))
}

/// An ed25519 private key of Standard Webhooks: `whsk_` and standard base64 of the 32-byte seed, or of seed and public key.
pub(super) fn signing_key(text: &str) -> Form<()> {
    const HELP: &str = "it is whsk_ and the base64 of an ed25519 private key";
    let bytes = decoded(text, "whsk_", HELP)?;
    match <[u8; 64]>::try_from(bytes.as_slice()) {
        Ok(pair) if SigningKey::from_keypair_bytes(&pair).is_err() => {
            Err(Wrong::new("holds a private and a public key that do not belong together", HELP))
        }
        Ok(_) => Ok(()),
        Err(_) if bytes.len() == 32 => Ok(()),
        Err(_) => Err(Wrong::new(format!("holds {} bytes where 32 or 64 are asked for", bytes.len()), HELP)),
    }
}

fn decoded(text: &str, prefix: &str, help: &str) -> Form<Vec<u8>> {
    let Some(rest) = text.strip_prefix(prefix) else {
        return Err(Wrong::new(format!("does not begin with {prefix}"), help));
    };
    STANDARD.decode(rest).map_err(|_| Wrong::new(format!("has something else than base64 after {prefix}"), help))
}
