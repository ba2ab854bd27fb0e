//! Tables taken from the registries, and properties over whole ranges and every notation.

use proptest::prelude::*;

use super::*;

fn strict() -> Guard {
    Guard::default()
}

fn allowing(networks: &[&str]) -> Guard {
    Guard { allow_networks: networks.iter().map(|text| text.parse().unwrap()).collect(), allow_http: true }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn class(address: &str) -> &'static str {
    match strict().check_ip(ip(address)) {
        Err(Refused::Address { class, .. }) => class,
        other => panic!("{address}: {other:?}"),
    }
}

/// First and last address of every range, and the neighbours outside where they are public.
#[test]
fn ranges_end_where_the_registry_says() {
    for (first, last, expected) in [
        ("0.0.0.0", "0.255.255.255", "this network"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "carrier-grade NAT"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "protocol assignments"),
        ("192.0.2.0", "192.0.2.255", "documentation"),
        ("192.88.99.0", "192.88.99.255", "6to4 relay"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "benchmarking"),
        ("198.51.100.0", "198.51.100.255", "documentation"),
        ("203.0.113.0", "203.0.113.255", "documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.255", "reserved or broadcast"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::2", "::ffff", "reserved"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard-only"),
        ("200::", "1fff:ffff::", "unassigned"),
        ("2001:2::", "2001:2:0:ffff::", "benchmarking"),
        ("2001:10::", "2001:1ff:ffff::", "protocol assignments"),
        ("2001:db8::", "2001:db8:ffff::", "documentation"),
        ("3fff::", "3fff:fff:ffff::", "documentation"),
        ("4000::", "5eff:ffff::", "unassigned"),
        ("5f00::", "5f00:ffff::", "segment routing"),
        ("5f01::", "7fff::", "unassigned"),
        ("8000::", "fbff::", "unassigned"),
        ("fc00::", "fdff:ffff::", "unique local"),
        ("fe00::", "fe7f::", "unassigned"),
        ("fe80::", "febf:ffff::", "link-local"),
        ("fec0::", "feff:ffff::", "site-local"),
        ("ff00::", "ffff::", "multicast"),
    ] {
        assert_eq!(class(first), expected, "{first}");
        assert_eq!(class(last), expected, "{last}");
    }
}

#[test]
fn metadata_services_are_named() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a83f:8110",
    ] {
        assert_eq!(class(address), "cloud metadata", "{address}");
    }
}

#[test]
fn the_public_internet_is_reachable() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "3ffe:ffff::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "2a00:1450::5efe:8.8.8.8",
    ] {
        assert_eq!(strict().check_ip(ip(address)), Ok(()), "{address}");
    }
}

#[test]
fn a_list_covers_every_notation_of_its_addresses() {
    let guard = allowing(&["10.1.0.0/16", "fd12::/16"]);
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1", "fd12::9"] {
        assert_eq!(guard.check_ip(ip(address)), Ok(()), "{address}");
    }
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "fd13::1", "127.0.0.1", "::1"] {
        assert!(guard.check_ip(ip(address)).is_err(), "{address}");
    }
    assert_eq!(allowing(&["127.0.0.0/8"]).check_ip(ip("::1")), Ok(()));
    assert!(allowing(&["127.0.0.2/32"]).check_ip(ip("::1")).is_err());
    for (network, address) in
        [("fd00::/8", "fd00:ec2::254"), ("169.254.0.0/16", "169.254.169.254"), ("0.0.0.0/0", "::ffff:169.254.169.254")]
    {
        assert!(allowing(&[network]).check_ip(ip(address)).is_err(), "who allows {network} does not mean {address}");
    }
    for address in ["fd00:ec2::254", "169.254.169.254"] {
        let itself = format!("{address}/{}", if address.contains(':') { 128 } else { 32 });
        assert_eq!(allowing(&[&itself]).check_ip(ip(address)), Ok(()), "listing is the operator's word");
    }
}

