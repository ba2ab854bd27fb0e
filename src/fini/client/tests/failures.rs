//! Answers that are no success, and successes that are no answer.

use super::*;

async fn sending_to(server: &Server) -> Failure {
    let departure = Departure::untold();
    let failure = server.client().generate_answer(&send(), &departure).await.expect_err("a failure");
    assert!(departure.has_left(), "an answer came: {failure}");
    failure
}

#[tokio::test]
async fn an_error_of_fini_is_unclear_for_a_send() {
    let body = r#"{"statusCode":500,"message":"Internal server error"}"#;
    let server = Server::answering(answer("500 Internal Server Error", "application/json", body)).await;
    let failure = sending_to(&server).await;
    assert_eq!((failure.class(), failure.status()), ("unclear", Some(500)));
    assert_eq!(failure.detail(), "Internal server error");
    assert_eq!(server.seen().len(), 1, "a send is never repeated here");
}

#[tokio::test]
async fn a_page_of_a_proxy_is_unclear() {
    let page = "<html><head><title>502 Bad Gateway</title></head></html>";
    let server = Server::answering(answer("502 Bad Gateway", "text/html", page)).await;
    let failure = sending_to(&server).await;
    assert_eq!((failure.class(), failure.status()), ("unclear", Some(502)));
    assert_eq!(failure.detail(), "an HTML page: 502 Bad Gateway");

    let cheerful = Server::answering(answer("200 OK", "text/html", page)).await;
    assert_eq!(sending_to(&cheerful).await.class(), "unclear");
}

#[tokio::test]
async fn throttling_carries_what_it_was_told() {
    let body = r#"{"statusCode":429,"message":"ThrottlerException: Too Many Requests"}"#;
    let plain = Server::answering(answer("429 Too Many Requests", "application/json", body)).await;
    let failure = sending_to(&plain).await;
    assert_eq!((failure.class(), failure.retry_after()), ("throttled", None));

    let helpful = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 12\r\ncontent-length: 0\r\n\r\n";
    let failure = sending_to(&Server::answering(helpful).await).await;
    assert_eq!((failure.class(), failure.retry_after()), ("throttled", Some(Duration::from_secs(12))));
}

