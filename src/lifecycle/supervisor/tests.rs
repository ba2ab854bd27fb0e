use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::*;
use crate::lifecycle::{Ended, Lifecycle, LoopState, Signals};

/// Wall time that follows tokio's virtual time.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000).plus(self.0.elapsed())
    }
}

/// Full jitter always, so that delays are the documented upper bounds.
struct FullJitter;

impl Entropy for FullJitter {
    fn next_u64(&self) -> u64 {
        u64::MAX
    }
}

/// No signal ever comes.
struct Silence;

impl Signals for Silence {
    async fn next(&mut self) -> &'static str {
        std::future::pending().await
    }
}

type Act = Box<dyn FnOnce() -> Result<Step, String> + Send>;

/// Plays the acts in turn, then idles; records when each step was called.
struct Script {
    acts: Mutex<VecDeque<Act>>,
    called: mpsc::UnboundedSender<Instant>,
}

impl Loop for Script {
    type Error = String;

    async fn step(&self) -> Result<Step, String> {
        self.called.send(Instant::now()).expect("the test listens");
        let act = self.acts.lock().unwrap().pop_front();
        act.map_or(Ok(Step::Idle { until: None }), |act| act())
    }
}

struct Stage {
    lifecycle: Lifecycle,
    metrics: Metrics,
    wake: Wake,
    calls: mpsc::UnboundedReceiver<Instant>,
    start: Instant,
}

impl Stage {
    fn new(pace: Pace, acts: impl FnOnce(&TestClock) -> Vec<Act>) -> Self {
        let start = Instant::now();
        let clock = Arc::new(TestClock(start));
        let metrics = Metrics::new(&[], "0");
        let lifecycle = Lifecycle::new(metrics.clone());
        let (called, calls) = mpsc::unbounded_channel();
        let wake = Wake::new();
        let script = Script { acts: Mutex::new(acts(&clock).into()), called };
        let supervisor = lifecycle.supervisor(clock.clone(), Arc::new(FullJitter));
        supervisor.spawn("script", script, wake.clone(), pace);
        Self { lifecycle, metrics, wake, calls, start }
    }

    /// Waits for the next step. Returns its start, in milliseconds since the start of the test.
    async fn next_call(&mut self) -> u128 {
        let at = self.calls.recv().await.expect("the loop lives");
        (at - self.start).as_millis()
    }

    async fn stop(self) -> Ended {
        self.lifecycle.stop().request();
        self.lifecycle.run(Duration::from_secs(5), Silence).await
    }
}

