//! Before and after the request left: the line between what may be repeated and what must be looked up.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Name, Resolve, Resolving};

use super::*;

/// Sends and reads, and expects of both that nothing left.
async fn nothing_leaves(client: &FiniClient) -> [Failure; 2] {
    let departure = Departure::untold();
    let sent = client.generate_answer(&send(), &departure).await.expect_err("a failure");
    assert!(!departure.has_left());
    let departure = Departure::untold();
    let read = client.list_agents(&departure).await.expect_err("a failure");
    assert!(!departure.has_left());
    for failure in [&sent, &read] {
        assert_eq!(failure.class(), "never_left", "{failure}");
    }
    [sent, read]
}

#[tokio::test]
async fn a_refused_connection_never_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("a bound address"));
    drop(listener);
    let client = client(settings(base.parse().expect("a URL")));
    for failure in nothing_leaves(&client).await {
        assert!(failure.detail().contains("refused"), "{failure}");
    }
}

/// A resolver that knows no name, so that the test needs no name server.
struct Unknown;

impl Resolve for Unknown {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

#[tokio::test]
async fn an_unknown_name_never_left() {
    let settings = settings("http://fini.invalid".parse().expect("a URL"));
    let client = builder(&settings).expect("settings").dns_resolver(Arc::new(Unknown)).build().expect("a client");
    let client = FiniClient::over(Box::new(client), settings, Box::new(|_| ()));
    for failure in nothing_leaves(&client.expect("a client")).await {
        assert!(failure.detail().contains("no such name"), "{failure}");
    }
}

#[tokio::test]
async fn a_failed_handshake_never_left() {
    let hanging_up = Server::start(|stream, _| Box::pin(async move { drop(stream) })).await;
    let talking_plainly = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        })
    })
    .await;
    for server in [hanging_up, talking_plainly] {
        nothing_leaves(&client(settings(server.url("https")))).await;
    }
}

#[tokio::test]
async fn a_connect_timeout_never_left() {
    let server = Server::silent().await;
    let mut settings = settings(server.url("https"));
    settings.connect_timeout = Duration::from_millis(100);
    nothing_leaves(&client(settings)).await;
}

#[tokio::test]
async fn a_send_whose_time_is_over_while_connecting_never_left() {
    let server = Server::silent().await;
    let mut settings = settings(server.url("https"));
    settings.reply_timeout = Duration::from_millis(100);
    let departure = Departure::untold();
    let failure = client(settings).generate_answer(&send(), &departure).await.expect_err("a failure");
    assert_eq!(failure.class(), "never_left");
    assert!(!departure.mark(), "it may not leave later either");
}

#[tokio::test]
async fn a_dropped_send_leaves_before_or_never() {
    let connecting = Server::silent().await;
    let client_ = client(settings(connecting.url("https")));
    let departure = Departure::untold();
    let dropped = tokio::time::timeout(Duration::from_millis(50), client_.generate_answer(&send(), &departure)).await;
    assert!(dropped.is_err());
    assert!(!departure.mark(), "withheld for good");

    let waiting = Server::stalling_after("").await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let departure = Departure::new(move || {
        if let Some(tell) = tell.lock().expect("no panics").take() {
            let _ = tell.send(());
        }
    });
    let client_ = waiting.client();
    let request = send();
    tokio::select! {
        _ = client_.generate_answer(&request, &departure) => panic!("no answer comes"),
        told = told => told.expect("the hook is called"),
    }
    assert!(departure.has_left());
    assert!(!departure.withhold());
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_unclear() {
    let hanging_up = Server::answering("").await;
    // Closing with unread bytes makes the kernel reset the connection.
    let resetting = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = stream.read(&mut [0; 1]).await;
        })
    })
    .await;
    let mid_head = Server::answering("HTTP/1.1 200 O").await;
    for server in [hanging_up, resetting, mid_head] {
        let departure = Departure::untold();
        let failure = server.client().generate_answer(&send(), &departure).await.expect_err("a failure");
        assert_eq!((failure.class(), failure.status()), ("unclear", None), "{failure}");
        assert!(departure.has_left());
        let read = server.client().list_agents(&Departure::untold()).await.expect_err("a failure");
        assert_eq!(read.class(), "unclear", "{read}");
    }
}

/// The server answers once per connection and closes without saying so, at about the moment of the next send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_on_a_connection_that_is_being_closed_arrives_at_most_once() {
    let server = Server::start(|mut stream, seen| {
        Box::pin(async move {
            let Some(request) = read_request(&mut stream).await else { return };
            seen.lock().expect("no panics").push(request);
            let _ = stream.write_all(ok("[]").as_bytes()).await;
        })
    })
    .await;
    let client = server.client();
    for n in 0..100 {
        let request = GenerateAnswer { text: format!("message {n}"), ..send() };
        let departure = Departure::untold();
        let result = client.generate_answer(&request, &departure).await;
        let arrived = server.seen().iter().filter(|seen| seen.json()["content"] == request.text).count();
        match result {
            Ok(_) => assert_eq!(arrived, 1, "{n}"),
            Err(Failure::NeverLeft { .. }) => assert_eq!((arrived, departure.has_left()), (0, false), "{n}"),
            Err(Failure::Unclear { .. }) => assert!(arrived <= 1 && departure.has_left(), "{n}"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// HTTP libraries like to repeat a request whose kept connection broke. A send that had begun is not theirs to repeat.
#[tokio::test]
async fn a_send_that_breaks_a_kept_connection_is_not_repeated() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&connections);
    let server = Server::start(move |mut stream, _| {
        counting.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let _ = read_request(&mut stream).await;
            let _ = stream.write_all(ok("[]").as_bytes()).await;
            let _ = stream.read(&mut [0; 1]).await;
        })
    })
    .await;
    let client = server.client();
    client.generate_answer(&send(), &Departure::untold()).await.expect("an empty answer");
    let departure = Departure::untold();
    let failure = client.generate_answer(&send(), &departure).await.expect_err("a broken connection");
    assert_eq!((failure.class(), failure.status()), ("unclear", None), "{failure}");
    assert!(departure.has_left());
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the kept connection was used, and no other");
}

#[tokio::test]
async fn the_departure_is_told_once_and_before_the_answer() {
    let told = Arc::new(AtomicUsize::new(0));
    let departure = Departure::new({
        let told = Arc::clone(&told);
        move || {
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Server::start(move |mut stream, _| {
        let mut released = released.clone();
        Box::pin(async move {
            let _ = read_request(&mut stream).await;
            let _ = released.wait_for(|released| *released).await;
            let _ = stream.write_all(ok("[]").as_bytes()).await;
        })
    })
    .await;
    let client = server.client();
    let request = send();
    let answer = client.generate_answer(&request, &departure);
    let marked = async {
        while !departure.has_left() {
            tokio::task::yield_now().await;
        }
        release.send(true).expect("the server waits");
    };
    let (answer, ()) = tokio::join!(answer, marked);
    assert!(answer.is_ok());
    assert_eq!(told.load(Ordering::Relaxed), 1);
}
