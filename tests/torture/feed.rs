//! Reading the feed as a frontend would: all events of every conversation that was written to.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::world::World;

/// One conversation as the bridge shows it.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    pub state: String,
    pub events: Vec<Value>,
}

impl Feed {
    /// Its events of a type.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == kind)
    }
}

/// Every feed.
pub async fn read(world: &World) -> Result<BTreeMap<String, Feed>> {
    let conversations: Vec<String> = world.book.open().talks.keys().cloned().collect();
    let mut feeds = BTreeMap::new();
    for conversation in conversations {
        let feed = one(world, &conversation).await.with_context(|| format!("the feed of {conversation}"))?;
        feeds.insert(conversation, feed);
    }
    Ok(feeds)
}

async fn one(world: &World, conversation: &str) -> Result<Feed> {
    let get = async |path: String| -> Result<Value> {
        let answer = world.http.get(world.url(&path)).bearer_auth(&world.token).send().await?;
        ensure!(answer.status().is_success(), "{path} answered {}", answer.status());
        Ok(answer.json().await?)
    };
    let standing = get(format!("/v1/conversations/{conversation}")).await?;
    let mut feed = Feed { state: standing["state"].as_str().unwrap_or_default().to_owned(), events: Vec::new() };
    loop {
        let after = feed.events.last().map_or(0, |event| event["sequence"].as_i64().unwrap_or_default());
        let page = get(format!("/v1/conversations/{conversation}/events?after={after}&limit=500")).await?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        let is_last = events.is_empty() || page["has_more"] != Value::Bool(true);
        feed.events.extend(events);
        if is_last {
            return Ok(feed);
        }
    }
}
