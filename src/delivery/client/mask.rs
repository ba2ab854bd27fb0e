//! Masks the parts of an address that may be secrets, wherever the other side repeats them.
//!
//! Many receivers recognise the caller by a token in the path or the query, and many answer with the address that was asked
//! for: in a redirect, in a page that says "not found". Text for a log or for an operator goes through here.

use url::Url;

/// The text in place of a masked part.
const MASKED: &str = "…";
/// A query value shorter than this is no secret, and masking it would make answers unreadable.
const SHORTEST_VALUE: usize = 3;
/// Shorter parts of a path are names, not secrets.
const SHORTEST_SEGMENT: usize = 6;
/// The beginning of a secret at the end of a text that was cut is masked from this length.
const SHORTEST_BEGINNING: usize = 4;

/// The parts of one address that may be secrets, longest first, in small letters.
pub(super) struct Mask(Vec<String>);

impl Mask {
    /// Takes all of an address but scheme, host and port.
    pub(super) fn of(url: &Url) -> Self {
        let mut parts = Vec::new();
        let query = url.query().unwrap_or_default();
        parts.push(format!("{}?{query}", url.path()));
        parts.extend([url.path(), query].map(str::to_owned));
        parts.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        let mut values: Vec<String> = [url.username(), url.password().unwrap_or_default()].map(str::to_owned).into();
        values.extend(url.fragment().map(str::to_owned));
        values.extend(query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
        parts.retain(|part| part.len() >= SHORTEST_SEGMENT);
        values.retain(|value| value.len() >= SHORTEST_VALUE);
        parts.append(&mut values);
        let mut written: Vec<String> = parts.iter().flat_map(|part| spellings(part)).collect();
        written.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        written.dedup();
        Self(written)
    }

    /// Masks those parts in the text; with `was_cut`, also the beginning of one at its end.
    pub(super) fn apply(&self, text: &str, was_cut: bool) -> String {
        let mut text = text.to_owned();
        for part in &self.0 {
            // Lower-case ASCII letters are as long as upper-case ones, so positions agree.
            let mut from = 0;
            while let Some(found) = text[from..].to_ascii_lowercase().find(part) {
                text.replace_range(from + found..from + found + part.len(), MASKED);
                from += found + MASKED.len();
            }
        }
        if was_cut && let Some(begun) = self.begun_at_the_end_of(&text.to_ascii_lowercase()) {
            text.truncate(text.len() - begun);
            text.push_str(MASKED);
        }
        text
    }

    fn begun_at_the_end_of(&self, text: &str) -> Option<usize> {
        let begun = |part: &String| {
            let lengths = (SHORTEST_BEGINNING..part.len()).rev();
            lengths.filter(|length| part.is_char_boundary(*length)).find(|length| text.ends_with(&part[..*length]))
        };
        self.0.iter().filter_map(begun).max()
    }
}

/// Returns the spellings in which a part of an address is repeated: as it is, decoded, and each of them in JSON and HTML.
fn spellings(part: &str) -> impl Iterator<Item = String> {
    let decoded: String = url::form_urlencoded::parse(format!("={}", part.replace('&', "%26")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect();
    let plus_kept: String =
        url::form_urlencoded::parse(format!("={}", part.replace('&', "%26").replace('+', "%2B")).as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect();
    [part.to_owned(), decoded, plus_kept].into_iter().flat_map(|text| {
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let json = text.replace('/', "\\/");
        [text, html, json].map(|text| text.to_ascii_lowercase())
    })
}

/// Describes where a receiver wanted to redirect us, without any possible secret: scheme, host and port, and what else
/// differs.
pub(super) fn redirect(from: &Url, location: &str) -> String {
    let Ok(to) = from.join(location) else { return "an address that cannot be read".to_owned() };
    if !to.has_host() {
        return "an address without a host".to_owned();
    }
    let origin = to.origin().ascii_serialization();
    if to.origin() != from.origin() {
        return origin;
    }
    match (to.path() == from.path(), to.query() == from.query()) {
        (true, true) => format!("{origin}, the same address"),
        (false, true) => format!("{origin}, where only the path differs"),
        (true, false) => format!("{origin}, where only the query differs"),
        (false, false) => format!("{origin}, another path and query"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str =
        "https://user:pass%2Fword@hooks.example:8443/services/T0KEN-abc/cb?token=s3cr%2Bt&k=v&flag-only-here";

    fn masked(text: &str) -> String {
        Mask::of(&ADDRESS.parse().expect("a URL")).apply(text, false)
    }

    #[test]
    fn whatever_a_receiver_repeats_of_our_address_is_masked() {
        for echo in [
            ADDRESS,
            "Cannot POST /services/T0KEN-abc/cb?token=s3cr%2Bt&k=v&flag-only-here",
            "not found: /services/t0ken-ABC/cb",
            r#"{"path":"\/services\/T0KEN-abc\/cb?token=s3cr%2Bt&k=v&flag-only-here"}"#,
            r#"{"query":{"token":"s3cr+t","k":"v"}}"#,
            "bad token s3cr%2bt",
            "<pre>/services/T0KEN-abc/cb?token=s3cr%2Bt&amp;k=v&amp;flag-only-here</pre>",
            "hook T0KEN-abc is gone; user user, password pass/word or pass%2Fword; flag-only-here",
        ] {
            let seen = masked(echo).to_ascii_lowercase();
            for secret in ["t0ken", "s3cr", "pass%2f", "pass/", "flag-only"] {
                assert!(!seen.contains(secret), "{secret} in {seen}");
            }
        }
        assert_eq!(masked("Bad Gateway (nginx)"), "Bad Gateway (nginx)");
        assert_eq!(masked("see https://hooks.example:8443"), "see https://hooks.example:8443");
    }

    #[test]
    fn half_a_secret_at_the_end_of_what_was_kept_is_masked_too() {
        let mask = Mask::of(&ADDRESS.parse().expect("a URL"));
        assert_eq!(mask.apply("the hook is T0KEN", true), "the hook is …");
        assert_eq!(mask.apply("the hook is T0KEN", false), "the hook is T0KEN");
        assert_eq!(mask.apply("nothing of it", true), "nothing of it");
    }

    #[test]
    fn a_redirect_is_named_by_what_differs() {
        let from: Url = "https://a.example/cb?token=s3cret".parse().expect("a URL");
        for (location, expected) in [
            ("/cb/?token=s3cret", "https://a.example, where only the path differs"),
            ("https://a.example/cb/?token=s3cret", "https://a.example, where only the path differs"),
            ("?lang=en", "https://a.example, where only the query differs"),
            ("/login?next=%2Fcb%3Ftoken%3Ds3cret", "https://a.example, another path and query"),
            ("", "https://a.example, the same address"),
            ("http://a.example/cb?token=s3cret", "http://a.example"),
            ("https://b.example:444/s3cret", "https://b.example:444"),
            ("mailto:s3cret@a.example", "an address without a host"),
            ("https://[bad", "an address that cannot be read"),
        ] {
            assert_eq!(redirect(&from, location), expected, "{location}");
        }
    }

    proptest! {
        #[test]
        fn no_value_of_a_query_survives(token in "[a-zA-Z0-9_~-]{3,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let url: Url = format!("https://a.example/cb?token={token}").parse().expect("a URL");
            let seen = Mask::of(&url).apply(&format!("{before}{token}{after}"), true);
            prop_assert!(!seen.to_ascii_lowercase().contains(&token.to_ascii_lowercase()));
        }
    }
}
