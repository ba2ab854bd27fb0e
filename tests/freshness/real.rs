//! The service in real time: what it shows against what the simulation says, and its memory.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    figures::quantile,
    service::{ESCALATED, Service, millis, now},
    simulation::{self, Scene},
};

const CONVERSATIONS: u32 = 1_000;
/// Fini's documented limit.
const LIMIT: u32 = 100;
/// Real figures lie within this part of the simulated ones.
const WITHIN: f64 = 0.2;
/// What is found in the beginning says little: the budget's window is empty.
const WARM_UP: i64 = 70_000;

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Runs the service for so long, after a warm-up; whether everything held.
pub fn run(seconds: u64) -> anyhow::Result<bool> {
    runtime()?.block_on(async {
        let scene = Scene { conversations: CONVERSATIONS as usize, ..Scene::default() };
        let service = Service::start(CONVERSATIONS, LIMIT).await?;
        let begin = now() + WARM_UP;
        let end = Instant::now() + Duration::from_millis(WARM_UP.unsigned_abs()) + Duration::from_secs(seconds);
        let mut random = fastrand::Rng::with_seed(7);
        let mut gap = |per_second: f64| Duration::from_secs_f64(-(1.0 - random.f64()).ln() / per_second);
        let mut random = fastrand::Rng::with_seed(8);
        let rates = [scene.agent_messages_per_second, scene.status_changes_per_second, scene.sends_per_minute / 60.0];
        let mut next = rates.map(|rate| Instant::now() + gap(rate));
        let mut posted: HashMap<String, i64> = HashMap::new();
        let mut changed: HashMap<String, i64> = HashMap::new();
        loop {
            let (which, at) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at).expect("three streams");
            if at >= end {
                break;
            }
            tokio::time::sleep_until(at).await;
            next[which] = at + gap(rates[which]);
            let number = random.usize(..service.interactions.len());
            match which {
                0 => drop(service.sandbox.agent_message(&service.interactions[number], "We are looking into it.")?),
                1 => {
                    let number = number / 10 * 10;
                    let (id, label) = (&service.interactions[number], format!("Handled {}", changed.len()));
                    service.sandbox.set_status(id, Some(&label))?;
                    changed.insert(label, now());
                }
                _ => {
                    let is_new = random.f64() < scene.new_conversations;
                    let text = format!("question {}", posted.len());
                    let id = if is_new { format!("n-{}", posted.len()) } else { format!("c-{number}") };
                    posted.insert(text.clone(), now());
                    service.post(&id, &text).await?;
                }
            }
        }
        // What came last is given the time it may take.
        sleep(Duration::from_secs(65)).await;
        let round_trip = round_trip(&service).await?;
        let audit = service.sandbox.audit(0, true);
        let heard = service.heard.lock().expect("nobody panics with it").clone();
        let messages: Vec<f64> = heard.iter().filter_map(|(recorded, event)| agent_delay(*recorded, event, begin)).collect();
        let statuses: Vec<f64> = heard
            .iter()
            .filter(|(_, event)| event["type"] == "conversation.status_changed")
            .filter_map(|(recorded, event)| Some((recorded, changed.get(event["data"]["status_text"].as_str()?)?)))
            .filter(|(_, at)| **at >= begin)
            .map(|(recorded, at)| (recorded - at) as f64 / 1000.0)
            .collect();
        let sent = audit.inbound.values().flatten();
        let waits: Vec<f64> = sent
            .filter_map(|inbound| Some((inbound.at - posted.get(&inbound.content)?) as f64 / 1000.0))
            .collect();

        let simulated = simulation::run(Scene { round_trip, minutes: 120, ..scene });
        println!("{CONVERSATIONS} conversations ({ESCALATED:?}: every tenth), {} messages/s, {} sends/min, {seconds} s; one List {round_trip} ms",
            scene.agent_messages_per_second, scene.sends_per_minute);
        let mut held = true;
        for (name, real, virtually, tight) in [
            ("messages found", &messages, &simulated.messages, true),
            ("status-only changes found", &statuses, &simulated.statuses, false),
            ("sends waited", &waits, &simulated.send_waits, false),
        ] {
            for part in [0.5, 0.99] {
                let (real_value, virtual_value) = (quantile(real, part), quantile(virtually, part));
                println!("  {name:<26} p{:<2} real {real_value:>7.3} s   simulated {virtual_value:>7.3} s   ({} real)", part * 100.0, real.len());
                held &= !tight || (real_value / virtual_value - 1.0).abs() <= WITHIN;
            }
        }
        println!("  most requests in any 60 s: {}; 429: {}; memory {:?} kB", audit.max_in_window, audit.throttled, service.memory()?);
        println!("  {}", service.operators("/admin/v1/budget").await?);
        Ok(held && audit.max_in_window <= LIMIT as usize && audit.throttled == 0)
    })
}

fn agent_delay(recorded: i64, event: &Value, begin: i64) -> Option<f64> {
    let message = &event["data"]["message"];
    let created = millis(message["created_at"].as_str()?)?;
    (message["author"] == "agent" && created >= begin).then(|| (recorded - created) as f64 / 1000.0)
}

/// How long one page of List takes, in milliseconds.
async fn round_trip(service: &Service) -> anyhow::Result<i64> {
    let url = format!("http://{}/v2/hc-interactions/public?limit=100", service.vendor);
    let started = Instant::now();
    let answer = service.http.get(url).bearer_auth(fini_bridge::sandbox::DEFAULT_API_KEY).send().await?;
    answer.bytes().await?;
    Ok(i64::try_from(started.elapsed().as_millis())?)
}

/// Watches 100,000 conversations and tells the memory of the process; whether it stays within 100 MiB.
pub fn memory() -> anyhow::Result<bool> {
    const MANY: u32 = 100_000;
    /// With this limit a full pass takes two minutes instead of more than an hour: all that can fill up does.
    const FAST: u32 = 6_000;
    const MOST: u64 = 100 * 1024;
    runtime()?.block_on(async {
        let service = Service::start(MANY, FAST).await?;
        println!("at the start: {:?} kB (now, most)", service.memory()?);
        let mut most = 0;
        for _ in 0..24 {
            sleep(Duration::from_secs(10)).await;
            let lists = service.sandbox.audit(0, false).count(fini_bridge::sandbox::Route::List, 200);
            let (resident, peak) = service.memory()?;
            println!("after {lists} pages: {resident} kB, most {peak} kB");
            most = peak;
            if lists > 2_200 {
                break;
            }
        }
        Ok(most <= MOST)
    })
}
