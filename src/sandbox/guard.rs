//! Decides which requests the sandbox's server admits: those for a loopback name or address, for the address it listens on,
//! or for a name it was given; and from web pages of such hosts only.
//!
//! The control routes need no key, so a page on the internet must not reach them through its visitor's browser, neither
//! directly (`Origin`) nor by a name that it has made point here (`Host`).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

use super::error::VendorError;

/// The hosts that are let in.
#[derive(Clone)]
pub struct Guard {
    listens: Option<IpAddr>,
    names: Vec<String>,
}

impl Guard {
    /// Creates the guard of a server that listens on `address` and also answers under `names`.
    pub fn new(address: Option<SocketAddr>, names: &[String]) -> Self {
        Self { listens: address.map(|address| address.ip()), names: names.to_vec() }
    }

    /// Refuses a request with a foreign `Host` or `Origin`.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), VendorError> {
        let refused = |what: &str| VendorError::new(403, format!("{what} is not this sandbox's"));
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            (None, _) => uri.authority().map(axum::http::uri::Authority::as_str),
            (Some(_), Some(_)) => None,
        };
        if !host.is_some_and(|host| self.knows(host)) {
            return Err(refused("Host"));
        }
        let same = |origin: &axum::http::HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(scheme, host)| matches!(scheme, "http" | "https") && self.knows(host))
        };
        if !headers.get_all(header::ORIGIN).iter().all(same) {
            return Err(refused("Origin"));
        }
        Ok(())
    }

    /// Returns true for a known host, as `host`, `host:port` or `[::1]:port`.
    fn knows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let name = name.to_ascii_lowercase();
        if let Ok(ip) = name.parse::<IpAddr>() {
            // A server that listens everywhere answers under every address; a page cannot make an address point elsewhere.
            return ip.to_canonical().is_loopback()
                || self.listens.is_some_and(|own| own == ip || own.is_unspecified());
        }
        name == "localhost"
            || name.ends_with(".localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(listens: &str, host: &str, origin: Option<&str>) -> bool {
        let guard = Guard::new(listens.parse().ok(), &["vendor.test".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        guard.admit(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn only_its_own_hosts_are_let_in() {
        let here = "192.0.2.7:8090";
        for host in [
            "localhost",
            "LOCALHOST:8090",
            "a.localhost:1",
            "127.0.0.1:8090",
            "127.9.9.9",
            "[::1]:8090",
            "192.0.2.7:8090",
            "vendor.test:80",
        ] {
            assert!(admitted(here, host, None), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "192.0.2.8",
            "127.0.0.1.evil.example",
            "x@localhost",
            "10.0.0.1:8090",
        ] {
            assert!(!admitted(here, host, None), "{host}");
        }
        assert!(admitted("0.0.0.0:8090", "192.0.2.8:8090", None));
        assert!(!admitted("0.0.0.0:8090", "evil.example:8090", None));
    }

    #[test]
    fn pages_of_other_hosts_are_turned_away() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8090"] {
            assert!(admitted("127.0.0.1:8090", "localhost", Some(origin)), "{origin}");
        }
        for origin in
            ["null", "https://evil.example", "file://", "http://localhost.evil.example", "chrome-extension://localhost"]
        {
            assert!(!admitted("127.0.0.1:8090", "localhost", Some(origin)), "{origin}");
        }
    }
}
