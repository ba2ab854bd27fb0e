//! Server-sent events, read as the HTML standard says (section "Interpreting an event stream").

use serde_json::Value;

use super::Call;

/// One dispatched event.
#[derive(Clone, Debug)]
pub struct Sse {
    /// `id:`
    pub id: String,
    /// `event:`
    pub event: String,
    /// `data:`, as JSON.
    pub data: Value,
    /// `data:`, as it came.
    pub raw: String,
}

/// An open stream.
pub struct Stream {
    /// The response head's content type.
    pub content_type: String,
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// Comment lines so far.
    pub comments: usize,
}

impl Stream {
    /// Opens it; the request must be answered 200.
    pub async fn open(call: Call) -> Self {
        let response = call.header("accept", "text/event-stream").response().await.expect("the bridge answers");
        assert_eq!(response.status().as_u16(), 200);
        let content_type =
            response.headers().get("content-type").map_or("", |value| value.to_str().unwrap_or_default()).to_owned();
        Self { content_type, response, buffer: Vec::new(), comments: 0 }
    }

    /// The next event of the feed; `None` when the stream ends.
    pub async fn next(&mut self) -> Option<Sse> {
        loop {
            let event = self.next_or_hint().await?;
            if !event.id.is_empty() {
                return Some(event);
            }
        }
    }

    /// The next event or hint, which has no id; `None` when the stream ends.
    pub async fn next_or_hint(&mut self) -> Option<Sse> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|window| window == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = self.parse(&String::from_utf8(block).expect("event streams are UTF-8")) {
                    return Some(event);
                }
            }
            let waited = tokio::time::timeout(super::DEADLINE, self.response.chunk()).await;
            let chunk = waited.expect("the stream says something in time").ok()??;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Sse> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }

    fn parse(&mut self, block: &str) -> Option<Sse> {
        let (mut id, mut event, mut data) = (String::new(), String::new(), Vec::new());
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some(("", _)) => self.comments += 1,
                Some(("id", value)) => value.trim_start().clone_into(&mut id),
                Some(("event", value)) => value.trim_start().clone_into(&mut event),
                Some(("data", value)) => data.push(value.strip_prefix(' ').unwrap_or(value).to_owned()),
                Some(("retry", _)) => {}
                other => panic!("{other:?} is no field of an event stream: {line:?}"),
            }
        }
        let raw = data.join("\n");
        (!raw.is_empty()).then(|| Sse { id, event, data: serde_json::from_str(&raw).expect("data is JSON"), raw })
    }
}
