//! Finds the client and the host it asked, behind proxies: `X-Forwarded-For` and `X-Forwarded-Host`, or RFC 7239's
//! `Forwarded`.
//!
//! Anybody can send these headers, so they count only if a trusted proxy is the peer, and each address only as far as the
//! hops before it are trusted proxies too. If both kinds are there, `X-Forwarded-…` counts: proxies write it, and the other
//! one may be what the client sent and the proxy passed on.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The origin of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    /// The nearest address that is not a trusted proxy's.
    pub(super) address: Option<IpAddr>,
    /// The host that it asked, with its port if it has one.
    pub(super) host: Option<String>,
    /// True if a trusted proxy named a hop that cannot be read; the proxy itself then stands for the client.
    pub(super) is_unreadable: bool,
}

/// Finds the origin of a request of `peer`.
pub(super) fn client(peer: Option<IpAddr>, asked_host: Option<&str>, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.map(|peer| peer.to_canonical());
    let own_host = asked_host.map(str::to_owned);
    let Some(mut address) = peer.filter(is_trusted) else {
        return Client { address: peer, host: own_host, is_unreadable: false };
    };
    let mut is_unreadable = false;
    for hop in hops(headers).iter().rev() {
        let Some(hop) = read_hop(hop) else {
            is_unreadable = true;
            break;
        };
        address = hop;
        if !is_trusted(&address) {
            break;
        }
    }
    let host = listed(headers, &FORWARDED_HOST).into_iter().chain(parameters(headers, "host")).next();
    Client { address: Some(address), host: host.or(own_host), is_unreadable }
}

/// Returns the addresses that the request passed, the client's first.
fn hops(headers: &HeaderMap) -> Vec<String> {
    let listed = listed(headers, &FORWARDED_FOR);
    if listed.is_empty() { parameters(headers, "for") } else { listed }
}

/// Returns the entries of a list in a header.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let entries = values.flat_map(|value| value.split(',').map(|entry| entry.trim().to_owned()).collect::<Vec<_>>());
    entries.filter(|entry| !entry.is_empty()).collect()
}

/// Returns the values of a parameter of `Forwarded`, unquoted. No wanted value holds a comma or a semicolon.
fn parameters(headers: &HeaderMap, name: &str) -> Vec<String> {
    let elements = listed(headers, &header::FORWARDED);
    let pairs = elements.iter().flat_map(|element| element.split(';')).filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(given, _)| given.trim().eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().trim_matches('"').to_owned()).collect()
}

/// Reads an address as proxies write it: alone, in brackets, or with a port, which does not count.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(in_brackets).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(peer: &str, headers: &[(&'static str, &'static str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("valid"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
        client(Some(peer.parse().expect("an address")), Some("bridge.internal"), &map, &trusted)
    }

    fn address(peer: &str, name: &'static str, value: &'static str) -> String {
        behind(peer, &[(name, value)]).address.expect("known").to_string()
    }

    #[test]
    fn addresses_are_read_in_every_form_that_proxies_write() {
        for (value, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:51522", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"203.0.113.7:1\"", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("198.51.100.9, 203.0.113.7:1, 10.1.1.1:2", "203.0.113.7"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            (" , 203.0.113.7 ,", "203.0.113.7"),
        ] {
            assert_eq!(address("10.0.0.1", "x-forwarded-for", value), expected, "{value}");
        }
        for (value, expected) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("for=\"203.0.113.7:80\";proto=https", "203.0.113.7"),
            ("proto=https; For = \"[2001:db8::1]:4711\" ;by=10.0.0.3", "2001:db8::1"),
            ("for=198.51.100.9, for=203.0.113.7;by=x, for=10.1.1.1", "203.0.113.7"),
        ] {
            assert_eq!(address("fd00::1", "forwarded", value), expected, "{value}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let found = behind("10.0.0.1", &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "203.0.113.7")]);
        assert_eq!(found.address, "203.0.113.7".parse().ok());
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(address("203.0.113.99", "x-forwarded-for", "198.51.100.9"), "203.0.113.99");
        assert_eq!(address("203.0.113.99", "forwarded", "for=198.51.100.9"), "203.0.113.99");
        let both = [("forwarded", "for=198.51.100.9"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(behind("10.0.0.1", &both).address, "203.0.113.7".parse().ok());
        assert_eq!(
            behind("203.0.113.9", &[("x-forwarded-host", "shop.example")]).host.as_deref(),
            Some("bridge.internal")
        );
    }

    #[test]
    fn a_hop_that_cannot_be_read_is_the_proxys_word_against_itself() {
        for (name, value) in [
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", "203.0.113.7, nonsense"),
            ("forwarded", "for=_hidden"),
            ("forwarded", "for=unknown"),
        ] {
            let found = behind("10.0.0.1", &[(name, value)]);
            assert!(found.is_unreadable, "{value}");
            assert_eq!(found.address, "10.0.0.1".parse().ok(), "{value}");
        }
        assert!(!behind("10.0.0.1", &[]).is_unreadable);
    }

    #[test]
    fn the_host_is_the_one_that_the_page_asked() {
        let host = |headers: &[(&'static str, &'static str)]| behind("10.0.0.1", headers).host;
        assert_eq!(host(&[]).as_deref(), Some("bridge.internal"));
        assert_eq!(host(&[("x-forwarded-host", "shop.example, cdn.example")]).as_deref(), Some("shop.example"));
        assert_eq!(host(&[("forwarded", "host=\"shop.example:8443\";for=x")]).as_deref(), Some("shop.example:8443"));
    }
}
