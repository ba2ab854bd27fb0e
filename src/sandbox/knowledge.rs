//! The small canned knowledge base the simulated bot answers from.

use super::model::Article;

/// A topic on which the bot can answer.
#[derive(Debug)]
pub struct Topic {
    /// Words that lead to this topic, any one of them.
    pub words: &'static [&'static str],
    /// The category under which chat history files it.
    pub category: &'static str,
    /// The reply.
    pub answer: &'static str,
    /// The article from which the reply is drawn.
    pub article: Option<Article>,
}

/// The reply when no topic fits.
pub const FALLBACK: &str =
    "I am not sure I understood that. Could you tell me a little more, or write \"human\" to talk to a colleague?";

/// A reply as bots write it where Markdown is drawn.
pub const MARKDOWN: &str = "Sending something back takes **three steps**:\n\n1. Open *Orders* and choose the parcel.\n\
     2. Choose `Return` and print the label:\n   - at home, or\n   - at any of our shops.\n\
     3. Hand it in within 14 days.\n\nMore in [Refunds and returns](https://help.example.com/returns).";

/// The topics in order of preference: "cancel my order" is about cancelling.
const TOPICS: &[Topic] = &[
    Topic {
        words: &["refund", "refunds", "money", "return", "returns"],
        category: "refunds",
        answer: "Refunds go back to your original payment method within 5 working days of our receiving the parcel.",
        article: Some(article("1d4b0c1e-6a3e-4c55-9f0a-0d7a5a0e7b11", "Refunds and returns")),
    },
    Topic {
        words: &["cancel", "plan", "subscription", "billing"],
        category: "billing",
        answer: "You can cancel at any time under Settings, Billing. Your plan then runs to the end of the paid month.",
        article: Some(article("3c9fd6b5-53de-4a17-8f51-4f3a9ad2c1e2", "Cancelling your plan")),
    },
    Topic {
        words: &["shipping", "delivery", "ship", "postage"],
        category: "shipping",
        answer: "Standard shipping takes 2 to 4 working days and is free from 50 euros.",
        article: Some(article("8e5b1f0a-2f6b-4a38-9c9e-6b1f2d7c3a43", "Shipping times and costs")),
    },
    Topic {
        words: &["order", "orders", "parcel", "package", "track"],
        category: "orders",
        answer: "I can help with that. What is your order number?",
        article: Some(article("7f5392e5-dc7d-4558-8860-cf3ea4b32f94", "Track your order")),
    },
    Topic {
        words: &["hello", "hi", "hey", "hallo", "morning"],
        category: "greeting",
        answer: "Hello! How can I help you today?",
        article: None,
    },
    Topic { words: &["thanks", "thank", "danke"], category: "greeting", answer: "You are welcome!", article: None },
];

/// Returns the first topic one of whose words occurs.
pub fn topic(words: &[&str]) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.words.iter().any(|word| words.contains(word)))
}

/// Returns a reply long enough to try a widget's layout: paragraphs, a link, a word without a break, right-to-left text and
/// emoji.
pub fn long_text() -> String {
    let paragraph = "Once a parcel has left our warehouse, its journey can be followed step by step: it is sorted, loaded, \
                     driven through the night and handed to the courier who brings it to your door. ";
    let word = "Lieferadressenänderungsbestätigungsformular".repeat(3);
    format!(
        "{}\n\nhttps://example.com/tracking?order=1\n\n{word}\n\nשלום, ההזמנה בדרך 📦🚚\n\n{}",
        paragraph.repeat(10),
        paragraph.repeat(10)
    )
}

const fn article(id: &'static str, title: &'static str) -> Article {
    Article { id, title, document_url: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_the_deed_wins_over_its_object() {
        assert_eq!(topic(&["cancel", "my", "order"]).map(|topic| topic.category), Some("billing"));
        assert_eq!(topic(&["my", "order"]).map(|topic| topic.category), Some("orders"));
        assert!(topic(&["zebra"]).is_none());
    }
}