#[tokio::test]
async fn a_rejection_is_final_and_does_not_repeat_the_message() {
    let body = r#"{"message":["content Where is my order 4711? is bad"],"error":"Bad Request"}"#;
    let server = Server::answering(answer("400 Bad Request", "application/json", body)).await;
    let failure = sending_to(&server).await;
    assert_eq!((failure.class(), failure.status()), ("rejected", Some(400)));
    assert!(!failure.to_string().contains("4711"), "{failure}");

    let body = format!(r#"{{"message":"Invalid key {WRITE_KEY}"}}"#);
    let server = Server::answering(answer("401 Unauthorized", "application/json", &body)).await;
    let failure = sending_to(&server).await;
    assert_eq!((failure.class(), failure.detail()), ("unauthorised", "Invalid key [key]"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::answering(ok("[]")).await;
    let moved = format!("HTTP/1.1 307 Moved\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.address);
    let server = Server::answering(moved).await;
    assert_eq!(sending_to(&server).await.status(), Some(307));
    let read = server.client().list_agents(&Departure::untold()).await.expect_err("a failure");
    assert_eq!((read.class(), read.status()), ("unclear", Some(307)));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_missing_conversation_is_a_hint() {
    let server = Server::answering(answer("404 Not Found", "application/json", r#"{"message":"Not Found"}"#)).await;
    let failure = server.client().get_conversation(&id("c"), &Departure::untold()).await.expect_err("a failure");
    assert_eq!(failure, Failure::Missing { detail: "Not Found".to_owned() });
}

#[tokio::test]
async fn an_answer_about_another_conversation_is_none() {
    let server = Server::answering(ok(r#"{"id":"other","events":[]}"#)).await;
    let failure = server.client().get_conversation(&id("c"), &Departure::untold()).await.expect_err("a failure");
    assert_eq!((failure.class(), failure.status()), ("unclear", Some(200)));
}

#[tokio::test]
async fn an_answer_may_be_compressed_and_have_many_fields() {
    let compressed: [(&str, &[u8]); 3] = [
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x8b\x8e\x05\x00)\xbbL\r\x02\x00\x00\x00"),
        ("deflate", b"x\x9c\x8b\x8e\x05\x00\x01\x15\x00\xb9"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x11\x00\x00\x5b\x5d\x56\x1f\x7f\x61"),
    ];
    for (encoding, body) in compressed {
        let mut head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n", body.len());
        let fields: Vec<String> = (0..500).map(|n| format!("x-of-a-gateway-{n}: 1\r\n")).collect();
        head += &fields.concat();
        let server = Server::answering([head.as_bytes(), b"\r\n", body].concat()).await;
        let agents = server.client().list_agents(&Departure::untold()).await;
        assert_eq!(agents.expect(encoding), []);
        let asked = server.seen()[0].header("accept-encoding").unwrap_or_default().to_owned();
        assert!(["gzip", "deflate", "br", "zstd"].iter().all(|name| asked.contains(name)), "{asked}");
    }
}

#[tokio::test]
async fn the_cap_counts_what_comes_out_of_a_compressed_answer() {
    // Six MiB of blank space.
    let bomb: &[u8] = b"\x28\xb5\x2f\xfd\x04\x68\x4c\x00\x00\x08\x20\x01\x00\xfc\xff\x39\x10\x02\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x02\x00\x10\x20\x03\x00\x10\x20\xb0\x6c\x92\x4f";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: zstd\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let server = Server::answering([head.as_bytes(), bomb].concat()).await;
    let failure = server.client().list_agents(&Departure::untold()).await.expect_err("too much");
    assert!(failure.detail().contains("more than"), "{failure}");
}

#[tokio::test]
async fn a_success_that_breaks_off_is_unclear() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{\"id\":";
    let chunk_missing = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n";
    let garbled = ok("[{\"id\":");
    let empty = ok("");
    for answer in [cut, chunk_missing, garbled.as_str(), empty.as_str()] {
        let failure = sending_to(&Server::answering(answer).await).await;
        assert_eq!((failure.class(), failure.status()), ("unclear", Some(200)), "{answer}");
    }
    let failure = sending_to(&Server::answering("HTTP/9.9 what\r\n\r\n").await).await;
    assert_eq!((failure.class(), failure.status()), ("unclear", None));
}

#[tokio::test]
async fn an_oversized_success_is_unclear_and_is_not_read() {
    let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CAP + 1);
    let failure = sending_to(&Server::stalling_after(announced).await).await;
    assert_eq!((failure.class(), failure.status()), ("unclear", Some(200)));

    let endless = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = [b"10000\r\n".as_slice(), &b" ".repeat(0x10000), b"\r\n"].concat();
            let mut written = stream.write_all(head).await;
            while written.is_ok() {
                written = stream.write_all(&chunk).await;
            }
        })
    })
    .await;
    let failure = sending_to(&endless).await;
    assert!(failure.detail().contains("more than"), "{failure}");
}

#[tokio::test]
async fn the_deadline_covers_the_last_byte() {
    let hurried = |server: &Server| {
        let mut settings = settings(server.url("http"));
        settings.reply_timeout = Duration::from_millis(150);
        client(settings)
    };
    let drip = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = read_request(&mut stream).await;
            let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
            let mut pace = tokio::time::interval(Duration::from_millis(5));
            while written.is_ok() {
                pace.tick().await;
                written = stream.write_all(b" ").await;
            }
        })
    })
    .await;
    let headless = Server::stalling_after("").await;
    let stalled = Server::stalling_after("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n").await;
    for (server, status) in [(drip, Some(200)), (headless, None), (stalled, Some(200))] {
        let departure = Departure::untold();
        let failure = hurried(&server).generate_answer(&send(), &departure).await.expect_err("a failure");
        assert_eq!((failure.class(), failure.status()), ("unclear", status));
        assert_eq!(failure.detail(), "no complete answer within 150ms");
        assert!(departure.has_left());
    }

    // The class is known from the head, however long the explanation takes.
    let refusing = Server::stalling_after("HTTP/1.1 429 Slow\r\ncontent-length: 9\r\n\r\nnot").await;
    let failure = hurried(&refusing).generate_answer(&send(), &Departure::untold()).await;
    assert_eq!(failure.expect_err("a failure").class(), "throttled");
}
