//! Customers (and a desk at the vendor) who write at the same time, repeat what was not acknowledged, and repeat some of
//! what was: as a real frontend does, with the same ids.

use std::time::Duration;

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{book::Posted, world::World};

/// Accepted messages whose end nobody was told yet, beyond which nothing more is written.
const MOST_WAITING: usize = 240;

/// One customer after the other, until it is over.
pub async fn customers(world: &World, slot: usize, mut dice: fastrand::Rng) -> Result<()> {
    let mut talk = 0;
    while !world.is_over() {
        talk += 1;
        let conversation = format!("t{slot}-{talk}");
        let messages = dice.u32(2..12);
        for number in 1..=messages {
            if world.is_over() {
                break;
            }
            // A frontend that sees how much is waiting lets its customers wait: a slow machine is not buried.
            while world.waiting() > MOST_WAITING && !world.is_over() {
                sleep(Duration::from_millis(100)).await;
            }
            let text = text(&conversation, number, &mut dice);
            let role = if dice.u8(..100) < 4 { "agent" } else { "user" };
            let message = Posted { id: format!("m{number}"), text, role, accepted: false };
            world.book.writes(&conversation, message.clone());
            post(world, &conversation, &message, &mut dice).await;
            if dice.u8(..100) < 10 {
                repeat(world, &conversation, &message).await;
            }
            if dice.u8(..100) < 70 {
                sleep(Duration::from_millis(dice.u64(0..2_500))).await;
            }
        }
    }
    Ok(())
}

/// What customers write: many equal short words, some that make the bot behave in special ways, the rest unique.
fn text(conversation: &str, number: u32, dice: &mut fastrand::Rng) -> String {
    match dice.u8(..100) {
        0..25 => "ok".to_owned(),
        25..35 => "Where is my order?".to_owned(),
        35..38 => "no reply please".to_owned(),
        38..42 => "please answer later 1".to_owned(),
        42..45 => "take a note".to_owned(),
        45..47 => "debounce this".to_owned(),
        47..49 => "say it twice".to_owned(),
        49..51 => "something odd".to_owned(),
        51..53 => "show me the form".to_owned(),
        53 => "go on silently".to_owned(),
        54 => "a human please".to_owned(),
        55 if dice.u8(..100) < 25 => "this will fail".to_owned(),
        _ => format!("{conversation} number {number}: {}", dice.u32(..)),
    }
}

fn body(conversation: &str, message: &Posted) -> Value {
    json!({
        "conversation_id": conversation,
        "message_id": message.id,
        "text": message.text,
        "role": message.role,
        // What the vendor stores with each message, and so the way to tell equal texts apart in the audit.
        "user": {"id": conversation, "attributes": {"torture_conversation": conversation, "torture_message": message.id}},
    })
}

/// Posts until it is accepted, however long that takes.
pub async fn post(world: &World, conversation: &str, message: &Posted, dice: &mut fastrand::Rng) {
    loop {
        let sent = world.http.post(world.url("/v1/messages")).bearer_auth(&world.token);
        let sent = if dice.u8(..100) < 10 { sent.header("prefer", "wait=2") } else { sent };
        match sent.json(&body(conversation, message)).send().await {
            Ok(answer) if matches!(answer.status(), StatusCode::ACCEPTED | StatusCode::OK) => {
                world.book.accepted(conversation, &message.id);
                world.book.count("accepted");
                return;
            }
            Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.status().is_server_error() => {
                world.book.count(format!("post answered {}", answer.status().as_u16()));
            }
            Ok(answer) => {
                let status = answer.status();
                let words = answer.text().await.unwrap_or_default();
                world.book.violation(format!("{conversation}/{}: POST answered {status}: {words}", message.id));
                return;
            }
            Err(_) => world.book.count("posts without an answer"),
        }
        sleep(Duration::from_millis(dice.u64(20..400))).await;
    }
}

/// Posts once more what was accepted.
async fn repeat(world: &World, conversation: &str, message: &Posted) {
    let sent = world.http.post(world.url("/v1/messages")).bearer_auth(&world.token);
    let Ok(answer) = sent.json(&body(conversation, message)).send().await else { return };
    let status = answer.status();
    let Ok(told) = answer.json::<Value>().await else { return };
    if status == StatusCode::ACCEPTED && told["duplicate"] == json!(true) {
        world.book.count("repeats recognised");
    } else if !status.is_server_error() {
        world.book.violation(format!("{conversation}/{}: a repeat was answered {status} {told}", message.id));
    }
}

/// People at the vendor's desk write to customers, and notes that are not for them.
pub async fn desk(world: &World, mut dice: fastrand::Rng) -> Result<()> {
    let mut number = 0;
    while !world.is_over() {
        sleep(Duration::from_millis(dice.u64(200..1_500))).await;
        let stored = world.sandbox.audit(0, true).inbound;
        let Some(at) = dice.usize(..stored.len().max(1)).checked_rem(stored.len().max(1)) else { continue };
        let Some((interaction, messages)) = stored.iter().nth(at) else { continue };
        let Some(conversation) =
            messages.first().and_then(|first| first.user_attributes["torture_conversation"].as_str())
        else {
            continue;
        };
        number += 1;
        if dice.u8(..100) < 25 {
            world.sandbox.note(interaction, &format!("secret note {number}"))?;
            continue;
        }
        let text = format!("agent line {number}");
        world.sandbox.agent_message(interaction, &text)?;
        world.book.open().desk.entry(conversation.to_owned()).or_default().push(text);
    }
    Ok(())
}
