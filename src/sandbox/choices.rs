//! The answers to the questions that the vendor's documentation leaves open, one type per question; plain data, named as in
//! settings.

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
        /// The time of the conversation's latest message.
        #[default] Updated,
        /// The time at which the conversation began.
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

    /// List's answer in place of a page that is more than it can do.
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

    /// The meaning of "Fini will create or resolve a conversation for that bot".
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
        /// On its arrival, which is also when it is stored.
        #[default] Arrival,
        /// As soon as its reply is ready; nothing of it is stored or shown before.
        Reply,
    }

    /// The effect of user attributes that come with a message.
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
        /// The time at which it was made.
        #[default] Own,
        /// The time of its message.
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

    /// The cause that sets `status`.
    StatusBy {
        /// A handover, at once.
        #[default] Handover,
        /// A judge, `status_after_ms` after each exchange: `Resolved`, `Waiting for Customer` or the escalated status.
        Judge,
        /// The same judge, who may also retract the escalation once the customer has written again.
        RetractingJudge,
        /// Nobody but the desk.
        Nobody,
    }

    /// The value of `resolved` when a judge sets `status`.
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

    /// The bot's reaction to a message while a human has the conversation.
    AfterEscalation {
        /// Nothing.
        #[default] Silent,
        /// The bot still answers.
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

    /// The manner in which a reply comes.
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
        /// In one of these ways, drawn anew each time.
        Mixed,
    }

    /// The encoding of a body, whatever the client accepts.
    Encoding {
        /// Not at all.
        #[default] Plain,
        /// gzip.
        Gzip,
    }

    /// The form of fields that hold nothing.
    Fields {
        /// All present, arrays empty and values null, as documented.
        #[default] Complete,
        /// All present, arrays null too.
        Null,
        /// Missing.
        Absent,
        /// Every field of a conversation and an event occurs twice.
        Twice,
    }

    /// The part that a reading repeats.
    Repeats {
        /// Nothing.
        #[default] Nothing,
        /// Every event.
        Events,
        /// Every row of List.
        Rows,
    }

    /// The form of the vendor's own strings (status, titles, names, the bot's words).
    Strings {
        /// Unchanged.
        #[default] Plain,
        /// With U+0000 at the end.
        Nul,
        /// Status, titles and names with 20,000 characters after them.
        Huge,
    }
}
