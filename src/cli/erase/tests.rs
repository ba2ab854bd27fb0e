//! Erasing at the simulated vendor.

use std::time::Duration;

use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{
    export::OwnLog,
    fini::{ClientSettings, FiniClient, Network},
    sandbox::{DEFAULT_API_KEY, Fault, FaultKind, FaultRoute, Sandbox, SandboxConfig, Seed, serve},
};

/// Erases every conversation of a sandbox, and one that is unknown to it.
async fn erase_all(conversations: u32, adapt: impl FnOnce(&Sandbox)) -> (Sandbox, Vec<Fate>) {
    let mut config = SandboxConfig::instant();
    config.settings.rate_limit = None;
    let sandbox = Sandbox::new(config);
    sandbox.seed(&Seed { conversations, ..Seed::default() }).expect("seeded");
    adapt(&sandbox);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut server = JoinSet::new();
    let twin = sandbox.clone();
    server.spawn(async move {
        serve(listener, twin, std::future::pending()).await.expect("serves for ever");
    });
    let key = SecretString::from(DEFAULT_API_KEY);
    let settings = ClientSettings {
        base_url: format!("http://{address}").parse().expect("a URL"),
        read_key: key.clone(),
        write_key: key,
        reply_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        network: Network::default(),
    };
    let client = FiniClient::new(settings, Box::new(|_| ())).expect("a client");
    let permits = OwnLog::new(10_000, Duration::from_secs(1));
    let short = Duration::from_millis(1);
    let patience = Patience { first: short, throttled: short, total: Duration::from_millis(50), ..Patience::default() };
    let patient = Patient::new(&client, &permits, &Quiet, &SystemEntropy, patience);
    let mut ids: Vec<InteractionId> =
        sandbox.conversations(usize::MAX).iter().map(|it| InteractionId::trusted(it.id.to_string())).collect();
    ids.push(InteractionId::trusted("00000000-0000-4000-8000-000000000000"));
    let eraser = Eraser { api: &client, patient: &patient, erased: ids.iter().cloned().collect() };
    let fates = eraser.erase(&ids).await.expect("erased").into_iter().map(|(_, fate)| fate).collect();
    (sandbox, fates)
}

#[tokio::test]
async fn a_batch_is_gone_and_an_unknown_id_in_it_was_not_found() {
    let (sandbox, fates) = erase_all(49, |_| ()).await;
    assert_eq!(fates, [vec![Fate::Gone; 49], vec![Fate::NotFound]].concat());
    assert_eq!(sandbox.conversation_count(), 0);
}

#[tokio::test]
async fn what_a_failed_batch_left_is_erased_one_by_one() {
    let (sandbox, fates) = erase_all(5, |sandbox| {
        sandbox.add_fault(Fault::new(FaultRoute::Delete, FaultKind::Status).times(3)).expect("set");
    })
    .await;
    assert_eq!(fates, [vec![Fate::Gone; 5], vec![Fate::NotFound]].concat());
    assert_eq!(sandbox.conversation_count(), 0);
}

#[tokio::test]
async fn success_that_deleted_nothing_is_found_out() {
    let (_, fates) = erase_all(3, |sandbox| sandbox.set(|settings| settings.delete_works = false)).await;
    assert_eq!(fates, [Fate::Stands, Fate::Stands, Fate::Stands, Fate::NotFound]);
}

#[tokio::test]
async fn one_failed_read_is_no_proof() {
    let (_, fates) = erase_all(1, |sandbox| {
        sandbox.set(|settings| settings.delete_works = false);
        sandbox.add_fault(Fault::new(FaultRoute::Get, FaultKind::Status)).expect("set");
    })
    .await;
    assert_eq!(fates, [Fate::Stands, Fate::NotFound]);
}

#[tokio::test]
async fn a_fini_that_fails_proves_nothing() {
    for route in [FaultRoute::Any, FaultRoute::Get, FaultRoute::List] {
        let (_, fates) = erase_all(3, |sandbox| {
            sandbox.add_fault(Fault::new(route, FaultKind::Status).times(100_000)).expect("set");
        })
        .await;
        let is_known = |fate: &Fate| matches!(fate, Fate::Gone | Fate::NotFound);
        assert!(!fates.iter().any(is_known), "{route:?}: {fates:?}");
    }
}

#[tokio::test]
async fn a_list_that_lags_is_read_again() {
    let (sandbox, fates) = erase_all(2, |sandbox| sandbox.set(|settings| settings.list_lag_ms = 2)).await;
    assert_eq!(fates, [Fate::Gone, Fate::Gone, Fate::NotFound]);
    assert_eq!(sandbox.conversation_count(), 0);
}
