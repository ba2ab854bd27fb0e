//! Receivers that hang, drip, flood, cut off or speak something else.

use super::*;

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let result = client().attempt(&attempt(&receiver.url(), SHORT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Timeout)));
    assert!(result.duration >= SHORT && result.duration < PATIENT);
}

/// Starts a receiver that sends a byte now and then, which defeats every timeout that starts anew with each read.
async fn dripping(head: &'static str) -> Receiver {
    Receiver::start(move |mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_deadline_holds_over_the_body() {
    let receiver = dripping("HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\n").await;
    let result = client().attempt(&attempt(&receiver.url(), SHORT)).await;
    assert_eq!((result.status, kind(&result)), (Some(500), Some(ErrorKind::Timeout)));
    assert!(result.body_excerpt.starts_with("xx") && result.truncated);
    assert!(result.duration >= SHORT && result.duration < PATIENT);
}

#[tokio::test]
async fn the_deadline_holds_over_the_head() {
    let receiver = dripping("HTTP/1.1 200 OK\r\nx-slow: ").await;
    let result = client().attempt(&attempt(&receiver.url(), SHORT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Timeout)));
    assert!(result.duration < PATIENT);
}

#[tokio::test]
async fn an_acknowledgement_does_not_wait_for_its_body() {
    let receiver = dripping("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!((result.status, &result.error, result.truncated), (Some(200), &None, true));
    assert!(result.duration < PATIENT / 2);
}

#[tokio::test]
async fn fifty_megabytes_are_not_read() {
    const SIZE: usize = 50 * 1024 * 1024;
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let (ended, mut end) = tokio::sync::mpsc::channel(1);
    let receiver = Receiver::start(move |mut stream| {
        let (counter, ended) = (Arc::clone(&counter), ended.clone());
        async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 400 Bad\r\ncontent-length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let block = vec![b'y'; 64 * 1024];
            while counter.load(Ordering::SeqCst) < SIZE && stream.write_all(&block).await.is_ok() {
                counter.fetch_add(block.len(), Ordering::SeqCst);
            }
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!((result.status, &result.error), (Some(400), &None));
    assert_eq!(result.body_excerpt, "y".repeat(MAX_EXCERPT));
    assert!(result.truncated);
    // The connection is closed instead of drained: the other side gets rid of what the socket buffers hold, no more.
    end.recv().await.unwrap();
    assert!(taken.load(Ordering::SeqCst) < SIZE / 2);
}

#[tokio::test]
async fn a_cut_connection_is_named() {
    let before = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let result = client().attempt(&attempt(&before.url(), PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Reset)));

    let within = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nhal").await;
    })
    .await;
    let result = client().attempt(&attempt(&within.url(), PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (Some(500), Some(ErrorKind::Reset)), "{result:?}");
    assert_eq!((result.body_excerpt.as_str(), result.truncated), ("hal", true));
}

#[tokio::test]
async fn what_is_not_http_is_named() {
    let receiver = Receiver::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Protocol)));
}

/// Returns an otherwise normal answer with so many header fields of a proxy's, each as long as such fields are.
fn decorated(status: &str, fields: usize) -> String {
    let fields: Vec<String> = (0..fields).map(|n| format!("x-edge-debug-{n}: {}\r\n", "v".repeat(40))).collect();
    let fields = fields.concat();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: 2\r\n\r\nok")
}

#[tokio::test]
async fn an_answer_counts_however_many_fields_a_proxy_adds() {
    for fields in [99, 100, 101, 250, 4_000] {
        let receiver = Receiver::answering(decorated("200 OK", fields).leak()).await;
        let client = client();
        for _ in 0..2 {
            let result = client.attempt(&attempt(&receiver.url(), PATIENT)).await;
            assert_eq!((result.status, &result.error), (Some(200), &None), "{fields} fields");
        }
        assert_eq!(receiver.connections(), 1, "{fields} fields");
    }
}

#[tokio::test]
async fn fields_that_curl_reads_do_not_spoil_an_answer() {
    for odd in [
        "x-folded: one\r\n two\r\n",
        "x-blank : before the colon\r\n",
        "x(odd)name: value\r\n",
        "x-control: a\x01b\r\n",
        "x-latin: caf\u{e9}\r\n",
        "x-empty:\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{odd}content-length: 2\r\n\r\nok");
        let receiver = Receiver::answering(answer.leak()).await;
        let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
        assert_eq!((result.status, result.body_excerpt.as_str()), (Some(200), "ok"), "{odd:?}: {result:?}");
    }
}

#[tokio::test]
async fn framing_is_read_as_strictly_as_ever() {
    for contradictory in
        ["content-length: 2\r\ncontent-length: 3\r\n", "content-length: 2x\r\n", "content-length: -1\r\n"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{contradictory}\r\nok");
        let receiver = Receiver::answering(answer.leak()).await;
        let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
        assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Protocol)), "{contradictory:?}");
    }
    let endless = dripping("HTTP/1.1 200 OK\r\nx-slow: ").await;
    assert_eq!(kind(&client().attempt(&attempt(&endless.url(), SHORT)).await), Some(ErrorKind::Timeout));
    let huge = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(format!("x-more: {}\r\n", "v".repeat(4_000)).as_bytes()).await.is_ok() {}
    })
    .await;
    let result = client().attempt(&attempt(&huge.url(), PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Protocol)), "a head is capped");
}

#[tokio::test]
async fn a_connection_that_was_closed_between_two_requests_costs_nothing() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let receiver = Receiver::start(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_request(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            // The next one finds it closing: read by the kernel, and by nobody else.
            read_request(&mut stream).await;
            stream.set_zero_linger().unwrap();
        }
    })
    .await;
    let client = client();
    for number in 1..=4 {
        let result = client.attempt(&attempt(&receiver.url(), PATIENT)).await;
        assert_eq!((result.status, &result.error), (Some(200), &None), "attempt {number}");
        assert_eq!((taken.load(Ordering::SeqCst), receiver.connections()), (number, number));
    }
}

#[tokio::test]
async fn a_fresh_connection_that_is_cut_is_not_tried_again() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(kind(&client().attempt(&attempt(&receiver.url(), PATIENT)).await), Some(ErrorKind::Reset));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_ends_late_may_have_been_processed() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        read_request(&mut stream).await;
        tokio::time::sleep(CLOSING).await;
    })
    .await;
    let client = client();
    assert_eq!(client.attempt(&attempt(&receiver.url(), PATIENT)).await.status, Some(200));
    assert_eq!(kind(&client.attempt(&attempt(&receiver.url(), PATIENT)).await), Some(ErrorKind::Reset));
    assert_eq!(receiver.connections(), 1);
}
