//! Keys, scopes and the throttle.

use super::*;

const LIST: &str = "/v2/hc-interactions/public";

fn scoped() -> Bench {
    Bench::with(|config| config.api_keys = vec![ApiKey::read_only("fini_reader"), ApiKey::write_only("fini_writer")])
}

#[tokio::test]
async fn keys_must_be_present_well_formed_and_known() {
    let bench = Bench::new();
    for key in
        ["", "fini_sandbox", "Basic fini_sandbox", "Bearer", "Bearer ", "Bearer fini_other", "Bearer fini_sandboxx"]
    {
        let reply = bench.send("GET", LIST, key, Vec::new()).await;
        assert_eq!(reply.status, 401, "{key:?}");
        assert_eq!(reply.json()["statusCode"], 401);
    }
    let report = bench.sandbox.audit(0, true);
    assert_eq!((report.requests, report.authenticated), (7, 0));
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let id = "0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8";
    let one = format!("/v2/hc-interactions/{id}/public");
    let routes = [
        ("POST", "/v2/hc-interactions/events/public", "fini_writer", "fini_reader"),
        ("GET", one.as_str(), "fini_reader", "fini_writer"),
        ("GET", LIST, "fini_reader", "fini_writer"),
        ("GET", "/v2/bots/public", "fini_reader", "fini_writer"),
        ("GET", "/v2/bots/requests/public", "fini_reader", "fini_writer"),
        ("DELETE", one.as_str(), "fini_writer", "fini_reader"),
        ("DELETE", LIST, "fini_writer", "fini_reader"),
    ];
    let bench = scoped();
    for (method, path, right, wrong) in routes {
        let refused = bench.send(method, path, &format!("Bearer {wrong}"), b"{}".to_vec()).await;
        assert_eq!(refused.status, 403, "{method} {path}");
        assert_eq!(refused.json()["error"], "Forbidden");
        let admitted = bench.send(method, path, &format!("Bearer {right}"), b"{}".to_vec()).await;
        assert_ne!(admitted.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn a_hundred_requests_fit_into_a_rolling_minute() {
    let bench = Bench::new();
    for _ in 0..100 {
        assert_eq!(bench.get(LIST).await.status, 200);
        bench.pass(100);
    }
    let refused = bench.get(LIST).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.get("retry-after").is_none());
    // The refused one took a place as well, so the second place to come free is the first to use.
    bench.pass(60_000 - 10_000);
    assert_eq!(bench.get(LIST).await.status, 429);
    bench.pass(100 * 2);
    assert_eq!(bench.get(LIST).await.status, 200);
    let report = bench.sandbox.audit(0, true);
    assert_eq!((report.throttled, report.window_ms), (2, 60_000));
    assert_eq!(report.max_in_window, 101);
}

#[tokio::test]
async fn the_throttle_counts_over_all_routes_and_whatever_the_answer() {
    let bench = Bench::with(|config| {
        config.settings.rate_limit = Some(RateLimit { requests: 3, retry_after_s: Some(7), ..RateLimit::default() });
    });
    assert_eq!(bench.get("/v2/bots/public").await.status, 200);
    assert_eq!(bench.generate(&json!({})).await.status, 400);
    assert_eq!(bench.read("unknown").await.status, 500);
    // Without a known key nothing is counted.
    assert_eq!(bench.send("GET", LIST, "Bearer fini_other", Vec::new()).await.status, 401);
    let refused = bench.get(LIST).await;
    assert_eq!((refused.status.as_u16(), refused.headers["retry-after"].to_str().unwrap()), (429, "7"));
    // The control routes are outside.
    assert_eq!(bench.get("/_sandbox/settings").await.status, 200);
}

#[tokio::test]
async fn the_throttle_can_be_switched_off() {
    let bench = Bench::with(|config| config.settings.rate_limit = None);
    for _ in 0..200 {
        assert_eq!(bench.get(LIST).await.status, 200);
    }
    assert_eq!(bench.sandbox.audit(0, true).max_in_window, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_not_found_in_the_vendors_words() {
    let bench = Bench::new();
    for (method, path) in [("GET", "/v3/bots"), ("PUT", LIST), ("GET", "/v2/hc-interactions/events/public")] {
        let reply = bench.send(method, path, "Bearer fini_sandbox", Vec::new()).await;
        assert_eq!(reply.status, 404, "{method} {path}");
        assert_eq!(reply.json()["statusCode"], 404);
    }
}
