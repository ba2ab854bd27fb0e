//! Many open event streams: what each costs, and how soon an event is on its stream.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    Bench,
    bridge::{self, Setup},
    client::{self, Target, find},
    histogram::Histogram,
    say,
    seed::{self, Backlog},
};

const STREAMS: usize = 2_000;
const PER_SECOND: u64 = 200;

/// 2,000 streams, each of a conversation of its own, and 200 events a second on them.
pub async fn streams(bench: &Bench) -> Result<()> {
    let setup = Setup { sends: false, ..bench.setup(bridge::folder(&bench.folder, "streams")?) };
    seed::fill(&setup.database(), &Backlog { frontends: setup.frontends.clone(), lanes: STREAMS, each: 1 }).await?;
    bench.receiver.reset();
    let bridge = setup.start().await?;
    bench.receiver.acknowledged(u64::try_from(STREAMS)?, Duration::from_secs(30)).await;
    let target = bridge.target(0);
    let before = bridge.resident();
    let (seen, mut shown) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for number in 0..STREAMS {
        let stream = open(&target, number).await.with_context(|| format!("opening stream {number}"))?;
        let seen = seen.clone();
        readers.spawn(read(stream, seen));
    }
    drop(seen);
    let open = bridge.resident();

    let count = PER_SECOND * bench.long(15).as_secs();
    let sent = Arc::new(Mutex::new(vec![None; usize::try_from(count)?]));
    let (note, cpu) = (Arc::clone(&sent), bridge.cpu());
    let write = |n: u64, out: &mut Vec<u8>| {
        // A stride that is prime to the number of streams: all have their turn.
        let conversation = n.wrapping_mul(7_919) % STREAMS as u64;
        target.message(&format!("seeded-{conversation}"), &format!("s-{n}"), "Is anybody there?", out);
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        note.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(Instant::now());
    };
    #[expect(clippy::cast_precision_loss, reason = "a small rate")]
    let posting = client::paced(&target, PER_SECOND as f64, count, write, |_| ());
    let collecting = async {
        let (mut times, mut came) = (Histogram::default(), 0);
        let end = tokio::time::sleep(bench.long(15) + Duration::from_secs(20));
        tokio::pin!(end);
        while came < count {
            let (number, at): (usize, Instant) = tokio::select! {
                Some(shown) = shown.recv() => shown,
                () = &mut end => break,
            };
            if let Some(Some(sent)) = sent.lock().unwrap_or_else(PoisonError::into_inner).get(number) {
                times.add(at.saturating_duration_since(*sent));
                came += 1;
            }
        }
        (times, came)
    };
    let (posted, (times, came)) = tokio::join!(posting, collecting);
    let (used, after) = (bridge.cpu() - cpu, bridge.resident());
    #[expect(clippy::cast_precision_loss, reason = "counts to be divided")]
    let each = |grown: f64| grown * 1024.0 / STREAMS as f64;
    say!(
        "streams   {STREAMS} open, {PER_SECOND} events/s: message sent → on its stream {} ; 202 after {} ; missing {} ; \
         {:.1} KiB of memory each when open, {:.1} KiB after the run ; {:.0} % of a core",
        times.summary(),
        posted?.times.summary(),
        count - came,
        each(open - before),
        each(after - before),
        100.0 * used.as_secs_f64() / bench.long(15).as_secs_f64()
    );
    readers.shutdown().await;
    bridge.stop().await?;
    Ok(())
}

/// Opens a stream.
async fn open(target: &Target, number: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target.address).await?;
    let request = format!(
        "GET /v1/conversations/seeded-{number}/stream HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {}\r\n\r\n",
        target.token
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while find(&head, b"retry:").is_none() {
        ensure!(stream.read_buf(&mut head).await? > 0, "closed after {}", String::from_utf8_lossy(&head));
        ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}

/// Tells the number of each message that comes, and when.
async fn read(mut stream: TcpStream, seen: mpsc::UnboundedSender<(usize, Instant)>) {
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        let at = Instant::now();
        // An event ends with an empty line.
        while let Some(end) = find(&buffer, b"\n\n") {
            let event = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 2);
            let number = event.split("\"s-").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
            if let Some(number) = number {
                let _ = seen.send((number, at));
            }
        }
    }
}