fn act(result: Result<Step, &'static str>) -> Act {
    Box::new(move || result.map_err(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn work_done_is_followed_at_once_and_idling_lasts_until_due() {
    let mut stage = Stage::new(Pace::default(), |clock| {
        let due = clock.now().plus(Duration::from_millis(700));
        vec![
            act(Ok(Step::Did(3))),
            act(Ok(Step::Did(1))),
            act(Ok(Step::Idle { until: Some(due) })),
            act(Ok(Step::Did(0))),
        ]
    });
    for wanted in [0, 0, 0, 700] {
        assert_eq!(stage.next_call().await, wanted);
    }
    // `Did(0)` idles; nobody wakes the loop, so it looks again by itself.
    assert_eq!(stage.next_call().await, 30_700);
    assert_eq!(stage.stop().await, Ended::Clean);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_looked_at_when_its_rest_is_over_however_often_it_is_woken() {
    let mut stage = Stage::new(Pace::default(), |clock| {
        let due = clock.now().plus(Duration::from_secs(10));
        let held = move || act(Ok(Step::Held { until: Some(due), rest: Duration::from_millis(250) }));
        vec![held(), held(), held()]
    });
    assert_eq!(stage.next_call().await, 0);
    for wanted in [250, 500] {
        stage.wake.notify();
        assert_eq!(stage.next_call().await, wanted);
    }
    // Nobody wakes it any more: it sleeps until it is due.
    assert_eq!(stage.next_call().await, 10_000);
    assert_eq!(stage.stop().await, Ended::Clean);
}

#[tokio::test(start_paused = true)]
async fn a_wake_during_a_step_is_not_lost() {
    let wake = Arc::new(Mutex::new(None::<Wake>));
    let during = wake.clone();
    let mut stage = Stage::new(Pace::default(), |_| {
        vec![Box::new(move || {
            during.lock().unwrap().as_ref().expect("set before the loop runs").notify();
            Ok(Step::Idle { until: None })
        })]
    });
    *wake.lock().unwrap() = Some(stage.wake.clone());
    assert_eq!(stage.next_call().await, 0);
    assert_eq!(stage.next_call().await, 0);
    tokio::time::advance(Duration::from_secs(2)).await;
    stage.wake.notify();
    assert_eq!(stage.next_call().await, 2000);
    assert_eq!(stage.stop().await, Ended::Clean);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_by_doubling_and_a_wake_does_not_shorten_that() {
    let pace =
        Pace { backoff: Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(3) }, ..Pace::default() };
    let mut stage = Stage::new(pace, |_| (0..4).map(|_| act(Err("broken"))).chain([act(Ok(Step::Did(1)))]).collect());
    let mut calls = vec![];
    for _ in 0..5 {
        stage.wake.notify();
        calls.push(stage.next_call().await);
    }
    let gaps: Vec<u128> = calls.windows(2).map(|pair| (pair[1] - pair[0] + 5) / 10 * 10).collect();
    assert_eq!(gaps, [1000, 2000, 3000, 3000]);
    assert!(stage.metrics.encode().contains("fini_bridge_loop_errors_total{loop=\"script\"} 4"));
    stage.next_call().await;
    assert_eq!(stage.lifecycle.health().loops()[0].failures, 0);
    assert_eq!(stage.stop().await, Ended::Clean);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_counted_and_the_loop_goes_on() {
    let mut stage = Stage::new(Pace::default(), |_| vec![Box::new(|| panic!("a bug")), act(Ok(Step::Did(1)))]);
    for _ in 0..3 {
        stage.next_call().await;
    }
    assert!(stage.metrics.encode().contains("fini_bridge_panics_total{place=\"loop\"} 1"));
    assert_eq!(stage.stop().await, Ended::Clean);
}

#[tokio::test(start_paused = true)]
async fn nothing_sleeps_past_the_next_look_however_far_its_due_time() {
    // The wall clock may be set while the loop sleeps, so a distant time is not trusted.
    let mut stage = Stage::new(Pace::default(), |clock| {
        vec![act(Ok(Step::Idle { until: Some(clock.now().plus(Duration::from_hours(1))) }))]
    });
    assert_eq!(stage.next_call().await, 0);
    assert_eq!(stage.next_call().await, 30_000);
    assert_eq!(stage.stop().await, Ended::Clean);
}

/// A step that waits to be let go.
struct Slow {
    begun: mpsc::UnboundedSender<()>,
    let_go: CancellationToken,
}

impl Loop for Slow {
    type Error = String;

    async fn step(&self) -> Result<Step, String> {
        self.begun.send(()).expect("the test listens");
        self.let_go.cancelled().await;
        Ok(Step::Did(1))
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_the_step_under_way_and_begins_no_other() {
    let lifecycle = Lifecycle::new(Metrics::new(&[], "0"));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let let_go = CancellationToken::new();
    let clock = Arc::new(TestClock(Instant::now()));
    let slow = Slow { begun, let_go: let_go.clone() };
    let supervisor = lifecycle.supervisor(clock, Arc::new(FullJitter));
    supervisor.spawn("slow", slow, Wake::new(), Pace::default());
    begins.recv().await.expect("it began");
    let (stop, health) = (lifecycle.stop(), lifecycle.health());
    let ended = tokio::join!(lifecycle.run(Duration::from_secs(5), Silence), async {
        stop.request();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(health.loops()[0].state, LoopState::Running);
        let_go.cancel();
    });
    assert_eq!(ended.0, Ended::Clean);
    assert_eq!(health.loops()[0].state, LoopState::Stopped);
    assert!(begins.recv().await.is_none(), "another step was begun");
}
