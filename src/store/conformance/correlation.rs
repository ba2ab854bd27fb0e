//! The request that brought a message: everything done because of it knows it, in whichever process and however much later.

use super::{lanes::*, talk::claim_of, talk::*, *};
use crate::domain::{
    correlation::{RequestId, TraceContext},
    vendor::FiniRole,
};

suite!(
    the_cause_goes_with_the_turn_over_a_restart,
    a_joined_turn_has_the_cause_of_its_first_message,
    what_belongs_to_no_turn_has_no_cause,
    messages_of_before_have_no_cause,
);

/// Returns a cause that names its message.
fn cause(message: &str) -> Correlation {
    let number = message.bytes().map(u32::from).sum::<u32>();
    let trace = TraceContext::parse(&format!("00-4bf92f3577b34da6a3ce929d{number:08x}-00f067aa0ba902b7-01"));
    assert!(trace.is_some());
    Correlation { request: RequestId::parse(&format!("request-of-{message}")), trace }
}

impl Fixture {
    async fn caused(&self, conversation: &str, message: &str, now: Timestamp) {
        let message = NewMessage { cause: cause(message), ..new_message(conversation, message, now) };
        assert!(matches!(self.store.accept(message).await.expect("accepts"), Accepted::New { .. }));
    }

    /// Delivers everything that is due; each type with its cause, in order.
    async fn delivered_causes(&self, now: Timestamp) -> Vec<(String, Correlation)> {
        let mut all = Vec::new();
        while let [head] = self.claim(now, 1).await.as_slice() {
            all.push((head.kind.clone(), head.cause.clone()));
            let keep_lane = Some(super::lanes::lease(now));
            let mut next = self.finish(FinishDelivery { keep_lane, ..delivered(head, now) }).await.next;
            while let Some(head) = next {
                all.push((head.kind.clone(), head.cause.clone()));
                next = self.finish(delivered(&head, now)).await.next;
            }
        }
        all
    }
}

async fn the_cause_goes_with_the_turn_over_a_restart(fixture: Fixture) {
    fixture.caused("c-1", "m-1", at(0)).await;
    let again = NewMessage { cause: cause("m-9"), ..new_message("c-1", "m-1", at(1)) };
    assert!(matches!(fixture.store.accept(again).await.expect("answers"), Accepted::Duplicate { .. }));
    let fixture = fixture.reopen().await;
    let turn = fixture.claim_turn(at(2)).await;
    assert_eq!(turn.cause, cause("m-1"), "a repeat changes nothing");
    fixture.store.lose_sight(turn.key, &turn.token, at(3), at(4), at(3), "lost").await.expect("records");
    let fixture = fixture.reopen().await;
    let looked_for = fixture.store.turns_to_read(at(4), 5).await.expect("reads").remove(0);
    assert_eq!(looked_for.cause, cause("m-1"));
    fixture.bind(turn.conversation.key, "i-1", at(5)).await;
    let events = vec![own_event("e1", "m-1"), reply("e2")];
    let recorded = fixture.read(turn.conversation.key, "i-1", Says::default(), events, at(6)).await;
    assert_eq!(recorded.ended[0].cause, cause("m-1"));
    let fixture = fixture.reopen().await;
    let causes = fixture.delivered_causes(at(7)).await;
    let wanted = ["message.created", "turn.completed"].map(|kind| (kind.to_owned(), cause("m-1")));
    assert_eq!(causes, wanted);
}

async fn a_joined_turn_has_the_cause_of_its_first_message(fixture: Fixture) {
    fixture.caused("c-1", "m-1", at(0)).await;
    fixture.caused("c-1", "m-2", at(1)).await;
    let joining = ClaimTurns { join_window: Duration::from_millis(10), ..claim_of(at(20), 1) };
    let turn = fixture.claim_with(joining).await.turns.remove(0);
    assert_eq!((turn.messages.len(), &turn.cause), (2, &cause("m-1")));
    let recorded = fixture.respond(&turn, vec![said("e1", FiniRole::User, &turn.text), reply("e2")], at(21)).await;
    assert_eq!(recorded.ended[0].cause, cause("m-1"));
    let causes = fixture.delivered_causes(at(22)).await;
    let wanted = [
        ("message.created".to_owned(), cause("m-1")),
        ("turn.completed".to_owned(), cause("m-1")),
        // The second message's own request waits for its end.
        ("turn.completed".to_owned(), cause("m-2")),
    ];
    assert_eq!(causes, wanted);
}

async fn what_belongs_to_no_turn_has_no_cause(fixture: Fixture) {
    fixture.caused("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    let said = vec![own_event("e1", "m-1"), reply("e2")];
    fixture.respond(&turn, said.clone(), at(2)).await;
    fixture.bind(turn.conversation.key, "i-1", at(3)).await;
    fixture.delivered_causes(at(4)).await;
    let later = [said, vec![by_agent("e3")]].concat();
    let says = Says::status("Escalated to Human Agent");
    let recorded = fixture.read(turn.conversation.key, "i-1", says, later, at(5)).await;
    assert!(recorded.ended.is_empty());
    let causes = fixture.delivered_causes(at(6)).await;
    assert!(causes.len() >= 2, "{causes:?}");
    assert!(causes.iter().all(|(_, cause)| *cause == Correlation::default()), "{causes:?}");
}

async fn messages_of_before_have_no_cause(fixture: Fixture) {
    fixture.caused("c-1", "m-1", at(0)).await;
    // As a process of the previous version stores it, and as no version does.
    fixture.store.execute("UPDATE turns SET request_id = NULL, traceparent = 'none'").await.expect("writes");
    assert_eq!(fixture.claim_turn(at(1)).await.cause, Correlation::default());
}
