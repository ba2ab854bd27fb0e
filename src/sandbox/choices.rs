//! The answers to what the vendor's documentation leaves open, one type per question; plain data, named as in settings.

use serde::{Deserialize, Serialize};

/// Declares a question with its answers. The first is how the sandbox starts.
macro_rules! choices {
    ($($(#[$of:meta])* $name:ident { $($(#[$doc:meta])* $answer:ident),+ $(,)? })+) => {$(
        $(#[$of])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $answer),+ }
    )+};
}

choices! {
    /// The time that List's window is compared with.
    SinceReading {
        /// When the conversation's latest message was written.
        #[default] Updated,
        /// When the conversation began.
        Created,
    }

    /// The events that count as "latest message".
    ListOrder {
        /// Those a customer can see (`message`, `widget_form`); system events and notes do not move a conversation.
        #[default] Messages,
        /// Every event.
        AnyEvent,
    }

    /// The name of the array in List's answer.
    ListKey {
        /// `interactions`, as on the page of the route.
        #[default] Interactions,
        /// `conversations`, as on newer pages.
        Conversations,
    }

    /// What List answers instead of a page that is more than it can do.
    ListRefusal {
        /// 400 in the vendor's JSON.
        #[default] BadRequest,
        /// 500 in the vendor's JSON.
        Internal,
        /// A gateway's page with 504, a minute later.
        Timeout,
        /// The page itself, with 40 MB of blank space in it.
        Huge,
    }

    /// The two documented answers of chat history.
    HistoryShape {
        /// `{"conversations": […], "hasMore": …}` with paging.
        #[default] Conversations,
        /// A bare array of questions and answers, without paging.
        Array,
    }

    /// What "Fini will create or resolve a conversation for that bot" means.
    ResolveMode {
        /// A new conversation each time.
        #[default] AlwaysNew,
        /// The bot's newest conversation is continued, whoever it belongs to: the reading that mixes customers up.
        NewestOfBot,
        /// The newest conversation of the bot with the same value of `resolve_attribute` is continued.
        SameAttribute,
    }

    /// The moment at which a first message finds its conversation.
    ResolveAt {
        /// When it arrives, which is also when it is stored.
        #[default] Arrival,
        /// When its reply is ready; nothing of it is stored or shown before.
        Reply,
    }

    /// What happens to user attributes that come with a message.
    AttributeMode {
        /// Merged into what is there, as documented.
        #[default] Merge,
        /// Taken from the first message only.
        FirstOnly,
        /// The latest message's attributes replace all earlier ones.
        Replace,
        /// Never shown.
        Ignore,
    }

    /// The time stamp of a reply.
    ReplyTime {
        /// When it was made.
        #[default] Own,
        /// That of its message.
        Equal,
        /// Up to a second before its message.
        Before,
    }

    /// The order of `events` in a conversation.
    EventOrder {
        /// As they were stored.
        #[default] Stored,
        /// The newest first.
        NewestFirst,
        /// None: the same one each time, but neither by time nor as stored.
        Mixed,
    }

    /// Who sets `status`.
    StatusBy {
        /// A handover, at once.
        #[default] Handover,
        /// A judge, `status_after_ms` after each exchange: `Resolved`, `Waiting for Customer` or the escalated status.
        Judge,
        /// The same judge, who may also take back that it was escalated once the customer has written again.
        RetractingJudge,
        /// Nobody but the desk.
        Nobody,
    }

    /// What `resolved` of the conversation says when a judge sets `status`.
    ResolvedSays {
        /// Nothing.
        #[default] Nothing,
        /// The same as the status.
        Same,
        /// The opposite.
        Opposite,
    }

    /// The sign by which a handover shows.
    EscalationSign {
        /// As the customer's trigger word says ("human" the status, "silently" the event).
        #[default] AsAsked,
        /// The status alone.
        Status,
        /// A `silent_escalation` event alone.
        Event,
        /// The status, and the event `escalation_gap_ms` later.
        StatusThenEvent,
        /// The event, and the status `escalation_gap_ms` later.
        EventThenStatus,
    }

    /// What the bot does with a message while a human has the conversation.
    AfterEscalation {
        /// Nothing.
        #[default] Silent,
        /// It answers on.
        Answers,
        /// A `no_reply` event.
        NoReply,
    }

    /// The person who writes in the vendor's inbox of their own accord, `human_after_ms` later.
    Human {
        /// Nobody.
        #[default] Nobody,
        /// Somebody after a handover.
        AfterEscalation,
        /// Somebody after a reply of the bot's, one in four, without any handover.
        Unasked,
    }

    /// How a reply comes.
    ReplyManner {
        /// In the answer.
        #[default] InAnswer,
        /// `late_reply_ms` later.
        Later,
        /// Never.
        Never,
        /// As two messages in the answer, and a third `late_reply_ms` later.
        Several,
        /// In the answer, and in front of its message in `events`.
        Before,
        /// In the answer, after an agent's message that came in between.
        AfterAgent,
        /// Each time as one of these.
        Mixed,
    }

    /// How a body is encoded, whatever the client accepts.
    Encoding {
        /// Not at all.
        #[default] Plain,
        /// gzip.
        Gzip,
    }

    /// What becomes of fields that hold nothing.
    Fields {
        /// All there, arrays empty and values null, as documented.
        #[default] Complete,
        /// All there, arrays null too.
        Null,
        /// Not there.
        Absent,
        /// Every field of a conversation and an event stands there twice.
        Twice,
    }

    /// What a reading repeats.
    Repeats {
        /// Nothing.
        #[default] Nothing,
        /// Every event.
        Events,
        /// Every row of List.
        Rows,
    }

    /// What strings of the vendor's own (status, titles, names, the bot's words) look like.
    Strings {
        /// As they are.
        #[default] Plain,
        /// With U+0000 at the end.
        Nul,
        /// Status, titles and names with 20,000 characters behind them.
        Huge,
    }
}
