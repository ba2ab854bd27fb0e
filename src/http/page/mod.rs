//! Pages of the binary, the console and the demo: files embedded as they stand. Nothing is built, and nothing comes from
//! another origin. Colours, controls and the helpers that insert texts are shared.

use axum::response::{IntoResponse, Response};

/// A file of a page: its name, whose ending says the media type, and its content.
pub type File = (&'static str, &'static str);

/// The files that all pages share.
const SHARED: [File; 3] = [
    ("base.css", include_str!("base.css")),
    ("dom.js", include_str!("dom.js")),
    ("mark.svg", include_str!("mark.svg")),
];

/// A page and the files beside it.
///
/// Invariant: everything comes from its own origin and nothing is inline, so that a text that became markup by a mistake of
/// the page could still not run, load or send anything.
#[derive(Debug)]
pub struct Page {
    /// The `content-security-policy` of each file.
    pub policy: &'static str,
    /// The page itself.
    pub html: &'static str,
    /// The files that are its own.
    pub files: &'static [File],
}

impl Page {
    /// Serves the page itself.
    pub fn index(&self) -> Response {
        self.served("html", self.html)
    }

    /// Serves a file; `None` if the page has none of that name.
    pub fn file(&self, name: &str) -> Option<Response> {
        let (name, content) = self.all().find(|(known, _)| *known == name)?;
        Some(self.served(name.rsplit('.').next().unwrap_or_default(), content))
    }

    fn all(&self) -> impl Iterator<Item = File> {
        SHARED.iter().chain(self.files).copied()
    }

    fn served(&self, ending: &str, content: &'static str) -> Response {
        let media_type = match ending {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "application/octet-stream",
        };
        let headers = [
            ("content-type", media_type),
            ("content-security-policy", self.policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            // A newer binary brings newer files under the same names.
            ("cache-control", "no-cache"),
        ];
        (headers, content).into_response()
    }
}

/// The checks of each page's tests.
#[cfg(test)]
impl Page {
    /// Asserts that the page keeps to its policy, and that every file it names under `base` or imports is there, but for the
    /// modules that the listener serves besides.
    pub(crate) fn assert_whole(&self, base: &str, besides: &[&str]) {
        assert!(self.policy.starts_with("default-src 'none'; ") && !self.policy.contains("unsafe"), "{}", self.policy);
        for inline in ["<style", " style=", " onclick="] {
            assert!(!self.html.contains(inline), "{inline}: nothing is inline");
        }
        let named = self.html.split('"').filter_map(|part| part.strip_prefix(base)).filter(|name| !name.is_empty());
        let named: Vec<&str> = named.collect();
        assert!(named.len() >= 4, "{named:?}");
        for name in named {
            assert!(self.file(name).is_some(), "the page names {name}");
        }
        for (name, text) in self.all() {
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(markup), "{name} has {markup}: texts stay text");
            }
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let from = line.split('\'').nth(1).expect("imports name a module");
                let is_there = from.strip_prefix("./").is_some_and(|name| self.file(name).is_some());
                assert!(is_there || besides.contains(&from), "{name} imports {from}");
            }
        }
    }
}
