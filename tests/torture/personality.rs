//! Which vendor a run is against: of the questions that Fini's pages leave open, half are answered by the seed in any way.
//!
//! Left out are the answers under which this world, not the bridge, would have to be another one; each with its reason.

use fini_bridge::sandbox::{Personality, ROWS, Row};

use crate::args::Args;

/// Answers that are never drawn, by question.
const LEFT_OUT: &[(&str, &[&str])] = &[
    // The audit tells customers apart by the Fini conversation that their messages are in. What follows where two are mixed
    // is shown by the black-box tests and the simulation.
    ("resolve", &["open_of_the_email", "latest_of_the_bot"]),
    // A first message whose answer is lost is then told by nothing, and its conversation truthfully begins anew.
    ("attributes", &["never"]),
    // Nothing would ever arrive, or nothing that says a word which every fourth message consists of.
    ("send_500", &["one_bot_for_ever"]),
    ("refusals", &["firewall_dislikes_a_text"]),
    // Each such page costs half a minute or 40 MB, while replies are waited for no longer than a minute here.
    ("list_size", &["rows_too_slow", "rows_too_large", "bytes_too_slow", "bytes_too_large"]),
    // Turns take a tenth of a second here: what is a second older than its message is older than the message before as well.
    ("reply_time", &["before"]),
    // One row would be larger than the pages of `list_size` are: then List gives nothing at all.
    ("strings", &["huge"]),
    // The weather says how long replies take.
    ("latency", &["seconds"]),
];

/// The personality of the run's seed.
pub fn drawn(args: &Args) -> Personality {
    if args.plain {
        return Personality::plain();
    }
    let mut dice = fastrand::Rng::with_seed(args.seed ^ 0xfe11);
    let mut all = Personality { name: format!("torture:{}", args.seed), ..Personality::plain() };
    for row in ROWS {
        if dice.bool() {
            let answers = answers(row);
            let answer = answers[dice.usize(..answers.len())];
            let seed = dice.u64(..);
            let Some(one) = Personality::drawn(row.name, answer, seed) else { continue };
            all.settings.extend(one.settings);
            all.faults.extend(one.faults);
        }
    }
    all
}

/// Its answers other than the default ones, in words.
pub fn described(personality: &Personality) -> String {
    let is_default = |name: &str, answer: &str| {
        ROWS.iter().any(|row| row.name == name && row.answers.last().is_some_and(|(last, _)| *last == answer))
    };
    let mut answers = personality.describe();
    answers.retain(|(name, answer)| !is_default(name, answer));
    let words: Vec<String> = answers.iter().map(|(name, answer)| format!("{name}: {answer}")).collect();
    if words.is_empty() { "as by default".to_owned() } else { words.join(", ") }
}

fn answers(row: &Row) -> Vec<&'static str> {
    let left_out = LEFT_OUT.iter().find(|(name, _)| *name == row.name).map_or(&[][..], |(_, answers)| *answers);
    row.answers.iter().map(|(answer, _)| *answer).filter(|answer| !left_out.contains(answer)).collect()
}
