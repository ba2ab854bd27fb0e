//! The command line.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    plan::{Piece, Scope},
    rows::Answer,
};

pub const HELP: &str = "\
The whole bridge in virtual time:
  cargo test --profile simulation --features mutations --test simulation -- [OPTIONS]

  --minutes N    for so long on the wall (default 5)
  --hours N      for so long on the wall
  --worlds N     so many worlds at most
  --from SEED    the first seed (default 1)
  --seed SEED    this world alone, shown in detail
  --only PIECES  of that world these pieces alone, as printed for a world that failed: r1,3,7-9
  --all          also the vendor's answers that are left out as not held
  --no-shrink    print a world that failed as it is
  --brief        its long pauses cut short, as where a fault is put back
  --quiet        without trouble and without unusual answers, as where they are tried by themselves
  --log          with --seed: what the bridge logs, on the error output
  --answers      each unusual answer of the vendor's alone, in some worlds without other trouble
  --answer NAME  of them this one, by its row, its name or a part of it
  --mutations    reintroduce known faults one by one; each has to be caught in the world that is written out for it, with
                 --worlds in one of so many drawn worlds
  --threads N    (default 2)";

/// What is asked for.
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
#[derive(Clone, Debug)]
pub struct Args {
    pub wall: Duration,
    pub worlds: Option<u64>,
    pub from: u64,
    pub seed: Option<u64>,
    pub only: Option<BTreeSet<Piece>>,
    pub scope: Scope,
    pub shrink: bool,
    pub mutations: bool,
    pub answers: bool,
    pub answer: Option<String>,
    pub log: bool,
    pub brief: bool,
    pub quiet: bool,
    pub threads: usize,
}

impl Args {
    /// `None` where help is wanted.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self {
            wall: Duration::from_secs(300),
            worlds: None,
            from: 1,
            seed: None,
            only: None,
            scope: Scope::Held,
            shrink: true,
            mutations: false,
            answers: false,
            answer: None,
            log: false,
            brief: false,
            quiet: false,
            threads: 2,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--minutes" => args.wall = Duration::from_secs(60 * number::<u64>(&value()?)?),
                "--hours" => args.wall = Duration::from_secs(3_600 * number::<u64>(&value()?)?),
                "--worlds" => args.worlds = Some(number(&value()?)?),
                "--from" => args.from = number(&value()?)?,
                "--seed" => args.seed = Some(number(&value()?)?),
                "--only" => args.only = Some(pieces(&value()?)?),
                "--threads" => args.threads = number(&value()?)?,
                "--all" => args.scope = Scope::All,
                "--no-shrink" => args.shrink = false,
                "--answers" => args.answers = true,
                "--answer" => (args.answers, args.answer) = (true, Some(value()?)),
                "--log" => args.log = true,
                "--brief" => args.brief = true,
                "--quiet" => args.quiet = true,
                "--mutations" => args.mutations = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown: {word}")),
            }
        }
        Ok(Some(args))
    }

    /// Whether an answer of the vendor's is among those asked for.
    pub fn is_wanted(&self, answer: &Answer) -> bool {
        self.answer.as_ref().is_none_or(|wanted| format!("{} {}", answer.row, answer.name).contains(wanted))
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits"))
}

pub fn pieces(text: &str) -> Result<BTreeSet<Piece>, String> {
    let mut all = BTreeSet::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number::<usize>(first)?, number::<usize>(last)?);
                all.extend((first..=last).map(Piece::Act));
            }
            None => {
                all.insert(word.parse()?);
            }
        }
    }
    Ok(all)
}

/// Pieces as the command line takes them.
pub fn shown(pieces: &BTreeSet<Piece>) -> String {
    pieces.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
