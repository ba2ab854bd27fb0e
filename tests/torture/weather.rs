//! What goes wrong at the vendor while the bridge is being killed: faults by dice, changing every few seconds.

use std::time::Duration;

use anyhow::Result;
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, Sandbox};
use tokio::time::sleep;

use crate::world::World;

/// The longest that List lags behind.
pub const LONGEST_LAG_MS: u64 = 6_000;
/// The latest that a message arrives whose connection was reset.
pub const LATEST_ARRIVAL_MS: u64 = 2_500;

/// Changes the weather until the torture is over.
pub async fn blow(world: &World, mut dice: fastrand::Rng) -> Result<()> {
    while !world.is_over() {
        world.sandbox.clear_faults();
        for fault in &world.personality.faults {
            world.sandbox.add_fault(fault.clone())?;
        }
        let lag = if dice.u8(..100) < 30 { 0 } else { dice.u64(0..=LONGEST_LAG_MS) };
        world.sandbox.set(|settings| {
            settings.list_lag_ms = lag;
            settings.reply_latency_ms = dice.u64(5..400);
            settings.late_reply_ms = dice.u64(500..4_000);
        });
        match dice.u8(..100) {
            0..8 => outage(&world.sandbox, FaultKind::Unauthorised)?,
            8..14 => outage(&world.sandbox, FaultKind::RateLimited)?,
            14..20 => outage(&world.sandbox, FaultKind::ResetBefore)?,
            20..35 => {}
            _ => storm(&world.sandbox, &mut dice)?,
        }
        sleep(Duration::from_millis(dice.u64(700..5_000))).await;
    }
    calm(&world.sandbox);
    Ok(())
}

/// Everything works, within a second.
pub fn calm(sandbox: &Sandbox) {
    sandbox.clear_faults();
    sandbox.set(|settings| {
        settings.list_lag_ms = settings.list_lag_ms.min(1_000);
        settings.reply_latency_ms = 20;
        settings.late_reply_ms = 500;
    });
}

/// Every request fails in one way.
fn outage(sandbox: &Sandbox, kind: FaultKind) -> Result<()> {
    sandbox.add_fault(Fault::new(FaultRoute::Any, kind).probability(0.9))?;
    Ok(())
}

/// Many kinds at once, each now and then.
fn storm(sandbox: &Sandbox, dice: &mut fastrand::Rng) -> Result<()> {
    let strength = dice.f64() * 2.0;
    let generate = |kind, chance: f64, params: FaultParams| -> Result<()> {
        let chance = (chance * strength).min(1.0);
        sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, kind).probability(chance).with(params))?;
        Ok(())
    };
    let params = FaultParams::default;
    let some_reply = |dice: &mut fastrand::Rng| Some(dice.u8(..100) >= 5);
    generate(FaultKind::StoreThen500, 0.08, FaultParams { at_once: dice.bool(), reply: some_reply(dice), ..params() })?;
    let at_once = dice.bool();
    generate(FaultKind::StoreThenHang, 0.05, FaultParams { ms: Some(dice.u64(1_000..4_000)), at_once, ..params() })?;
    generate(FaultKind::StoreThenReset, 0.08, FaultParams { at_once: dice.bool(), ..params() })?;
    generate(FaultKind::ResetBefore, 0.05, params())?;
    let late = dice.u64(100..LATEST_ARRIVAL_MS);
    generate(FaultKind::ResetThenStore, 0.06, FaultParams { ms: Some(late), ..params() })?;
    generate(FaultKind::HangBefore, 0.02, FaultParams { ms: Some(dice.u64(500..3_000)), ..params() })?;
    generate(FaultKind::TruncatedJson, 0.04, FaultParams { cut: dice.bool(), ..params() })?;
    generate(FaultKind::Garbage, 0.03, params())?;
    generate(FaultKind::Drip, 0.03, FaultParams { interval_ms: Some(dice.u64(1..15)), ..params() })?;
    generate(FaultKind::Status, 0.05, FaultParams { status: Some(502), html: true, ..params() })?;
    generate(FaultKind::Status, 0.03, FaultParams { status: Some(500), ..params() })?;
    generate(FaultKind::EventsOnlyUser, 0.06, FaultParams { ms: Some(dice.u64(200..4_000)), ..params() })?;
    generate(FaultKind::EmptyArray, 0.03, params())?;
    generate(FaultKind::RateLimited, 0.01, params())?;
    for route in [FaultRoute::List, FaultRoute::Get] {
        let read = |kind, chance: f64, params: FaultParams| -> Result<()> {
            sandbox.add_fault(Fault::new(route, kind).probability((chance * strength).min(1.0)).with(params))?;
            Ok(())
        };
        read(FaultKind::Status, 0.05, FaultParams { status: Some(502), html: true, ..params() })?;
        read(FaultKind::ResetBefore, 0.04, params())?;
        read(FaultKind::TruncatedJson, 0.03, FaultParams { cut: dice.bool(), ..params() })?;
        read(FaultKind::Garbage, 0.03, params())?;
        read(FaultKind::Delay, 0.05, FaultParams { ms: Some(dice.u64(100..2_500)), ..params() })?;
        read(FaultKind::Drip, 0.01, FaultParams { interval_ms: Some(1), ..params() })?;
    }
    Ok(())
}
