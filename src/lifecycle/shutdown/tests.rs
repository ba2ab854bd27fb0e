use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// Signals a test sends.
impl Signals for mpsc::UnboundedReceiver<&'static str> {
    async fn next(&mut self) -> &'static str {
        match self.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

fn lifecycle() -> Lifecycle {
    Lifecycle::new(Metrics::new(&[], "0"))
}

const GRACE: Duration = Duration::from_secs(25);

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_finished_within_the_grace() {
    let lifecycle = lifecycle();
    let (signals, received) = mpsc::unbounded_channel();
    let work = lifecycle.tasks().spawn("work", async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        7
    });
    signals.send("SIGTERM").unwrap();
    let start = Instant::now();
    assert_eq!(lifecycle.run(GRACE, received).await, Ended::Clean);
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(work.await.unwrap(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_grace_is_dropped() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let lifecycle = lifecycle();
    let dropped = Arc::new(AtomicBool::new(false));
    let held = Dropped(dropped.clone());
    let work = lifecycle.tasks().spawn("stuck", async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    lifecycle.stop().request();
    let (_signals, received) = mpsc::unbounded_channel();
    let start = Instant::now();
    assert_eq!(lifecycle.run(GRACE, received).await, Ended::Cut(1));
    assert_eq!(start.elapsed().as_secs(), GRACE.as_secs());
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(work.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_grace() {
    let lifecycle = lifecycle();
    let _work = lifecycle.tasks().spawn("stuck", std::future::pending::<()>());
    let (signals, received) = mpsc::unbounded_channel();
    signals.send("SIGINT").unwrap();
    signals.send("SIGINT").unwrap();
    let start = Instant::now();
    assert_eq!(lifecycle.run(GRACE, received).await, Ended::Cut(1));
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_tasks_see_everything_else_end_first() {
    let lifecycle = lifecycle();
    let (stop, tasks) = (lifecycle.stop(), lifecycle.tasks());
    let seen = Arc::new(AtomicBool::new(false));
    let _work = tasks.spawn("work", tokio::time::sleep(Duration::from_secs(3)));
    let _admin = lifecycle.last_tasks().spawn("admin", {
        let (seen, hard) = (seen.clone(), stop.hard().clone());
        async move {
            hard.cancelled().await;
            seen.store(tasks.running() == 0, Ordering::SeqCst);
        }
    });
    stop.request();
    let (_signals, received) = mpsc::unbounded_channel();
    assert_eq!(lifecycle.run(GRACE, received).await, Ended::Clean);
    assert!(seen.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_panicking_task_is_contained_and_counted() {
    let metrics = Metrics::new(&[], "0");
    let lifecycle = Lifecycle::new(metrics.clone());
    let work = lifecycle.tasks().spawn("faulty", async { panic!("a bug") });
    assert_eq!(work.await.unwrap(), None::<()>);
    assert!(metrics.encode().contains("fini_bridge_panics_total{place=\"task\"} 1"));
}

#[tokio::test]
async fn sigterm_is_taken_over() {
    let mut signals = OsSignals::listen().unwrap();
    let me = std::process::id().to_string();
    let sent = tokio::process::Command::new("kill").args(["-TERM", &me]).status().await.unwrap();
    assert!(sent.success());
    assert_eq!(signals.next().await, "SIGTERM");
}
