//! Going on after the end.

use super::*;

#[tokio::test]
async fn only_what_is_new_or_changed_is_told_and_once() {
    let bench = Bench::new().await;
    bench.seed(300, 6, 1, 2);
    let now = SystemClock.now().point();
    let range = Range { since: Timestamp::from_millis(now.as_millis() - 7 * DAY), until: None };
    let mut state = State::new(now.as_millis(), None, range.windows(now));
    let mut staging = Stage::open::<State>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
    let permits = OwnLog::new(u32::MAX, Duration::from_secs(1));
    let patient = bench.patient(&permits, &Quiet);
    let export = Conversations::new(&patient, &SystemClock, Filter::default());
    export.read(&mut staging, &mut state).await.expect("read");
    let mut follow = Follow::new(&export, &state);

    let mut lines: Vec<Value> = Vec::new();
    let mut poll = async |follow: &mut Follow<'_>| {
        lines.clear();
        let told = follow.poll(|line| {
            lines.push(serde_json::from_str(line).expect("JSON"));
            Ok(())
        });
        assert_eq!(told.await.expect("polled"), lines.len() as u64);
        lines.iter().map(id).collect::<BTreeSet<_>>()
    };
    assert!(poll(&mut follow).await.is_empty());

    let all = bench.truth();
    let moved: BTreeSet<String> = all.iter().step_by(2).map(|conversation| conversation.id.to_string()).collect();
    for id in &moved {
        bench.sandbox.agent_message(id, "Hello").expect("said");
    }
    assert_eq!(poll(&mut follow).await, moved);
    assert!(poll(&mut follow).await.is_empty());
    bench.seed(1, 0, 0, 1);
    assert_eq!(poll(&mut follow).await.len(), 1);
}
