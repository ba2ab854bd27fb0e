//! The address guard: decides which addresses a callback may reach.
//!
//! A callback URL is configuration, yet the name in it is resolved anew for every connection by servers that somebody else
//! runs, and the bridge stands inside a network that trusts it. So everything that is not plainly the public internet is
//! refused unless the operator listed it, and the refusal looks through every notation that hides an IPv4 address in an
//! IPv6 one. The ranges are those of the IANA special-purpose registries (RFC 6890 and its updates,
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>).
//! For IPv6 the rule is turned round: only `2000::/3`, the space IANA hands out, can be public at all.
//!
//! Pure: it resolves nothing and connects to nothing. It cannot know of a NAT64 prefix that a network has chosen for itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// The destinations that are exempt from the refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// Networks that are not refused. One listed for IPv4 also covers the IPv6 notations of its addresses, and
    /// 127.0.0.1 also covers `::1`, which is the same place.
    pub allow_networks: Vec<IpNet>,
    /// True if plain `http` may be used, towards [`Guard::allow_networks`] only.
    pub allow_http: bool,
}

/// The reason why a destination is not contacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The address belongs to a range that is not the public internet.
    #[error("{address} is not a public address ({class}); list its network in delivery.allow_networks if it is meant")]
    Address {
        /// The address as it would be connected to.
        address: IpAddr,
        /// The kind of range it belongs to.
        class: &'static str,
    },
    /// Plain `http` towards an address that is not listed.
    #[error("plain http is possible only to delivery.allow_networks, and {0} is not in them")]
    PlainHttp(IpAddr),
    /// Plain `http` where it is not switched on.
    #[error("plain http callbacks need delivery.allow_http")]
    HttpOff,
    /// Another scheme than `https` and `http`.
    #[error("only https URLs can be called")]
    Scheme,
    /// The URL carries a user name or password.
    #[error("the URL must not carry a user name or password; callbacks are proved by their signature")]
    UserInfo,
    /// The URL names no host, or port 0.
    #[error("the URL names no host and port that can be called")]
    NoHost,
}

impl Guard {
    /// Judges a URL as far as it can be judged without resolving: scheme, user info, and a host that is an address.
    /// The `url` crate has already turned spellings like `0x7f.1` and `2130706433` into the address they mean.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        let plain = match url.scheme() {
            "https" => false,
            "http" if self.allow_http => true,
            "http" => return Err(Refused::HttpOff),
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        if url.port() == Some(0) {
            return Err(Refused::NoHost);
        }
        let address = match url.host() {
            Some(Host::Domain(name)) if is_name(name) => return Ok(()),
            None | Some(Host::Domain(_)) => return Err(Refused::NoHost),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if plain { self.check_plain_ip(address) } else { self.check_ip(address) }
    }

    /// Judges an address that an encrypted callback would connect to.
    pub fn check_ip(&self, address: IpAddr) -> Result<(), Refused> {
        if self.allows(address) {
            return Ok(());
        }
        let class = match address {
            IpAddr::V4(v4) => class_v4(v4),
            IpAddr::V6(v6) => {
                class_v6(v6).or_else(|| embedded(v6).filter(|v4| !self.lists(IpAddr::V4(*v4))).find_map(class_v4))
            }
        };
        class.map_or(Ok(()), |class| Err(Refused::Address { address, class }))
    }

    /// Judges an address that a plain `http` callback would connect to: only listed ones will do.
    pub fn check_plain_ip(&self, address: IpAddr) -> Result<(), Refused> {
        if !self.allow_http {
            Err(Refused::HttpOff)
        } else if self.allows(address) {
            Ok(())
        } else {
            Err(Refused::PlainHttp(address))
        }
    }

    /// Returns true if the operator listed the address, directly or through every IPv4 address that it embeds. Every one: a
    /// Teredo address holds two, and a harmless server must not vouch for the client behind it.
    fn allows(&self, address: IpAddr) -> bool {
        if self.lists(address) {
            return true;
        }
        let IpAddr::V6(v6) = address else {
            return false;
        };
        if v6 == Ipv6Addr::LOCALHOST {
            return self.lists(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let mut inner = embedded(v6).peekable();
        inner.peek().is_some() && inner.all(|v4| self.lists(IpAddr::V4(v4)))
    }

    /// Returns true if a network of the list holds the address. An address that hands out credentials has to be listed by
    /// itself: allowing its network does not mean it.
    fn lists(&self, address: IpAddr) -> bool {
        let is_metadata = match address {
            IpAddr::V4(v4) => METADATA_V4.contains(&v4),
            IpAddr::V6(v6) => METADATA_V6.contains(&v6),
        };
        self.allow_networks
            .iter()
            .filter(|network| !is_metadata || network.prefix_len() == network.max_prefix_len())
            .any(|network| network.contains(&address))
    }
}

/// Returns true if a host could be a DNS name at all. The `url` crate lets more through, a forgotten `{placeholder}` for
/// one.
/// International names have been encoded by then; the underscore occurs in names of internal networks.
fn is_name(host: &str) -> bool {
    host.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

const METADATA: &str = "cloud metadata";

/// Single addresses that hand out credentials to anyone who asks, some of them in otherwise public space.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Azure, Google and most others
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS tasks
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's wire server
];

const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), // AWS
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), // Google
];

