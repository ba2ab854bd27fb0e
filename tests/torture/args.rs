//! What the program is told to do, and the command that does it again.

use std::{str::FromStr, time::Duration};

use fini_bridge::sandbox::AttributeMode;

/// What `--help` says.
pub const HELP: &str = "\
usage: cargo test --test torture -- [options]
Parts, any number of them; without one it is --kills 200:
  --kills N        SIGKILLs before the audit (200 take about five minutes)
  --within S       on a slow machine, end with fewer kills after so many seconds
  --hours H        kill for so long instead; decimals are fine
  --power N        cut the file system off under load N times (root only), with a control that must lose data
  --disk           a disk that is full, one that turns read-only, one that fails (root and strace)
Options:
  --seed N         repeats the dice of a run (timing on the machine still differs)
  --replicas N     several replicas on a PostgreSQL of their own, killed, frozen and stopped, the database too
  --seconds S      trouble for the replicas for so long (default 90)
  --require        what cannot be run here is a failure
  --slots N        customers who write at the same time (default 16)
  --plain          a vendor that answers every open question in the likeliest way (default: by the seed)
  --attributes M   what Fini does with user attributes: merge, first_only, replace, ignore (default: by the seed)
  --postgres URL   an empty PostgreSQL database in place of the embedded store
  --keep           keeps the folder with database and log also when all is well";

/// The options.
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
#[derive(Clone, Debug)]
pub struct Args {
    /// SIGKILL at random moments under faults: so many times.
    pub kills: Option<u32>,
    /// The same for so long.
    pub time: Option<Duration>,
    /// Torture so many replicas.
    pub replicas: Option<usize>,
    /// For how long.
    pub seconds: Duration,
    /// The file system is cut off so many times.
    pub power: Option<u32>,
    /// The disk is full, turns read-only, fails.
    pub disk: bool,
    /// End with fewer kills after so long.
    pub within: Duration,
    pub seed: u64,
    pub slots: usize,
    /// The vendor as it is by default.
    pub plain: bool,
    pub attributes: Option<AttributeMode>,
    pub postgres: Option<String>,
    pub keep: bool,
    pub require: bool,
}

impl Args {
    /// The options of a command line; `None` where help is wanted.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self {
            kills: None,
            time: None,
            replicas: None,
            seconds: Duration::from_secs(90),
            power: None,
            disk: false,
            within: Duration::MAX,
            seed: fastrand::u64(1..1_000_000),
            slots: 16,
            plain: false,
            attributes: None,
            postgres: None,
            keep: false,
            require: false,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--kills" => args.kills = Some(number(&value()?)?),
                "--within" => args.within = Duration::from_secs(number(&value()?)?),
                "--hours" => {
                    let hours: f64 = number(&value()?)?;
                    args.time = Some(Duration::try_from_secs_f64(hours * 3_600.0).map_err(|error| error.to_string())?);
                }
                "--seed" => args.seed = number(&value()?)?,
                "--slots" => args.slots = number(&value()?)?,
                "--plain" => args.plain = true,
                "--attributes" => {
                    args.attributes = Some(match value()?.as_str() {
                        "merge" => AttributeMode::Merge,
                        "first_only" => AttributeMode::FirstOnly,
                        "replace" => AttributeMode::Replace,
                        "ignore" => AttributeMode::Ignore,
                        other => return Err(format!("no such way with attributes: {other}")),
                    });
                }
                "--postgres" => args.postgres = Some(value()?),
                "--replicas" => args.replicas = Some(number(&value()?)?),
                "--seconds" => args.seconds = Duration::from_secs(number(&value()?)?),
                "--power" => args.power = Some(number(&value()?)?),
                "--disk" => args.disk = true,
                "--require" => args.require = true,
                "--keep" => args.keep = true,
                other => return Err(format!("no such option: {other}")),
            }
        }
        if args.time.is_none() && args.power.is_none() && args.replicas.is_none() && !args.disk {
            args.kills = args.kills.or(Some(200));
        }
        Ok(Some(args))
    }

    /// Whether the program is to be killed at all.
    pub fn is_killing(&self) -> bool {
        self.kills.is_some() || self.time.is_some()
    }

    /// The command that repeats this run.
    pub fn again(&self) -> String {
        let mut words = vec!["cargo test --test torture --".to_owned()];
        match (self.time, self.kills) {
            (Some(time), _) => words.push(format!("--hours {:.3}", time.as_secs_f64() / 3_600.0)),
            (None, Some(kills)) => words.push(format!("--kills {kills}")),
            (None, None) => {}
        }
        if let Some(replicas) = self.replicas {
            words.push(format!("--replicas {replicas} --seconds {}", self.seconds.as_secs()));
        }
        words.extend(self.power.map(|rounds| format!("--power {rounds}")));
        words.extend(self.disk.then(|| "--disk".to_owned()));
        words.push(format!("--seed {} --slots {}", self.seed, self.slots));
        words.extend(self.plain.then(|| "--plain".to_owned()));
        if let Some(mode) = self.attributes {
            let name = serde_json::to_value(mode).ok();
            words.push(format!("--attributes {}", name.as_ref().and_then(|name| name.as_str()).unwrap_or("merge")));
        }
        if self.postgres.is_some() {
            words.push("--postgres URL".to_owned());
        }
        words.join(" ")
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number that fits: {text}"))
}
