//! The forms of addresses: to listen on, to call, to allow.
//!
//! Addresses to call may hold a password by mistake, so they are never quoted whole.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::{
    finding::{Wrong, quote},
    forms::{Form, text},
    tree::Value,
};
use crate::domain::origin::{self, NotAnOrigin};

/// An address to listen on.
pub(super) fn listen(value: &Value) -> Form<SocketAddr> {
    const HELP: &str = "write an IP address and a port, such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"";
    let written = text(value).map_err(|wrong| Wrong::new(wrong.what, HELP))?;
    written.trim().parse().map_err(|_| Wrong::new(format!("is not an address to listen on: {}", quote(written)), HELP))
}

/// A network, or an address as a network of one.
pub(super) fn network(value: &Value) -> Form<IpNet> {
    const HELP: &str = "write a network such as \"10.0.0.0/8\" or \"fd00::/8\", or a single address";
    let written = text(value).map_err(|wrong| Wrong::new(wrong.what, HELP))?.trim();
    let single = || written.parse::<IpAddr>().map(IpNet::from);
    written.parse().or_else(|_| single()).map_err(|_| Wrong::new(format!("is not a network: {}", quote(written)), HELP))
}

/// An http or https address without user and fragment. Never quotes what it reads: it may hold a password.
pub(super) fn web_address(value: &Value) -> Form<Url> {
    let written = text(value)?;
    let url = Url::parse(written.trim()).map_err(|error| {
        Wrong::new(
            format!("is not an address: {error}"),
            "write it in full, such as \"https://chat.example.com/fini/callback\"",
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new(
            format!("has the scheme {}", quote(url.scheme())),
            "only https:// addresses, and http:// where allowed, can be called",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new(
            "holds a user or a password",
            "leave out what stands before the @; it would end up in logs",
        ));
    }
    if url.fragment().is_some() {
        return Err(Wrong::new("has a fragment", "leave out the # and what follows it"));
    }
    Ok(url)
}

/// The address of an API, to which routes are added.
pub(super) fn base_url(value: &Value) -> Form<Url> {
    let url = web_address(value)?;
    if url.query().is_some() {
        return Err(Wrong::new("has a query", "leave out the ? and what follows it"));
    }
    Ok(url)
}

/// An origin as browsers send it, so that comparing texts is enough.
pub(super) fn origin(value: &Value) -> Form<String> {
    const HELP: &str = "write scheme and host as browsers send them, such as \"https://chat.example.com\" or, for an app, \
                        \"capacitor://localhost\"";
    let written = text(value)?.trim();
    origin::exact(written).map_err(|error| match error {
        NotAnOrigin::Wildcard => Wrong::new("has a wildcard", "name each origin in full; there are no patterns"),
        NotAnOrigin::More(exact) => {
            Wrong::new(format!("is more than an origin: {}", quote(written)), format!("write \"{exact}\""))
        }
        NotAnOrigin::Shape => Wrong::new(format!("is not an origin: {}", quote(written)), HELP),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Value {
        Value::Raw(text.to_owned())
    }

    #[test]
    fn a_single_address_is_a_network_of_one() {
        assert_eq!(network(&raw("10.1.2.3")).unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network(&raw("::1")).unwrap().to_string(), "::1/128");
        assert_eq!(network(&raw("10.0.0.0/8")).unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (written, exact) in [
            ("https://chat.example.com", "https://chat.example.com"),
            ("HTTPS://Chat.Example.com", "https://chat.example.com"),
            ("https://chat.example.com:443", "https://chat.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("Capacitor://localhost", "capacitor://localhost"),
            ("https://b\u{fc}ro.example", "https://xn--bro-hoa.example"),
        ] {
            assert_eq!(origin(&raw(written)).unwrap(), exact, "{written}");
        }
        for written in [
            "",
            "*",
            "null",
            "chat.example.com",
            "https://chat.example.com/",
            "https://chat.example.com/app",
            "https://*.example.com",
            "file:///x",
            "https://u:hunter2@chat.example.com",
        ] {
            let wrong = origin(&raw(written)).expect_err(written);
            assert!(!format!("{wrong:?}").contains("hunter2"));
        }
    }
}
