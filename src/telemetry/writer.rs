//! Gets lines out of the program without ever making it wait.
//!
//! A full pipe blocks whoever writes to it, and a log reader that stops would stop every request. So a thread of its own
//! writes, from a bounded queue; what does not fit is dropped and counted. The thread lives as long as the program.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::metrics::LogCounters;

/// Lines that may wait for the reader.
pub(super) const QUEUE: usize = 4096;

/// Makes the line that tells how many were dropped.
pub(super) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<String>,
    progress: Arc<Progress>,
    counters: LogCounters,
}

#[derive(Debug, Default)]
struct Progress {
    queued: AtomicU64,
    written: Mutex<u64>,
    advanced: Condvar,
}

impl Lines {
    /// Starts the thread. `notice` is written when the reader has caught up after lines were dropped.
    pub(super) fn start(out: impl Write + Send + 'static, counters: LogCounters, notice: Notice) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let progress = Arc::new(Progress::default());
        let lines = Self { queue, progress: progress.clone(), counters: counters.clone() };
        let writer = Writer { out, progress, counters, notice, told: 0 };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(lines)
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn send(&self, line: String) {
        // Counted first, so that a flush never misses a line that is already in the queue.
        self.progress.queued.fetch_add(1, Ordering::SeqCst);
        if self.queue.try_send(line).is_err() {
            self.progress.queued.fetch_sub(1, Ordering::SeqCst);
            self.counters.line_dropped();
        }
    }

    /// Waits until everything queued so far is written, no longer than `limit`. Says whether it was.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let queued = || self.progress.queued.load(Ordering::SeqCst);
        let target = queued();
        let written = self.progress.written.lock().unwrap_or_else(PoisonError::into_inner);
        // The count goes down again where a line finds no room.
        let waiting = |written: &mut u64| *written < target.min(queued());
        let waited = self.progress.advanced.wait_timeout_while(written, limit, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

struct Writer<W> {
    out: W,
    progress: Arc<Progress>,
    counters: LogCounters,
    notice: Notice,
    /// Dropped lines already told about.
    told: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self, waiting: &Receiver<String>) {
        let mut batch = String::new();
        while let Ok(first) = waiting.recv() {
            batch.clear();
            batch.push_str(&first);
            let mut lines = 1;
            // One write for all that wait: under load a call per line would make the writer the bottleneck.
            while batch.len() < 64 * 1024
                && let Ok(line) = waiting.try_recv()
            {
                batch.push_str(&line);
                lines += 1;
            }
            self.write(&batch, lines);
            self.tell();
        }
    }

    fn write(&mut self, batch: &str, lines: u64) {
        let done = self.out.write_all(batch.as_bytes()).and_then(|()| self.out.flush());
        if done.is_err() {
            // The reader is gone, or the disk full. There is nowhere to say so but the counter.
            (0..lines).for_each(|_| self.counters.line_dropped());
        }
        *self.progress.written.lock().unwrap_or_else(PoisonError::into_inner) += lines;
        self.progress.advanced.notify_all();
    }

    fn tell(&mut self) {
        let dropped = self.counters.dropped();
        if dropped > self.told {
            let line = (self.notice)(dropped - self.told);
            self.told = dropped;
            // Not counted if it fails: the lines it speaks of are.
            let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, pipe};
    use std::time::Instant;

    use super::*;

    fn notice() -> Notice {
        Box::new(|n| format!("dropped {n}\n"))
    }

    #[test]
    fn a_reader_that_stops_stalls_nobody_and_is_told_what_it_missed() {
        let (reader, writer) = pipe().unwrap();
        let counters = LogCounters::default();
        let lines = Lines::start(writer, counters.clone(), notice()).unwrap();
        // Far more than a pipe (64 KiB, pipe(7)) and the queue hold, into a pipe nobody reads.
        let sent = 3 * QUEUE as u64;
        let started = Instant::now();
        for n in 0..sent {
            lines.send(format!("{n} {}\n", "x".repeat(100)));
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(counters.dropped() > 0);
        assert!(!lines.flush(Duration::from_millis(50)), "nobody reads, so nothing can be flushed");
        // The reader wakes up: every line is either read or counted, and the count is told.
        let dropped = counters.dropped();
        let mut read = 0;
        let mut told = 0;
        for line in BufReader::new(reader).lines() {
            match line.unwrap().strip_prefix("dropped ") {
                Some(n) => told += n.parse::<u64>().unwrap(),
                None => read += 1,
            }
            if read + told == sent {
                break;
            }
        }
        assert_eq!(told, dropped);
    }

    #[test]
    fn flushing_waits_for_what_was_sent_before() {
        let (reader, writer) = pipe().unwrap();
        let lines = Lines::start(writer, LogCounters::default(), notice()).unwrap();
        for n in 0..100 {
            lines.send(format!("{n}\n"));
        }
        assert!(lines.flush(Duration::from_secs(10)));
        let read: Vec<String> = BufReader::new(reader).lines().take(100).map(Result::unwrap).collect();
        assert_eq!(read, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_is_gone_is_survived_and_counted() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let counters = LogCounters::default();
        let lines = Lines::start(writer, counters.clone(), notice()).unwrap();
        lines.send("one\n".to_owned());
        assert!(lines.flush(Duration::from_secs(10)));
        lines.send("two\n".to_owned());
        assert!(lines.flush(Duration::from_secs(10)));
        assert_eq!(counters.dropped(), 2);
    }
}