#[test]
fn a_listed_teredo_server_does_not_vouch_for_the_client() {
    let guard = allowing(&["10.0.0.0/8"]);
    let teredo = |server: [u8; 4], client: [u8; 4]| {
        let server = u128::from(u32::from_be_bytes(server));
        let client = u128::from(!u32::from_be_bytes(client));
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_u128 << 112 | server << 64 | client))
    };
    assert!(guard.check_ip(teredo([10, 0, 0, 1], [169, 254, 169, 254])).is_err());
    assert!(guard.check_ip(teredo([192, 168, 0, 1], [10, 0, 0, 1])).is_err());
    assert_eq!(guard.check_ip(teredo([10, 0, 0, 1], [10, 0, 0, 2])), Ok(()));
    assert_eq!(guard.check_ip(teredo([8, 8, 8, 8], [9, 9, 9, 9])), Ok(()));
}

#[test]
fn urls_are_judged_by_what_they_mean() {
    for text in [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://%31%32%37.0.0.1/",
        "https://１２７.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:ffff:127.0.0.1]:8443/cb",
    ] {
        assert!(matches!(strict().check_url(&url(text)), Err(Refused::Address { .. })), "{text}");
        assert_eq!(allowing(&["127.0.0.0/8"]).check_url(&url(text)), Ok(()), "{text}");
    }
    assert_eq!(strict().check_url(&url("https://chat.example.com/fini/callback")), Ok(()));
    assert_eq!(strict().check_url(&url("https://8.8.8.8/")), Ok(()));
    assert_eq!(strict().check_url(&url("https://a:b@chat.example.com/")), Err(Refused::UserInfo));
    assert_eq!(strict().check_url(&url("https://a@chat.example.com/")), Err(Refused::UserInfo));
    assert_eq!(strict().check_url(&url("https://chat.example.com:0/")), Err(Refused::NoHost));
    for text in ["https://{host}/", "https://$host/", "https://./", "https://a*b.example/"] {
        assert_eq!(strict().check_url(&url(text)), Err(Refused::NoHost), "{text}");
    }
    for text in ["https://grüße.example/", "https://chat_1.internal./", "https://localhost/"] {
        assert_eq!(strict().check_url(&url(text)), Ok(()), "{text}");
    }
    for text in ["ftp://chat.example.com/", "file:///etc/passwd", "unix:/run/x", "data:,x"] {
        assert_eq!(strict().check_url(&url(text)), Err(Refused::Scheme), "{text}");
    }
}

#[test]
fn plain_http_needs_the_switch_and_a_listed_address() {
    assert_eq!(strict().check_url(&url("http://chat.example.com/")), Err(Refused::HttpOff));
    let guard = allowing(&["10.0.0.0/8"]);
    assert_eq!(guard.check_url(&url("http://10.0.0.1/")), Ok(()));
    assert_eq!(guard.check_url(&url("http://8.8.8.8/")), Err(Refused::PlainHttp(ip("8.8.8.8"))));
    // A name is judged by its addresses, when they are known.
    assert_eq!(guard.check_url(&url("http://chat.internal/")), Ok(()));
    assert_eq!(guard.check_plain_ip(ip("10.9.9.9")), Ok(()));
    assert_eq!(guard.check_plain_ip(ip("1.1.1.1")), Err(Refused::PlainHttp(ip("1.1.1.1"))));
    let off = Guard { allow_http: false, ..guard };
    assert_eq!(off.check_plain_ip(ip("10.9.9.9")), Err(Refused::HttpOff));
}

/// Refused IPv4 ranges as networks, written out a second time.
const REFUSED_V4: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
];

fn listed_as_refused(address: Ipv4Addr) -> bool {
    REFUSED_V4.iter().any(|text| text.parse::<IpNet>().unwrap().contains(&IpAddr::V4(address)))
}

