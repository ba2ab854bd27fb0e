//! Compares `FAULTS.md` with the code: every kind of fault is in it, and every example in it works.

use super::super::rule::KINDS;
use super::*;

const TEXT: &str = include_str!("../FAULTS.md");

/// Returns the examples that set something: method, path and body of each.
fn examples() -> Vec<(&'static str, &'static str, &'static str)> {
    let calls = TEXT.split("\ncurl -s ").skip(1);
    calls
        .filter_map(|call| {
            let (head, rest) = call.split_once(" -d '")?;
            let (body, _) = rest.split_once('\'')?;
            let method = if head.starts_with("-X PATCH ") { "PATCH" } else { "POST" };
            Some((method, head.rsplit_once("$SANDBOX")?.1, body))
        })
        .collect()
}

#[tokio::test]
async fn every_kind_of_fault_is_explained_with_an_example_that_works() {
    let bench = Bench::new();
    for (method, path, body) in examples() {
        let reply = bench.send(method, path, "", body.as_bytes().to_vec()).await;
        assert!(reply.status.is_success(), "{body}: {} {:?}", reply.status, String::from_utf8_lossy(&reply.bytes));
    }
    let set: Vec<&str> = bench.sandbox.faults().iter().map(|state| state.fault.kind.name()).collect();
    for (kind, _) in KINDS {
        assert!(set.contains(kind), "{kind} has no example");
        assert!(TEXT.contains(&format!("\n`{kind}`: ")), "{kind} is not explained");
    }
}

#[test]
fn every_member_of_a_rule_and_every_detail_is_explained() {
    let fault = serde_json::to_value(Fault::new(FaultRoute::Any, FaultKind::Status)).unwrap();
    for member in fault.as_object().unwrap().keys() {
        assert!(TEXT.contains(&format!("\n| `{member}` |")), "{member}");
    }
    for detail in fault["params"].as_object().unwrap().keys() {
        assert!(TEXT.contains(&format!("`params.{detail}`")), "{detail}");
    }
}

#[test]
fn every_setting_and_every_answer_of_a_personality_is_explained() {
    let settings = serde_json::to_value(Settings::default()).unwrap();
    let explained: Vec<&str> = super::super::page::documented_settings().into_iter().map(|(name, _)| name).collect();
    let mut there: Vec<&str> = settings.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(explained.len(), there.len());
    there.retain(|name| !explained.contains(name));
    assert!(there.is_empty(), "{there:?}");
    for row in ROWS {
        let answers: Vec<&str> = row.answers.iter().map(|(answer, _)| *answer).collect();
        let line = format!("\n| {} | {} |", row.name, answers.join(", "));
        assert!(TEXT.contains(&line), "{line}");
    }
}

#[test]
fn every_kind_there_is_stands_in_the_list_of_kinds() {
    // Refuses to compile when a kind is added, so that nobody forgets the list.
    let known = |kind: FaultKind| match kind {
        FaultKind::Status
        | FaultKind::StoreThen500
        | FaultKind::StoreThenHang
        | FaultKind::StoreThenReset
        | FaultKind::ResetBefore
        | FaultKind::ResetThenStore
        | FaultKind::HangBefore
        | FaultKind::TruncatedJson
        | FaultKind::Garbage
        | FaultKind::Drip
        | FaultKind::HugeBody
        | FaultKind::RateLimited
        | FaultKind::Delay
        | FaultKind::Unauthorised
        | FaultKind::Forbidden
        | FaultKind::EventsOnlyUser
        | FaultKind::EmptyArray
        | FaultKind::MergeThen500
        | FaultKind::FromTheTop => 19,
    };
    assert_eq!(KINDS.len(), known(FaultKind::Status));
}
