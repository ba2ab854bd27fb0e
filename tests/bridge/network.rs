//! The network between callers and the bridge as it is in the field: proxies of every kind in front, one family of addresses or
//! both, connections that stay open for long.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Setup, said};

/// A stream of somebody for whom a proxy speaks, and how it was answered.
async fn stream_of(bridge: &crate::harness::Bridge, name: &str, value: &str) -> (u16, reqwest::Response) {
    let call = bridge.call("GET", "/v1/conversations/c/stream").header(name, value);
    let response = call.response().await.expect("an answer");
    (response.status().as_u16(), response)
}

#[tokio::test]
async fn customers_behind_proxies_are_told_apart_whatever_the_proxy_writes() {
    let limits = Setup::new().set("server.max_streams_per_address", "1");
    let mut bridge = limits.set("server.trusted_proxies", r#"["127.0.0.0/8", "10.0.0.0/8"]"#).start().await;
    bridge.turn("c", "Where is my order?").await;
    let mut held = Vec::new();
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.1:50001"),
        ("x-forwarded-for", "203.0.113.2:50001"),
        ("x-forwarded-for", "203.0.113.3"),
        ("x-forwarded-for", "[2001:db8::1]:443"),
        ("x-forwarded-for", "[2001:db8:0:2::2]"),
        ("x-forwarded-for", "198.51.100.1, 203.0.113.4:1, 10.0.0.7:99"),
        ("forwarded", "for=203.0.113.5;proto=https"),
        ("forwarded", "for=\"[2001:db8:0:3::3]:4711\", for=10.0.0.9"),
    ] {
        let (status, response) = stream_of(&bridge, name, value).await;
        assert_eq!(status, 200, "{name}: {value}");
        held.push(response);
    }
    // The same customers once more, written otherwise.
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-for", "203.0.113.3:7"),
        ("x-forwarded-for", "2001:db8::1"),
        ("x-forwarded-for", "192.0.2.99, 203.0.113.4"),
        ("forwarded", "For=\"203.0.113.5:80\""),
    ] {
        assert_eq!(stream_of(&bridge, name, value).await.0, 429, "{name}: {value}");
    }
    // A hop that nobody can read is the proxy's own customer, which is said once.
    for value in ["unknown", "nonsense"] {
        held.push(stream_of(&bridge, "x-forwarded-for", value).await.1);
    }
    let told = "a trusted proxy names a client's address that cannot be read: its customers count as one";
    assert_eq!(bridge.log().iter().filter(|line| line["message"] == told).count(), 1);
    drop(held);
    bridge.finish().await;
}

#[tokio::test]
async fn only_trusted_proxies_speak_for_others() {
    let mut bridge = Setup::new().set("server.max_streams_per_address", "1").start().await;
    bridge.turn("c", "Where is my order?").await;
    let (first, held) = stream_of(&bridge, "x-forwarded-for", "203.0.113.1").await;
    assert_eq!(first, 200);
    for (name, value) in [("x-forwarded-for", "203.0.113.2"), ("forwarded", "for=203.0.113.3")] {
        assert_eq!(stream_of(&bridge, name, value).await.0, 429, "{name}");
    }
    drop(held);
    bridge.finish().await;
}

/// Sends a request on a connection that is kept, and reads the head of the answer.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(DEADLINE, stream.read(&mut buffer)).await.expect("in time").ok()?;
        if read == 0 {
            return None;
        }
        head.extend_from_slice(&buffer[..read]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test]
async fn an_idle_connection_is_kept_as_long_as_is_configured() {
    for (idle, is_kept) in [("\"1s\"", false), ("\"600s\"", true)] {
        let bridge = Setup::new().set("server.idle_timeout", idle).start().await;
        let mut stream = TcpStream::connect(bridge.url.trim_start_matches("http://")).await.expect("it listens");
        assert!(ask(&mut stream).await.expect("an answer").starts_with("HTTP/1.1 200"));
        if is_kept {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            assert!(ask(&mut stream).await.expect("still open").starts_with("HTTP/1.1 200"));
        } else {
            let began = Instant::now();
            let end = timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("it is closed").expect("in order");
            assert!(end == 0 && began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_listener_on_every_address_is_reached_by_both_families() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return said("*** LEFT OUT: a test that needs IPv6 ***");
    }
    let setup = Setup::new().set("server.listen", "\"[::]:0\"").set("admin.listen", "\"[::1]:0\"");
    let mut bridge = setup.start().await;
    let port = bridge.url.rsplit(':').next().expect("a port").to_owned();
    for host in [Ipv4Addr::LOCALHOST.to_string(), format!("[{}]", Ipv6Addr::LOCALHOST)] {
        bridge.elsewhere("GET", &format!("http://{host}:{port}/healthz")).send().await.expect(200);
    }
    bridge.url = format!("http://[::1]:{port}");
    bridge.turn("c", "Where is my order?").await;
    bridge.finish().await;
}
