//! The machine: its clocks, its randomness, and the facts about the process.
//!
//! The only room that takes time and randomness from the operating system; all others get a [`Clock`], a [`WallClock`] or
//! an [`Entropy`], so that tests decide all of them. It decides nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::domain::{Clock, Entropy, Timestamp, WallClock, WallTime, steady::Uptime};

/// The machine's wall clock. It steps when the machine's time is set: no wait goes by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> WallTime {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        WallTime::from_millis(millis)
    }

    fn uptime(&self) -> Option<Uptime> {
        let read = |path: &str| fs::read_to_string(path).ok();
        uptime(&read("/proc/sys/kernel/random/boot_id")?, &read("/proc/uptime")?)
    }
}

/// Parses the kernel's texts (proc(5)): the boot's id, and seconds since then, sleep included.
fn uptime(boot: &str, seconds: &str) -> Option<Uptime> {
    let seconds: f64 = seconds.split_whitespace().next()?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of an uptime fit")]
    let millis = (seconds * 1000.0) as i64;
    (!boot.trim().is_empty()).then(|| Uptime { boot: boot.trim().to_owned(), millis })
}

/// A steady clock: set once, and moved by the machine's monotonic timer alone.
///
/// Invariant: it never shows less than it showed before, whatever it is set to.
#[derive(Debug)]
pub struct SteadyClock {
    began: Instant,
    /// The time it showed when it began, in epoch milliseconds.
    anchor: AtomicI64,
    /// The latest time it showed, in epoch milliseconds.
    said: AtomicI64,
}

impl SteadyClock {
    /// Creates a clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { began: Instant::now(), anchor: AtomicI64::new(now.as_millis()), said: AtomicI64::new(i64::MIN) }
    }

    /// Sets the clock as if it had shown `then` at `moment`. If that makes it earlier than it showed already, it stands
    /// still until it is later.
    pub fn set(&self, then: Timestamp, moment: Instant) {
        self.anchor.store(then.as_millis().saturating_sub(self.elapsed_at(moment)), Ordering::Release);
    }

    /// Returns the time that it shows, or would have shown, at that moment.
    pub fn at(&self, moment: Instant) -> Timestamp {
        Timestamp::from_millis(self.anchor.load(Ordering::Acquire).saturating_add(self.elapsed_at(moment)))
    }

    fn elapsed_at(&self, moment: Instant) -> i64 {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match moment.checked_duration_since(self.began) {
            Some(after) => millis(after),
            None => -millis(self.began.duration_since(moment)),
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let now = self.at(Instant::now()).as_millis();
        Timestamp::from_millis(now.max(self.said.fetch_max(now, Ordering::AcqRel)))
    }
}

/// The operating system's random generator, asked anew each time: fit for ids that must not be guessed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the kernel's generator does not fail once the system has booted")
    }
}

/// Raises the limit on open files to the hard one and forbids core dumps, which would hold secrets and customers' words. A limit
/// that the machine refuses to change stays as it is.
pub fn prepare_process() {
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    }
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Returns how many files and connections may be open; `None` if there is no limit.
pub fn max_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Returns the name of this process among its replicas: the machine's (a pod's own), and the process's number if it is not
/// the machine's only one.
pub fn replica() -> Arc<str> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    match std::process::id() {
        1 => Arc::from(host),
        id => Arc::from(format!("{host}:{id}")),
    }
}

/// The process's use of the machine, from `/proc` (proc(5)); all zero if there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFacts {
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most file descriptors that may be open (the soft limit).
    pub max_fds: u64,
    /// Start of the process, in seconds since the Unix epoch.
    pub start_time_seconds: f64,
    /// CPU time spent so far, user and system, in seconds.
    pub cpu_seconds: f64,
}

/// `USER_HZ`: the kernel shows times to user space in 1/100 s on every architecture in use (time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

impl ProcessFacts {
    /// Reads them now: a few small files that never touch a disk.
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut facts = Self::parse(
            &read("/proc/self/status"),
            &read("/proc/self/limits"),
            &read("/proc/self/stat"),
            &read("/proc/stat"),
        );
        facts.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count().saturating_sub(1) as u64);
        facts
    }

    fn parse(status: &str, limits: &str, stat: &str, system: &str) -> Self {
        let boot: f64 = number(after(system, "btime "));
        // The command name in parentheses may itself hold spaces and parentheses; the fixed fields follow the last one.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        let field = |n: usize| number::<f64>(fields.get(n - 3).copied().unwrap_or_default());
        let started = field(22) / TICKS_PER_SECOND;
        Self {
            resident_bytes: number::<u64>(after(status, "VmRSS:")).saturating_mul(1024),
            open_fds: 0,
            max_fds: number(after(limits, "Max open files")),
            start_time_seconds: if boot > 0.0 { boot + started } else { 0.0 },
            cpu_seconds: (field(14) + field(15)) / TICKS_PER_SECOND,
        }
    }
}

/// Returns the first word after `key` at the start of a line.
fn after<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_default()
}

fn number<N: std::str::FromStr + Default>(word: &str) -> N {
    word.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_this_century_in_milliseconds() {
        let now = SystemClock.now().as_millis();
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&now), "{now}");
    }

    #[test]
    fn the_uptime_is_the_kernel_s() {
        let read = uptime("5f1c\n", "1234.56 77.00\n");
        assert_eq!(read, Some(Uptime { boot: "5f1c".to_owned(), millis: 1_234_560 }));
        assert_eq!((uptime("", "1 2"), uptime("5f1c", "soon")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_moves_with_the_timer_and_never_goes_back() {
        let at = Timestamp::from_millis;
        let clock = SteadyClock::new(at(1_000));
        tokio::time::advance(std::time::Duration::from_millis(500)).await;
        assert_eq!(clock.now(), at(1_500));
        clock.set(at(1_200), Instant::now());
        assert_eq!(clock.now(), at(1_500), "it stands still");
        tokio::time::advance(std::time::Duration::from_millis(400)).await;
        assert_eq!(clock.now(), at(1_600));
        clock.set(at(9_000), Instant::now());
        assert_eq!((clock.now(), clock.at(Instant::now())), (at(9_000), at(9_000)));
    }

    #[test]
    fn two_random_numbers_differ() {
        assert_ne!(SystemEntropy.next_u64(), SystemEntropy.next_u64());
    }

    #[test]
    fn facts_are_read_past_a_hostile_command_name() {
        let mut fields = vec!["0"; 50];
        fields[0] = "S";
        fields[14 - 3] = "150";
        fields[15 - 3] = "50";
        fields[22 - 3] = "1234";
        let stat = format!("7 (odd) name (x) {}", fields.join(" "));
        let facts = ProcessFacts::parse(
            "Name:\tx\nVmRSS:\t    2048 kB\n",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n",
            &stat,
            "cpu 1 2 3\nbtime 1700000000\n",
        );
        let wanted = ProcessFacts {
            resident_bytes: 2 * 1024 * 1024,
            open_fds: 0,
            max_fds: 1024,
            start_time_seconds: 1_700_000_012.34,
            cpu_seconds: 2.0,
        };
        assert_eq!(facts, wanted);
    }

    #[test]
    fn a_machine_without_proc_yields_zeroes() {
        assert_eq!(ProcessFacts::parse("", "", "", ""), ProcessFacts::default());
    }
}