fn refused_v4() -> impl Strategy<Value = Ipv4Addr> {
    (prop::sample::select(&REFUSED_V4[..]), any::<u32>()).prop_map(|(text, random)| {
        let network: ipnet::Ipv4Net = text.parse().unwrap();
        Ipv4Addr::from_bits(network.network().to_bits() | (random & network.hostmask().to_bits()))
    })
}

/// Returns every notation of `v4`, with `noise` where the notation leaves room.
fn notations(v4: Ipv4Addr, noise: u128) -> Vec<Ipv6Addr> {
    let bits = u128::from(v4.to_bits());
    let low = |count: u32| noise & ((1 << count) - 1);
    [
        0xffff << 32 | bits,
        bits,
        0xffff << 48 | bits,
        0x0064_ff9b << 96 | bits,
        0x0064_ff9b_0001 << 80 | low(48) << 32 | bits,
        0x2002 << 112 | bits << 80 | low(80),
        0x2001 << 112 | bits << 64 | low(64),
        0x2001 << 112 | low(64) << 32 | (bits ^ 0xffff_ffff),
        0x2a00 << 112 | low(48) << 64 | 0x5efe << 32 | bits,
        0x2a00 << 112 | low(48) << 64 | 0x0200_5efe << 32 | bits,
    ]
    .map(Ipv6Addr::from_bits)
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn refused_addresses_are_refused_in_every_notation(v4 in refused_v4(), noise in any::<u128>()) {
        prop_assert!(strict().check_ip(IpAddr::V4(v4)).is_err());
        for v6 in notations(v4, noise) {
            prop_assert!(strict().check_ip(IpAddr::V6(v6)).is_err(), "{v6} hides {v4}");
        }
    }

    #[test]
    fn ipv4_is_refused_exactly_where_the_list_says(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        prop_assert_eq!(strict().check_ip(IpAddr::V4(v4)).is_err(), listed_as_refused(v4));
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        prop_assert_eq!(strict().check_ip(mapped).is_err(), listed_as_refused(v4));
    }

    #[test]
    fn only_global_unicast_ipv6_is_reachable(bits in any::<u128>()) {
        let v6 = Ipv6Addr::from_bits(bits);
        let special = is_mapped(&v6.segments()) || is_nat64(&v6.segments());
        if bits >> 125 != 1 && !special {
            prop_assert!(strict().check_ip(IpAddr::V6(v6)).is_err(), "{v6}");
        }
    }

    #[test]
    fn provider_space_is_reachable(low in any::<u128>(), prefix in prop::sample::select(&[0x2400_u128, 0x2606, 0x2a00, 0x2c0f][..])) {
        let v6 = Ipv6Addr::from_bits(prefix << 112 | (low >> 16));
        prop_assume!(v6.segments()[5] != 0x5efe);
        prop_assert_eq!(strict().check_ip(IpAddr::V6(v6)), Ok(()));
    }

    #[test]
    fn what_is_listed_passes_and_its_neighbour_does_not(v4 in refused_v4()) {
        let guard = Guard { allow_networks: vec![IpNet::from(IpAddr::V4(v4))], allow_http: true };
        prop_assert_eq!(guard.check_ip(IpAddr::V4(v4)), Ok(()));
        prop_assert_eq!(guard.check_plain_ip(IpAddr::V4(v4)), Ok(()));
        prop_assert_eq!(guard.check_ip(IpAddr::V6(v4.to_ipv6_mapped())), Ok(()));
        let nat64 = Ipv6Addr::from_bits(0x0064_ff9b << 96 | u128::from(v4.to_bits()));
        prop_assert_eq!(guard.check_ip(IpAddr::V6(nat64)), Ok(()));
        let other = Ipv4Addr::from_bits(v4.to_bits() ^ 1);
        if listed_as_refused(other) {
            prop_assert!(guard.check_ip(IpAddr::V4(other)).is_err());
        }
    }
}
