//! Decides the simulated bot's reaction to what a customer writes. Pure: text in, a plan out.
//!
//! Trigger words are matched as whole words without case, so that "information" is not a "form". They exist so that a
//! person can try every outcome by writing a sentence, and a test can choose one without any set-up.

use std::borrow::Cow;

use super::knowledge::{self, Topic};
use super::model::Article;

/// The trigger words with their effects, for people (index page and documentation).
pub const TRIGGERS: &[(&str, &str)] = &[
    (
        "human, agent",
        "the bot says that it hands over, and the conversation's status becomes \"Escalated to Human Agent\"",
    ),
    ("silently", "a silent_escalation event, no visible reply, no change of status"),
    ("no reply", "a no_reply event"),
    (
        "later, later 30",
        "the response holds only the customer's event; the reply turns up some seconds (or 30 s) later",
    ),
    ("form", "a widget_form event in place of a reply"),
    ("note", "an internalnote beside the reply: it must never reach the customer"),
    ("debounce", "a debounce event before the reply"),
    ("odd", "events of an unknown role, an unknown type and with unknown fields beside the reply"),
    ("markdown", "a reply with a list, bold, code and a link in Markdown"),
    ("essay", "a reply of several thousand characters"),
    ("twice", "the reply comes as two messages"),
    ("fail", "the customer's message is stored, then generating the reply fails: 500, and no reply ever comes"),
];

/// An event to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Vendor role.
    pub role: Cow<'static, str>,
    /// Vendor type.
    pub kind: Cow<'static, str>,
    /// Text.
    pub message: Option<String>,
    /// Articles shown as its source.
    pub articles: Vec<Article>,
    /// True if the event is shown with fields that no client knows.
    pub odd: bool,
}

impl Draft {
    /// Creates a visible message or any other event with a text.
    pub fn text(
        role: impl Into<Cow<'static, str>>,
        kind: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> Self {
        Self { role: role.into(), kind: kind.into(), message: Some(text.into()), articles: Vec::new(), odd: false }
    }

    /// Creates a system event without a text.
    pub fn system(kind: &'static str) -> Self {
        Self { role: "finibot".into(), kind: kind.into(), message: None, articles: Vec::new(), odd: false }
    }
}

/// The handover after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The bot goes on.
    None,
    /// A human takes over, and `status` says so.
    Status,
    /// A human takes over; only the `silent_escalation` event says so.
    Silent,
}

/// The time at which a reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// In time for the response.
    InTime,
    /// Too late for it, by the configured delay.
    Late,
    /// Too late for it, after so many seconds.
    After(u64),
}

/// The bot's reaction to one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The events it adds, in order.
    pub drafts: Vec<Draft>,
    /// The handover afterwards.
    pub handover: Handover,
    /// The time at which the reply comes.
    pub timing: Timing,
    /// True if generating the reply fails.
    pub fails: bool,
}

impl Plan {
    /// Appends the text that it answers to every text of the bot.
    pub fn quote(&mut self, text: &str) {
        for message in self.drafts.iter_mut().filter_map(|draft| draft.message.as_mut()) {
            message.push_str(" » ");
            message.push_str(text);
        }
    }
}

/// Decides the bot's reaction to `text`.
pub fn plan(text: &str) -> Plan {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |word: &str| words.contains(&word);

    let mut plan = Plan { drafts: Vec::new(), handover: Handover::None, timing: Timing::InTime, fails: has("fail") };
    if has("silently") {
        plan.handover = Handover::Silent;
        plan.drafts.push(Draft::system("silent_escalation"));
    } else if has("human") || has("agent") {
        plan.handover = Handover::Status;
        plan.drafts.push(bot("I am handing you over to a colleague, who will answer here."));
    } else if words.windows(2).any(|pair| pair == ["no", "reply"]) {
        plan.drafts.push(Draft::system("no_reply"));
    } else if has("form") {
        plan.drafts.push(Draft::text(
            "finibot",
            "widget_form",
            "Please give us your order number and your e-mail address.",
        ));
    } else if has("markdown") {
        plan.drafts.push(bot(knowledge::MARKDOWN));
    } else {
        plan.drafts = reply(&words);
    }
    if has("later") {
        let after = words.iter().position(|word| *word == "later").and_then(|at| words.get(at + 1));
        let seconds = after.and_then(|word| word.parse().ok());
        plan.timing = seconds.map_or(Timing::Late, |seconds: u64| Timing::After(seconds.min(3_600)));
    }
    if has("debounce") {
        plan.drafts.insert(0, Draft::system("debounce"));
    }
    if has("note") {
        plan.drafts.push(Draft::text(
            "finibot",
            "internalnote",
            "Internal: this customer asked for a note. Not for the customer's eyes.",
        ));
    }
    if has("odd") {
        plan.drafts.push(Draft {
            odd: true,
            ..Draft::text("workflow", "message", "An event of a role that does not exist yet.")
        });
        plan.drafts.push(Draft {
            odd: true,
            ..Draft::text("finibot", "card_carousel", "An event of a type that does not exist yet.")
        });
    }
    plan
}

