//! Requests without a socket, in virtual time.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;

const SEND: &str = "/v2/hc-interactions/events/public";

/// Creates a sandbox whose clock is tokio's, which stands still until somebody waits for it.
fn virtual_time(latency_ms: u64) -> Sandbox {
    let begun = Instant::now();
    let clock: Clock = Arc::new(move || START + i64::try_from(begun.elapsed().as_millis()).unwrap());
    let mut config = SandboxConfig { clock, seed: Some(1), ..SandboxConfig::instant() };
    config.settings.reply_latency_ms = latency_ms;
    Sandbox::new(config)
}

fn hello() -> Vec<u8> {
    json!({"botId": DEFAULT_BOT_ID, "content": "Hello"}).to_string().into_bytes()
}

async fn send(sandbox: &Sandbox) -> Result<Answered, Broken> {
    sandbox.call("POST", SEND, Some(DEFAULT_API_KEY), hello()).await
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_the_time_it_says_and_the_clock_goes_with_it() {
    let sandbox = virtual_time(90_000);
    let begun = Instant::now();
    let answered = send(&sandbox).await.unwrap();
    let events: Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!((answered.status, kinds(&events).len()), (200, 2));
    assert_eq!(begun.elapsed(), Duration::from_secs(90));
    assert_eq!((events[0]["createdAt"].clone(), events[1]["createdAt"].clone()), (json!(START), json!(START + 90_000)));
    assert_eq!(answered.headers["content-type"], "application/json; charset=utf-8");
}

#[tokio::test(start_paused = true)]
async fn hanging_up_undoes_nothing() {
    let sandbox = virtual_time(90_000);
    assert!(timeout(Duration::from_secs(1), send(&sandbox)).await.is_err());
    assert_eq!(sandbox.conversation("latest").unwrap().events.len(), 1);
    tokio::time::sleep(Duration::from_secs(89)).await;
    assert_eq!(sandbox.conversation("latest").unwrap().events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn broken_connections_say_how_far_they_came() {
    let sandbox = virtual_time(0);
    sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThenReset)).unwrap();
    assert_eq!(send(&sandbox).await, Err(Broken::NoAnswer));
    let params = FaultParams { cut: true, ..FaultParams::default() };
    sandbox.add_fault(Fault::new(FaultRoute::Any, FaultKind::TruncatedJson).with(params)).unwrap();
    let Err(Broken::InBody(answered)) = send(&sandbox).await else { panic!("the body was whole") };
    assert_eq!((answered.status, answered.body.first()), (200, Some(&b'[')));
    assert_eq!(sandbox.audit(0, true).times_stored("Hello"), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_paths_and_the_throttle_are_the_vendors() {
    let sandbox = virtual_time(0);
    let list = "/v2/hc-interactions/public?limit=1";
    let status = |answer: Result<Answered, Broken>| answer.unwrap().status;
    assert_eq!(status(sandbox.call("GET", list, None, "").await), 401);
    assert_eq!(status(sandbox.call("GET", "/v2/nowhere", Some(DEFAULT_API_KEY), "").await), 404);
    assert_eq!(status(sandbox.call("PUT", list, Some(DEFAULT_API_KEY), "").await), 404);
    assert_eq!(sandbox.call("no method", list, None, "").await, Err(Broken::NoRequest));
    for _ in 0..100 {
        assert_eq!(status(sandbox.call("GET", list, Some(DEFAULT_API_KEY), "").await), 200);
    }
    assert_eq!(status(sandbox.call("GET", list, Some(DEFAULT_API_KEY), "").await), 429);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(status(sandbox.call("GET", list, Some(DEFAULT_API_KEY), "").await), 200);
}