const RANGES_V4: [([u8; 4], u32, &str); 15] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved or broadcast"),
];

fn class_v4(address: Ipv4Addr) -> Option<&'static str> {
    if METADATA_V4.contains(&address) {
        return Some(METADATA);
    }
    let bits = address.to_bits();
    RANGES_V4.iter().find_map(|(network, length, class)| {
        let differs = (bits ^ u32::from_be_bytes(*network)) >> (32 - length);
        (differs == 0).then_some(*class)
    })
}

/// Ranges with a name of their own, checked before the general rule; the most specific come first.
const RANGES_V6: [([u16; 3], u32, &str); 14] = [
    ([0x0064, 0xff9b, 0x0001], 48, "local NAT64"),
    ([0x0100, 0, 0], 16, "discard-only"),
    ([0x2001, 0x0db8, 0], 32, "documentation"),
    ([0x2001, 0x0002, 0], 48, "benchmarking"),
    ([0x3fff, 0, 0], 20, "documentation"),
    ([0x5f00, 0, 0], 16, "segment routing"),
    ([0xfc00, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0], 8, "multicast"),
    ([0, 0, 0], 8, "reserved"),
    ([0x4000, 0, 0], 2, "unassigned"),
    ([0x8000, 0, 0], 1, "unassigned"),
    ([0x0000, 0, 0], 3, "unassigned"),
];

/// Returns the class of the IPv6 address itself; the addresses it embeds are judged apart.
fn class_v6(address: Ipv6Addr) -> Option<&'static str> {
    if METADATA_V6.contains(&address) {
        return Some(METADATA);
    }
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if address.is_loopback() {
        return Some("loopback");
    }
    let segments = address.segments();
    // Only a notation: the IPv4 address inside counts, which the system will connect to.
    if is_mapped(&segments) || is_nat64(&segments) || is_teredo(&segments) {
        return None;
    }
    // IETF protocol assignments; Teredo, the one part of it that stands for other hosts, is dealt with above.
    if within(address, [0x2001, 0, 0], 23) && !within(address, [0x2001, 0x0002, 0], 48) {
        return Some("protocol assignments");
    }
    RANGES_V6.iter().find_map(|(network, length, class)| within(address, *network, *length).then_some(*class))
}

fn within(address: Ipv6Addr, network: [u16; 3], length: u32) -> bool {
    let [a, b, c] = network;
    let network = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits();
    (address.to_bits() ^ network) >> (128 - length) == 0
}

/// Matches `::ffff:0:0/96`, RFC 4291 §2.5.5.2.
fn is_mapped(segments: &[u16; 8]) -> bool {
    segments[..6] == [0, 0, 0, 0, 0, 0xffff]
}

/// Matches `64:ff9b::/96`, RFC 6052 §2.1.
fn is_nat64(segments: &[u16; 8]) -> bool {
    segments[..6] == [0x0064, 0xff9b, 0, 0, 0, 0]
}

/// Matches `2001::/32`, RFC 4380.
fn is_teredo(segments: &[u16; 8]) -> bool {
    segments[..2] == [0x2001, 0]
}

/// Returns every IPv4 address that an IPv6 address carries in a known notation. An address may be read in several ways at
/// once.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = address.segments();
    let at = move |n: usize| {
        let [a, b] = segments[n].to_be_bytes();
        let [c, d] = segments[n + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let last = at(6);
    // RFC 4291 §2.5.5 (mapped, and the deprecated compatible form), RFC 2765 (translated), RFC 6052 and RFC 8215 (NAT64).
    // `::` and `::1` are compatible forms on paper only.
    let in_last = is_mapped(&segments)
        || (segments[..6] == [0; 6] && address.to_bits() > 1)
        || segments[..6] == [0, 0, 0, 0, 0xffff, 0]
        || is_nat64(&segments)
        || segments[..3] == [0x0064, 0xff9b, 0x0001];
    // RFC 5214 §6.1: ISATAP marks the interface half under any prefix; the bit 0x0200 says "globally unique".
    let isatap = segments[4] & !0x0200 == 0 && segments[5] == 0x5efe;
    let six_to_four = (segments[0] == 0x2002).then(|| at(1)); // RFC 3056
    // RFC 4380 §4: the server in the clear, the client with every bit inverted.
    let teredo = is_teredo(&segments).then(|| [at(2), Ipv4Addr::from_bits(!last.to_bits())]);
    (in_last || isatap).then_some(last).into_iter().chain(six_to_four).chain(teredo.into_iter().flatten())
}

#[cfg(test)]
mod tests;
