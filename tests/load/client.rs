//! A client that costs next to nothing: one prepared request per write, one read per answer, no parsing beyond the status.
//!
//! It shares the machine with the bridge, so whatever it burns is missing there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::histogram::Histogram;

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// The listener.
    pub address: SocketAddr,
    /// The bearer token.
    pub token: String,
}

impl Target {
    /// Writes `POST /v1/messages`.
    pub fn message(&self, conversation: &str, message: &str, text: &str, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let body = format!(
            r#"{{"conversation_id":"{conversation}","message_id":"{message}","text":"{text}","user":{{"id":"u-9","attributes":{{"plan":"Pro"}}}}}}"#
        );
        let written = write!(
            out,
            "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        written.expect("writing to memory does not fail");
    }
}

/// One kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and waits for the whole answer; gives its status. The body stays until the next call.
    pub async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            let Some(head) = find(&self.buffer, b"\r\n\r\n") else { continue };
            let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
            let length = content_length(&self.buffer[..head]).unwrap_or(0);
            while self.buffer.len() < head + 4 + length {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            }
            return Ok(status);
        }
    }

    /// The last answer's body.
    pub fn body(&self) -> &[u8] {
        find(&self.buffer, b"\r\n\r\n").map_or(&[], |head| &self.buffer[head + 4..])
    }
}

/// One request on a connection of its own; gives status and body.
pub async fn once(address: SocketAddr, method: &str, path: &str) -> Result<(u16, String)> {
    let mut connection = Connection::open(address).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: bridge\r\ncontent-length: 0\r\n\r\n");
    let status = connection.ask(request.as_bytes()).await?;
    Ok((status, String::from_utf8_lossy(connection.body()).into_owned()))
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// What a head announces as the length of its body.
pub fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    length.last()?.parse().ok()
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Run {
    /// How long each answer took.
    pub times: Histogram,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Answers other than 2xx.
    pub refused: u64,
}

impl Run {
    /// All answers.
    pub fn answers(&self) -> usize {
        self.times.len()
    }

    /// Per second.
    #[expect(clippy::cast_precision_loss, reason = "a count to be divided")]
    pub fn rate(&self) -> f64 {
        self.answers() as f64 / self.took.as_secs_f64()
    }
}

/// Asks over `connections` at once, each as fast as answers come, for `long`. `write` writes the n-th request of all.
pub async fn flat_out(
    target: &Target,
    connections: usize,
    long: Duration,
    write: impl Fn(u64, &mut Vec<u8>) + Clone + Send + Sync + 'static,
) -> Result<Run> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(target.address).await?);
    }
    let started = Instant::now();
    for mut connection in open {
        let (next, write) = (Arc::clone(&next), write.clone());
        workers.spawn(async move {
            let mut run = Run::default();
            let mut request = Vec::new();
            while started.elapsed() < long {
                request.clear();
                write(next.fetch_add(1, Ordering::Relaxed), &mut request);
                let asked = Instant::now();
                let status = connection.ask(&request).await?;
                run.times.add(asked.elapsed());
                run.refused += u64::from(!(200..300).contains(&status));
            }
            anyhow::Ok(run)
        });
    }
    let mut all = Run::default();
    while let Some(run) = workers.join_next().await {
        let run = run??;
        all.times.merge(run.times);
        all.refused += run.refused;
    }
    all.took = started.elapsed();
    Ok(all)
}

/// Sends `count` requests at `rate` per second on average, at random times that do not wait for answers (a Poisson process),
/// as customers who know nothing of each other do. `accepted` hears the number of each as it is answered.
pub async fn paced(
    target: &Target,
    rate: f64,
    count: u64,
    write: impl Fn(u64, &mut Vec<u8>),
    accepted: impl Fn(u64) + Clone + Send + 'static,
) -> Result<Run> {
    let (give, take) = async_pool(target, 64).await?;
    let mut dice = fastrand::Rng::with_seed(20_261_121);
    let mut workers = JoinSet::new();
    let started = Instant::now();
    let mut due = started;
    for number in 0..count {
        due += Duration::from_secs_f64(-(1.0 - dice.f64()).ln() / rate);
        tokio::time::sleep_until(due.into()).await;
        let mut request = Vec::new();
        write(number, &mut request);
        let Ok(mut connection) = take.lock().await.try_recv() else {
            bail!("64 requests are under way: too slow to be paced")
        };
        let (give, accepted) = (give.clone(), accepted.clone());
        workers.spawn(async move {
            let status = connection.ask(&request).await?;
            accepted(number);
            give.send(connection).ok();
            anyhow::Ok((due.elapsed(), status))
        });
    }
    let mut run = Run::default();
    while let Some(answer) = workers.join_next().await {
        let (took, status) = answer??;
        run.times.add(took);
        run.refused += u64::from(!(200..300).contains(&status));
    }
    run.took = started.elapsed();
    Ok(run)
}

type Pool = (
    tokio::sync::mpsc::UnboundedSender<Connection>,
    Arc<tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Connection>>>,
);

async fn async_pool(target: &Target, size: usize) -> Result<Pool> {
    let (give, take) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..size {
        give.send(Connection::open(target.address).await?).context("a fresh channel is open")?;
    }
    Ok((give, Arc::new(tokio::sync::Mutex::new(take))))
}
