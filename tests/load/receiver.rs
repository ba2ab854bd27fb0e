//! The frontends' side: takes callbacks, and keeps the audit that every delivery figure has to pass.
//!
//! Runs on a thread of its own. It answers each callback at once, or fails as told, and holds on to what came: which
//! numbers of which conversation, whether one came twice after it was acknowledged or before its predecessor, and how old
//! it was.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    client::{content_length, find},
    histogram::Histogram,
};

/// How callbacks to a path are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// 204 at once.
    #[default]
    Well,
    /// 500 where the conversation's id ends in the digit 7, one in ten; else 204.
    OneInTenFails,
    /// 500 always.
    Fails,
    /// 204 after two seconds.
    Slow,
}

/// What came in.
#[derive(Debug, Default)]
pub struct Audit {
    /// Per frontend: from the event's timestamp to its arrival here, acknowledged ones only.
    pub ages: HashMap<String, Histogram>,
    /// Acknowledged callbacks, repeats included.
    pub acknowledged: u64,
    /// Attempts that were answered 500.
    pub failed: u64,
    /// Acknowledged before, and come again.
    pub duplicates: u64,
    /// Came when a later one of the conversation had been acknowledged.
    pub disordered: u64,
    /// When the message came that an event answers, by message id.
    pub answered: HashMap<String, Instant>,
    /// First and last acknowledged arrival.
    pub span: Option<(Instant, Instant)>,
    newest: HashMap<String, i64>,
    moods: HashMap<String, Mood>,
}

impl Audit {
    fn take(&mut self, path: &str, body: &[u8]) -> (u16, Duration) {
        let (text, at) = (std::str::from_utf8(body).unwrap_or_default(), Instant::now());
        let Some(conversation) = text_after(text, "\"conversation_id\":\"") else { return (204, Duration::ZERO) };
        let mood = self.moods.get(path).copied().unwrap_or_default();
        if mood == Mood::Fails || (mood == Mood::OneInTenFails && conversation.ends_with('7')) {
            self.failed += 1;
            return (500, Duration::ZERO);
        }
        let sequence: i64 = number_after(text, "\"sequence\":").unwrap_or(0);
        let newest = self.newest.entry(format!("{path} {conversation}")).or_default();
        self.duplicates += u64::from(sequence == *newest);
        self.disordered += u64::from(sequence < *newest);
        *newest = sequence.max(*newest);
        self.acknowledged += 1;
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        if let Some(recorded) =
            text_after(text, "\"timestamp\":\"").and_then(|text| text.parse::<jiff::Timestamp>().ok())
        {
            let recorded = Duration::from_millis(u64::try_from(recorded.as_millisecond()).unwrap_or(0));
            self.ages.entry(path.to_owned()).or_default().add(wall().saturating_sub(recorded));
        }
        if let Some(message) = text_after(text, "\"in_reply_to\":\"") {
            self.answered.entry(message.to_owned()).or_insert(at);
        }
        (204, if mood == Mood::Slow { Duration::from_secs(2) } else { Duration::ZERO })
    }
}

#[expect(clippy::disallowed_methods, reason = "compared with the bridge's timestamps, which are wall time")]
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn text_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(key)? + key.len()..];
    rest.split('"').next()
}

fn number_after(text: &str, key: &str) -> Option<i64> {
    let rest = &text[text.find(key)? + key.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// The listening end.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    audit: Arc<Mutex<Audit>>,
}

impl Receiver {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let this = Self { address: listener.local_addr()?, audit: Arc::default() };
        let audit = Arc::clone(&this.audit);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((stream, _)) = listener.accept().await {
                    #[expect(clippy::disallowed_methods, reason = "no lifecycle here: it ends with the tool")]
                    drop(tokio::spawn(serve(stream, Arc::clone(&audit))));
                }
            });
        })?;
        Ok(this)
    }

    /// What came so far.
    pub fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, moods included.
    pub fn reset(&self) {
        *self.audit() = Audit::default();
    }

    /// How the path of a frontend is answered from now on.
    pub fn mood(&self, frontend: &str, mood: Mood) {
        self.audit().moods.insert(format!("/{frontend}"), mood);
    }

    /// Waits until so many callbacks were acknowledged, or `patience` is over; gives how many were.
    pub async fn acknowledged(&self, wanted: u64, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        loop {
            let now = self.audit().acknowledged;
            if now >= wanted || Instant::now() > deadline {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, audit: Arc<Mutex<Audit>>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let Some(head) = find(&buffer, b"\r\n\r\n") else {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
            continue;
        };
        let end = head + 4 + content_length(&buffer[..head]).unwrap_or(0);
        while buffer.len() < end {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        let path = std::str::from_utf8(&buffer[..head]).unwrap_or_default().split(' ').nth(1).unwrap_or_default();
        let (status, pause) = audit.lock().unwrap_or_else(PoisonError::into_inner).take(path, &buffer[head + 4..end]);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let answer: &[u8] = match status {
            204 => b"HTTP/1.1 204 No Content\r\n\r\n",
            _ => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
        buffer.drain(..end);
    }
}
