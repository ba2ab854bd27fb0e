//! Destinations: the receivers of a frontend's feed, and the choice of those that get an event. Pure.
//!
//! Each destination has its own order, retries and dead letters. The frontend's own callback is the destination `main`; it
//! is stored under the frontend's name alone, as it was before there were others, a further one as `frontend/name`.

use std::{collections::HashMap, fmt};

use super::{
    event::{FeedEvent, Origin},
    ids::FrontendName,
};

/// The name of a frontend's own callback.
pub const MAIN: &str = "main";

/// One receiver of one frontend's feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The frontend whose feed it receives.
    pub frontend: FrontendName,
    /// Its name within the frontend.
    pub name: String,
}

impl Destination {
    /// Creates the destination of that name.
    pub fn new(frontend: FrontendName, name: impl Into<String>) -> Self {
        Self { frontend, name: name.into() }
    }

    /// Returns the frontend's own callback.
    pub fn main(frontend: FrontendName) -> Self {
        Self::new(frontend, MAIN)
    }

    /// Parses the stored name of a destination.
    pub fn recorded(text: &str) -> Self {
        let (frontend, name) = text.split_once('/').unwrap_or((text, MAIN));
        Self::new(FrontendName::trusted(frontend), name)
    }

    /// Returns true if it is the frontend's own callback.
    pub fn is_main(&self) -> bool {
        self.name == MAIN
    }
}

/// Its stored name.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_main() { write!(f, "{}", self.frontend) } else { write!(f, "{}/{}", self.frontend, self.name) }
    }
}

/// The party that brought a message into the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poster {
    /// The frontend's own server, which knows what it posted.
    Server,
    /// A browser: the frontend's server has not seen it.
    Browser,
}

/// The events that one destination wants.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name within the frontend.
    pub destination: String,
    /// `*`, `group.*` or full types.
    pub patterns: Vec<String>,
    /// True if it also gets what the frontend's own server posted.
    pub posted: bool,
}

impl Subscription {
    fn wants(&self, kind: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => pattern == kind,
        })
    }
}

/// The events that each frontend's destinations want; an unlisted frontend wants all at its own callback.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(HashMap<FrontendName, Vec<Subscription>>);

impl Subscriptions {
    /// Builds it from the subscriptions of each frontend's destinations.
    pub fn new(wanted: impl IntoIterator<Item = (FrontendName, Vec<Subscription>)>) -> Self {
        Self(wanted.into_iter().collect())
    }

    /// Builds it from the patterns of each frontend's own callback, for frontends with no other destination.
    pub fn of_main(patterns: impl IntoIterator<Item = (FrontendName, Vec<String>)>) -> Self {
        let main = |patterns| vec![Subscription { destination: MAIN.to_owned(), patterns, posted: false }];
        Self::new(patterns.into_iter().map(|(frontend, patterns)| (frontend, main(patterns))))
    }

    /// Returns the destinations that an event is owed to; `poster` says who brought in what the frontend itself posted.
    pub fn owed<'a>(
        &'a self,
        frontend: &'a FrontendName,
        event: &'a FeedEvent,
        poster: Poster,
    ) -> impl Iterator<Item = Destination> + 'a {
        let was_posted = matches!(event, FeedEvent::MessageCreated { origin: Origin::Frontend, .. });
        let is_known = was_posted && poster == Poster::Server;
        let listed = self.0.get(frontend);
        let main = (listed.is_none() && !is_known).then(|| Destination::main(frontend.clone()));
        let wanted =
            listed.into_iter().flatten().filter(move |one| one.wants(event.kind()) && (one.posted || !is_known));
        main.into_iter().chain(wanted.map(|one| Destination::new(frontend.clone(), one.destination.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Timestamp,
        event::{Author, Message, TextFormat},
    };

    fn web() -> FrontendName {
        FrontendName::trusted("web")
    }

    fn message(origin: Origin) -> FeedEvent {
        let message = Message {
            id: "m".to_owned(),
            author: Author::User,
            text: "text".to_owned(),
            format: TextFormat::Plain,
            created_at: Timestamp::ZERO,
            articles: Vec::new(),
            attachments: Vec::new(),
            tags: Vec::new(),
        };
        FeedEvent::MessageCreated { message, origin, in_reply_to: None, withheld: false }
    }

    #[test]
    fn a_destination_is_read_from_the_record_as_it_was_written() {
        for one in [Destination::main(web()), Destination::new(web(), "desk")] {
            assert_eq!(Destination::recorded(&one.to_string()), one);
        }
        assert_eq!(Destination::main(web()).to_string(), "web", "as before there were others");
        assert_eq!(Destination::new(web(), "desk").to_string(), "web/desk");
    }

    #[test]
    fn patterns_match_all_a_group_or_one_type() {
        let wants = |pattern: &str, kind: &str| {
            Subscription { destination: MAIN.to_owned(), patterns: vec![pattern.to_owned()], posted: false }.wants(kind)
        };
        assert!(wants("*", "turn.failed"));
        assert!(wants("conversation.*", "conversation.resolved") && !wants("conversation.*", "turn.failed"));
        assert!(wants("turn.failed", "turn.failed") && !wants("turn.failed", "turn.completed"));
    }

    #[test]
    fn what_a_server_posted_goes_to_those_who_ask_and_what_a_browser_posted_to_everybody() {
        let one =
            |name: &str, posted| Subscription { destination: name.to_owned(), patterns: vec!["*".to_owned()], posted };
        let all = Subscriptions::new([(web(), vec![one(MAIN, false), one("desk", true), one("crm", false)])]);
        let owed = |subscriptions: &Subscriptions, origin, poster| -> Vec<String> {
            subscriptions.owed(&web(), &message(origin), poster).map(|one| one.name).collect()
        };
        assert_eq!(owed(&all, Origin::Frontend, Poster::Server), ["desk"]);
        assert_eq!(owed(&all, Origin::Frontend, Poster::Browser), ["main", "desk", "crm"]);
        assert_eq!(owed(&all, Origin::Fini, Poster::Server), ["main", "desk", "crm"]);
        let nobody = Subscriptions::new([(web(), Vec::new())]);
        assert!(owed(&nobody, Origin::Fini, Poster::Server).is_empty(), "no callback at all");
        let unlisted = Subscriptions::default();
        assert_eq!(owed(&unlisted, Origin::Fini, Poster::Server), ["main"]);
        assert!(owed(&unlisted, Origin::Frontend, Poster::Server).is_empty());
    }
}
