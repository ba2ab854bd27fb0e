//! Web origins: scheme, host and port, as browsers send them in `Origin` (RFC 6454, section 6.2), so that comparing texts is
//! enough.
//!
//! Apps have origins of their own schemes (`capacitor://localhost`, `tauri://localhost`), which URL parsers call opaque.

use url::Url;

/// The reason why a text is no origin that a browser could send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// A pattern.
    #[error("has a wildcard; each origin is named in full")]
    Wildcard,
    /// An origin with something behind it; holds the origin itself.
    #[error("is more than an origin; write \"{0}\"")]
    More(String),
    /// Anything else.
    #[error("is not an origin; write scheme and host as browsers send them, such as \"https://chat.example.com\"")]
    Shape,
}

/// Returns the origin as a browser sends it. A written default port or a name in capitals makes no other origin.
pub fn exact(written: &str) -> Result<String, NotAnOrigin> {
    if written.contains('*') {
        return Err(NotAnOrigin::Wildcard);
    }
    let (scheme, rest) = written.split_once("://").ok_or(NotAnOrigin::Shape)?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => of_web(written),
        // Pages from files say `null`; the others are no pages.
        "file" | "ftp" | "ws" | "wss" | "data" | "blob" | "javascript" => Err(NotAnOrigin::Shape),
        _ => of_app(&scheme, rest),
    }
}

/// Returns true if a request that was sent to `host` (with its port, if it has one) was sent to this origin. The scheme is
/// not compared: a proxy in front may have taken TLS off.
pub fn is_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    host.eq_ignore_ascii_case(authority)
}

fn of_web(written: &str) -> Result<String, NotAnOrigin> {
    let url = Url::parse(written).map_err(|_| NotAnOrigin::Shape)?;
    let exact = url.origin().ascii_serialization();
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_user = !url.username().is_empty() || url.password().is_some() || written.contains('@');
    if is_bare && !written.ends_with('/') && !has_user {
        return Ok(exact);
    }
    Err(NotAnOrigin::More(exact))
}

fn of_app(scheme: &str, rest: &str) -> Result<String, NotAnOrigin> {
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let (authority, more) = match rest.find(['/', '?', '#']) {
        Some(end) => (&rest[..end], true),
        None => (rest, false),
    };
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_scheme || !is_host || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(NotAnOrigin::Shape);
    }
    let exact = format!("{scheme}://{}", authority.to_ascii_lowercase());
    if more { Err(NotAnOrigin::More(exact)) } else { Ok(exact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (written, expected) in [
            ("https://chat.example.com", "https://chat.example.com"),
            ("HTTPS://Chat.Example.com", "https://chat.example.com"),
            ("https://chat.example.com:443", "https://chat.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[::1]:3000", "https://[::1]:3000"),
            ("https://b\u{fc}ro.example", "https://xn--bro-hoa.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("Ionic://LocalHost", "ionic://localhost"),
            ("tauri://localhost:1420", "tauri://localhost:1420"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ] {
            assert_eq!(exact(written).as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for written in [
            "",
            "*",
            "null",
            "shop.example",
            "://x",
            "https://",
            "file:///x",
            "wss://a.example",
            "capacitor://",
            "x y://h",
            "https://*.example.com",
            "tauri://a b",
            "tauri://h:port",
            "tauri://u@h",
        ] {
            assert!(exact(written).is_err(), "{written}");
        }
        for (written, meant) in [
            ("https://shop.example/", "https://shop.example"),
            ("https://shop.example/app?x", "https://shop.example"),
            ("https://u:p@shop.example", "https://shop.example"),
            ("capacitor://localhost/", "capacitor://localhost"),
        ] {
            assert_eq!(exact(written), Err(NotAnOrigin::More(meant.to_owned())), "{written}");
        }
    }

    #[test]
    fn a_host_is_an_origins_whatever_its_default_port() {
        for (origin, host, is_same) in [
            ("https://shop.example", "shop.example", true),
            ("https://shop.example", "SHOP.example:443", true),
            ("http://shop.example", "shop.example:80", true),
            ("https://shop.example", "shop.example:80", false),
            ("https://shop.example:8443", "shop.example:8443", true),
            ("https://shop.example:8443", "shop.example", false),
            ("https://shop.example", "evil.example", false),
            ("https://shop.example", "shop.example.evil", false),
            ("capacitor://localhost", "localhost", true),
        ] {
            assert_eq!(is_host(origin, host), is_same, "{origin} {host}");
        }
    }
}
