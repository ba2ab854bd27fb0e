//! On real sockets: what the limits are for is what peers do to them. Limits are short so that the tests are.

mod bench;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::bench::{Bench, response, rest, status};
use super::*;
use crate::lifecycle::{Ended, Lifecycle};

/// Nothing here may take this long; it only keeps a failing test from hanging.
const AT_MOST: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_millis(200);

fn generous() -> Limits {
    Limits { header_timeout: LONG, body_timeout: LONG, write_timeout: LONG, idle_timeout: LONG, ..Limits::default() }
}

#[tokio::test]
async fn handlers_learn_the_peer_s_address() {
    let bench = Bench::new(generous()).await;
    let mut stream = bench.connect().await;
    let me = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&response(&mut stream, &me).await), "200");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let bench = Bench::new(Limits { header_timeout: SHORT, ..generous() }).await;
    assert_eq!(bench.exchange(b"").await, "");
    assert!(bench.ended("header_timeout"));
}

#[tokio::test]
async fn half_a_head_is_closed() {
    let bench = Bench::new(Limits { header_timeout: SHORT, ..generous() }).await;
    assert_eq!(bench.exchange(b"GET /peer HTTP/1.1\r\nhost: x\r\n").await, "");
    assert!(bench.ended("header_timeout"));
    assert_eq!(bench.exchange(b"PRI * HTT").await, "", "half a preface");
}

