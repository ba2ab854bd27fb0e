//! The word that was probably meant, for errors about unknown names. Pure.

/// Letters of a beginning that says enough.
const SHORTEST: usize = 3;

/// Returns the candidate that was probably meant, if one is near enough.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: more, and the suggestion is a guess.
    let tolerance = (word.chars().count() / 3).max(1);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate);
    // A name that was cut short (`ttl` for `ttl_seconds`), if it is the beginning of one alone.
    let mut longer = candidates.iter().filter(|candidate| word.len() >= SHORTEST && candidate.starts_with(word));
    near.or_else(|| longer.next().copied().filter(|_| longer.next().is_none()))
}

/// Counts letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 80;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_slips() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("token", "tokens", 1),
            ("listne", "listen", 1),
            ("lvl", "level", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_suggestion_is_made_only_when_it_is_near() {
        let known = ["listen", "max_body", "shutdown_grace"];
        assert_eq!(closest("lisen", known), Some("listen"));
        assert_eq!(closest("maxbody", known), Some("max_body"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(closest("shutdown", known), Some("shutdown_grace"));
        assert_eq!(closest("sh", known), None);
        assert_eq!(closest("max_", ["max_body", "max_streams"]), None);
    }
}