/// Returns the category under which chat history would file `text`.
pub fn category(text: &str) -> &'static str {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    knowledge::topic(&words).map_or("fini-other", |topic| topic.category)
}

fn reply(words: &[&str]) -> Vec<Draft> {
    let mut answer = match knowledge::topic(words) {
        Some(Topic { answer, article, .. }) => Draft { articles: article.iter().copied().collect(), ..bot(*answer) },
        None => bot(knowledge::FALLBACK),
    };
    if words.contains(&"essay") {
        answer.message = Some(knowledge::long_text());
    }
    let mut drafts = vec![answer];
    if words.contains(&"twice") {
        drafts.push(bot("And one more thing: you can always write \"human\" to talk to a colleague."));
    }
    drafts
}

fn bot(text: impl Into<String>) -> Draft {
    Draft::text("finibot", "message", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(String, String)> {
        plan(text).drafts.iter().map(|draft| (draft.role.to_string(), draft.kind.to_string())).collect()
    }

    fn pair(role: &str, kind: &str) -> (String, String) {
        (role.into(), kind.into())
    }

    #[test]
    fn a_known_question_gets_an_answer_with_its_article() {
        let plan = plan("Where is my order?");
        assert_eq!(plan.drafts.len(), 1);
        assert_eq!(plan.drafts[0].articles[0].title, "Track your order");
        assert_eq!((plan.handover, plan.timing, plan.fails), (Handover::None, Timing::InTime, false));
    }

    #[test]
    fn an_unknown_question_gets_the_fallback() {
        assert_eq!(plan("Was kostet ein Zebra?").drafts, [bot(knowledge::FALLBACK)]);
        assert_eq!(plan("").drafts, [bot(knowledge::FALLBACK)]);
    }

    #[test]
    fn triggers_are_whole_words() {
        assert_eq!(kinds("information about agencies, noted"), [pair("finibot", "message")]);
        assert_eq!(kinds("FORM, please"), [pair("finibot", "widget_form")]);
    }

    #[test]
    fn escalations_differ_in_how_they_show() {
        assert_eq!(plan("a human please").handover, Handover::Status);
        assert_eq!(plan("an Agent!").handover, Handover::Status);
        let silent = plan("silently get me a human");
        assert_eq!(silent.handover, Handover::Silent);
        assert_eq!(silent.drafts, [Draft::system("silent_escalation")]);
    }

    #[test]
    fn side_events_stand_beside_the_reply() {
        assert_eq!(kinds("note"), [pair("finibot", "message"), pair("finibot", "internalnote")]);
        assert_eq!(kinds("debounce"), [pair("finibot", "debounce"), pair("finibot", "message")]);
        assert_eq!(
            kinds("odd"),
            [pair("finibot", "message"), pair("workflow", "message"), pair("finibot", "card_carousel")]
        );
        assert_eq!(kinds("say it twice").len(), 2);
        assert_eq!(kinds("no reply"), [pair("finibot", "no_reply")]);
    }

    #[test]
    fn later_may_say_how_much_later() {
        assert_eq!(plan("answer later").timing, Timing::Late);
        assert_eq!(plan("later 30 please").timing, Timing::After(30));
        assert_eq!(plan("later 999999999").timing, Timing::After(3_600));
    }

    #[test]
    fn a_long_reply_is_long() {
        let long = plan("an essay").drafts.remove(0).message.unwrap_or_default();
        assert!(long.len() > 3_000);
    }
}
