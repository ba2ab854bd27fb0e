//! Makes explanations of failures safe to show: short, on one line, without keys and without texts of the request itself.

use serde_json::{Map, Value};

use super::GenerateAnswer;

/// The longest detail, in characters.
const MAX_DETAIL: usize = 300;
/// Pieces of the request of this length or more, in characters, are recognised in Fini's explanation.
const PIECE: usize = 8;
/// The text in place of a key.
const KEY: &str = "[key]";

/// Makes an explanation from outside fit for a log. `said` are the texts of the request: an explanation that quotes one,
/// even in part, is withheld as a whole, because the ends of a quotation cannot be found.
pub(super) fn presentable(explanation: &str, keys: &[&str], said: &[&str]) -> String {
    let words: Vec<&str> = explanation.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "no explanation".to_owned();
    }
    if said.iter().any(|said| quotes(&line, said)) {
        return "an explanation that quotes the request, withheld".to_owned();
    }
    shorten(&mask_keys(line, keys))
}

/// Returns the texts of a send: the message, and every text among its attributes and metadata.
pub(super) fn said_by(request: &GenerateAnswer) -> Vec<&str> {
    fn gather<'a>(value: &'a Value, said: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => said.push(text),
            Value::Array(values) => values.iter().for_each(|value| gather(value, said)),
            Value::Object(members) => gather_all(members, said),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    fn gather_all<'a>(members: &'a Map<String, Value>, said: &mut Vec<&'a str>) {
        members.values().for_each(|value| gather(value, said));
    }
    let mut said = vec![request.text.as_str()];
    gather_all(&request.attributes, &mut said);
    gather_all(&request.metadata, &mut said);
    said
}

fn quotes(line: &str, said: &str) -> bool {
    let folded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = folded(said);
    let starts: Vec<usize> = said.char_indices().map(|(at, _)| at).chain([said.len()]).collect();
    match starts.len() - 1 {
        0 => false,
        // A short text is part of many words; it is a quotation only if it stands alone.
        length if length < PIECE => {
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            line.match_indices(said.as_str()).any(|(at, found)| {
                edge(line[..at].chars().next_back()) && edge(line[at + found.len()..].chars().next())
            })
        }
        _ => starts.windows(PIECE + 1).any(|window| line.contains(&said[window[0]..window[PIECE]])),
    }
}

fn mask_keys(line: String, keys: &[&str]) -> String {
    let mut line = keys.iter().filter(|key| !key.is_empty()).fold(line, |line, key| line.replace(key, KEY));
    // Also masks keys that are not ours, such as one pasted into the wrong place: by their form.
    let mut from = 0;
    while let Some(at) = line[from..].find("fini_").map(|offset| from + offset) {
        let length = line[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let end = length.map_or(line.len(), |length| at + length);
        line.replace_range(at..end, KEY);
        from = at + KEY.len();
    }
    line
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_DETAIL) {
        None => line.to_owned(),
        Some(_) => line.chars().take(MAX_DETAIL - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_one_short_line() {
        assert_eq!(presentable("a\n\tb\u{0} c", &[], &[]), "a b c");
        assert_eq!(presentable(" \n", &[], &[]), "no explanation");
        let long = presentable(&"ä".repeat(1000), &[], &[]);
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn masks_our_keys_and_whatever_looks_like_one() {
        let key = ["fini", "own-key"].join("_");
        assert_eq!(presentable(&format!("bad key {key}."), &[&key], &[]), "bad key [key].");
        assert_eq!(presentable("not fini_other-1, nor fini_x", &[], &[]), "not [key], nor [key]");
        assert_eq!(presentable("not s3cret!", &["s3cret"], &[]), "not [key]!");
    }

    #[test]
    fn withholds_what_quotes_the_request() {
        let withheld = "an explanation that quotes the request, withheld";
        let said = ["Where is my\norder 4711?", "yes"];
        for quoting in [
            "content \"Where is my order 4711?\" is too long",
            "content \"Where is m...\" is too long",
            "is 'yes' a message?",
        ] {
            assert_eq!(presentable(quoting, &[], &said), withheld, "{quoting}");
        }
        let harmless = "content must be shorter than yesterday";
        assert_eq!(presentable(harmless, &[], &said), harmless);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_grows(
            explanation in ".{0,400}", key in ".{0,12}", said in ".{0,20}"
        ) {
            let line = presentable(&explanation, &[&key], &[&said]);
            prop_assert!(line.chars().count() <= MAX_DETAIL);
        }
    }
}