#[tokio::test]
async fn dripping_a_head_does_not_prolong_it() {
    let bench = Bench::new(Limits { header_timeout: SHORT, ..generous() }).await;
    let (mut read, mut write) = bench.connect().await.into_split();
    let drip = async {
        write.write_all(b"GET /peer HTTP/1.1\r\n").await?;
        loop {
            write.write_all(b"a: b\r\n").await?;
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let mut nothing = vec![];
    let closed = tokio::select! {
        read = read.read_to_end(&mut nothing) => read.is_err() || nothing.is_empty(),
        failed = drip => { let failed: io::Result<()> = failed; failed.is_err() }
        () = tokio::time::sleep(AT_MOST) => false,
    };
    assert!(closed);
    assert!(bench.ended("header_timeout"));
}

#[tokio::test]
async fn a_later_head_has_the_same_limit_and_idling_another() {
    let bench = Bench::new(Limits { header_timeout: SHORT, ..generous() }).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    response(&mut stream, "hi").await;
    // Idling for longer than a head may take is no offence …
    let idle = tokio::time::timeout(SHORT * 3, stream.read_u8()).await;
    assert!(idle.is_err(), "closed while idle");
    // … beginning one and leaving it is.
    stream.write_all(b"GET /pe").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert!(bench.ended("header_timeout"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_never_a_busy_one() {
    let mut bench = Bench::new(Limits { idle_timeout: SHORT, ..generous() }).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    bench.reached.recv().await.unwrap();
    assert!(tokio::time::timeout(SHORT * 4, stream.read_u8()).await.is_err(), "closed while busy");
    bench.let_go.cancel();
    assert!(rest(&mut stream).await.ends_with("done"));
}

#[tokio::test]
async fn half_a_body_is_refused_in_time() {
    let bench = Bench::new(Limits { body_timeout: SHORT, ..generous() }).await;
    let text = bench.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(status(&text), "400");
    assert!(bench.ended("body_timeout"));
}

#[tokio::test]
async fn nonsense_and_excess_are_answered_as_what_they_are() {
    let bench = Bench::new(generous()).await;
    let long = format!("GET /peer HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(17 * 1024));
    let many = format!("GET /peer HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (bytes, wanted) in [
        ("BREW\u{7f} /pot\r\n\r\n", "400"),
        ("GET /peer HTTP/1.1\r\nno colon\r\n\r\n", "400"),
        ("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
        (&long, "431"),
        (&many, "431"),
    ] {
        assert_eq!(status(&bench.exchange(bytes.as_bytes()).await), wanted, "{bytes:.40}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_peer_that_is_still_sending() {
    let bench = Bench::new(generous()).await;
    let (mut read, mut write) = bench.connect().await.into_split();
    let size = 8 * 1024 * 1024;
    let head = format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
    write.write_all(head.as_bytes()).await.unwrap();
    let sent = write.write_all(&vec![b'x'; size]).await;
    assert!(sent.is_ok(), "reset while sending: {sent:?}");
    drop(write);
    let mut text = vec![];
    read.read_to_end(&mut text).await.expect("no reset before the answer");
    assert_eq!(status(&String::from_utf8_lossy(&text)), "413");
}

#[tokio::test]
async fn a_response_nobody_reads_is_given_up() {
    let bench = Bench::new(Limits { write_timeout: SHORT, ..generous() }).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let given_up = async {
        while !bench.ended("write_timeout") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(AT_MOST, given_up).await.expect("the stalled response is given up");
}

#[tokio::test]
async fn a_reader_that_drips_is_no_better_than_one_that_stands() {
    let bench = Bench::new(Limits { write_timeout: SHORT * 2, ..generous() }).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let dripping = async {
        while !bench.ended("write_timeout") {
            tokio::time::sleep(SHORT / 20).await;
            let mut some = [0; 64];
            if !matches!(stream.read(&mut some).await, Ok(1..)) {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(AT_MOST, dripping).await.expect("the dripping reader is given up");
}

/// Opens an HTTP/2 connection of a peer that grants so many bytes for each response.
async fn http2_peer(bench: &Bench, window: u32) -> h2::client::SendRequest<Bytes> {
    let stream = bench.connect().await;
    let (peer, connection) = h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    drop(bench.lifecycle.tasks().spawn("peer", connection));
    peer.ready().await.unwrap()
}

fn asks(path: &str) -> axum::http::Request<()> {
    axum::http::Request::get(format!("http://x{path}")).body(()).unwrap()
}

#[tokio::test]
async fn an_http2_response_nobody_takes_is_given_up_and_its_connection_is_not() {
    for window in [0, 10] {
        let bench = Bench::new(Limits { write_timeout: SHORT, ..generous() }).await;
        let mut peer = http2_peer(&bench, window).await;
        let (response, _) = peer.send_request(asks("/endless"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let given_up = async {
            while let Some(data) = body.data().await {
                if data.is_err() {
                    return;
                }
            }
            panic!("an endless response ended");
        };
        tokio::time::timeout(AT_MOST, given_up).await.expect("the stream is reset");
        assert!(bench.ended("write_timeout"));
        let (response, _) = peer.ready().await.unwrap().send_request(asks("/refuse"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), axum::http::StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn an_http2_response_that_is_taken_piece_by_piece_goes_on() {
    let bench = Bench::new(Limits { write_timeout: SHORT, ..generous() }).await;
    let peer = http2_peer(&bench, 16 * 1024).await;
    let (response, _) = peer.clone().send_request(asks("/endless"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut taken = 0;
    while taken < 40 * 16 * 1024 {
        let data =
            tokio::time::timeout(AT_MOST, body.data()).await.expect("in time").expect("endless").expect("no reset");
        taken += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
        tokio::time::sleep(SHORT / 20).await;
    }
    assert!(!bench.ended("write_timeout"));
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_free_one() {
    let mut bench = Bench::new(Limits { max_connections: 1, ..generous() }).await;
    let mut first = bench.connect().await;
    first.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    bench.reached.recv().await.unwrap();
    let mut second = bench.connect().await;
    second.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    assert!(tokio::time::timeout(SHORT, second.read_u8()).await.is_err(), "served beyond the cap");
    bench.let_go.cancel();
    assert!(rest(&mut first).await.ends_with("done"));
    drop(first);
    assert_eq!(status(&response(&mut second, "hi").await), "200");
}

#[tokio::test]
async fn draining_closes_idle_connections_soon_and_finishes_what_was_asked() {
    let mut bench = Bench::new(generous()).await;
    let mut idle = bench.connect().await;
    idle.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    response(&mut idle, "hi").await;
    let mut silent = bench.connect().await;
    let mut busy = bench.connect().await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    bench.reached.recv().await.unwrap();
    let (address, let_go) = (bench.address, bench.let_go.clone());
    let (ended, ()) = tokio::join!(bench.shut_down(AT_MOST), async {
        assert_eq!(rest(&mut idle).await, "");
        assert_eq!(rest(&mut silent).await, "");
        assert!(TcpStream::connect(address).await.is_err(), "still accepting");
        let_go.cancel();
        let text = rest(&mut busy).await;
        assert!(text.contains("connection: close") && text.ends_with("done"), "{text}");
    });
    assert_eq!(ended, Ended::Clean);
}

#[tokio::test]
async fn what_is_on_its_way_when_the_server_drains_is_answered_and_the_connection_ends() {
    const REQUEST: &[u8] = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
    let bench = Bench::new(generous()).await;
    let mut pooled = bench.connect().await;
    pooled.write_all(REQUEST).await.unwrap();
    response(&mut pooled, "hi").await;
    let mut opened = bench.connect().await;
    let address = bench.address;
    let stop = bench.lifecycle.stop();
    let (ended, ()) = tokio::join!(bench.shut_down(AT_MOST), async {
        // The kernel has taken this one and the request on it; nobody was told of it yet.
        let mut queued = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut queued, REQUEST).unwrap();
        queued.set_nonblocking(true).unwrap();
        let mut queued = TcpStream::from_std(queued).unwrap();
        stop.soft().cancelled().await;
        while TcpStream::connect(address).await.is_ok() {}
        pooled.write_all(REQUEST).await.unwrap();
        opened.write_all(REQUEST).await.unwrap();
        for stream in [&mut pooled, &mut opened, &mut queued] {
            let text = rest(stream).await;
            assert!(text.contains("connection: close") && text.ends_with("hi"), "{text}");
        }
    });
    assert_eq!(ended, Ended::Clean);
}

#[tokio::test]
async fn half_sent_requests_do_not_outlast_the_grace() {
    let bench = Bench::new(generous()).await;
    let mut head = bench.connect().await;
    head.write_all(b"GET /peer HTTP/1.1\r\nhost:").await.unwrap();
    let mut body = bench.connect().await;
    body.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    let started = Instant::now();
    let (ended, ..) = tokio::join!(bench.shut_down(SHORT), rest(&mut head), rest(&mut body));
    assert!(matches!(ended, Ended::Cut(1..)), "{ended:?}");
    assert!(started.elapsed() < SHORT + Duration::from_secs(5));
}

fn http2_client() -> reqwest::Client {
    // The client insists on a TLS provider although none of this is encrypted; another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port_and_drained_with_a_goodbye() {
    let client = http2_client();
    let mut bench = Bench::new(generous()).await;
    let url = format!("http://{}", bench.address);
    let answer = client.post(format!("{url}/echo")).body("hi").send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "hi");
    let held = client.get(format!("{url}/held")).send();
    let let_go = bench.let_go.clone();
    let (answer, ended) = tokio::join!(held, async {
        bench.reached.recv().await.unwrap();
        bench.lifecycle.stop().request();
        let_go.cancel();
        bench.shut_down(AT_MOST).await
    });
    assert_eq!(answer.unwrap().text().await.unwrap(), "done");
    assert_eq!(ended, Ended::Clean);
}

#[tokio::test]
async fn an_http2_connection_may_idle_longer_than_a_head_may_take() {
    let client = http2_client();
    let bench = Bench::new(Limits { header_timeout: SHORT, ..generous() }).await;
    let url = format!("http://{}/echo", bench.address);
    client.post(&url).body("hi").send().await.unwrap();
    // Meanwhile pings come and go, which are not the beginning of a request.
    tokio::time::sleep(SHORT * 4).await;
    let open = "fini_bridge_http_connections{listener=\"public\"} 1";
    assert!(bench.metrics.encode().contains(open));
    assert!(!bench.ended("header_timeout"));
}

#[tokio::test]
async fn an_idle_http2_connection_does_not_outlive_its_time() {
    let bench = Bench::new(Limits { idle_timeout: SHORT, header_timeout: SHORT, ..generous() }).await;
    // A preface and empty SETTINGS, then nothing: not even an answer to pings.
    let hello = [PREFACE.as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    bench.exchange(&hello).await;
}

#[tokio::test(start_paused = true)]
async fn failing_to_accept_pauses_unless_the_peer_is_to_blame() {
    let lifecycle = Lifecycle::new(Metrics::new(&[], "0"));
    let metrics = Metrics::new(&[], "0");
    let server = Server {
        name: "public",
        limits: generous(),
        tasks: lifecycle.tasks(),
        addresses: Arc::default(),
        metrics: metrics.clone(),
        drain: CancellationToken::new(),
    };
    let started = Instant::now();
    server.accept_failed(&io::Error::from(io::ErrorKind::ConnectionAborted)).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    // EMFILE: too many open files (errno(3)).
    server.accept_failed(&io::Error::from_raw_os_error(24)).await;
    assert!(started.elapsed() >= ACCEPT_PAUSE);
    assert!(metrics.encode().contains("fini_bridge_http_accept_errors_total{listener=\"public\"} 1"));
}
