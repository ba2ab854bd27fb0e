//! The questions that the vendor's documentation leaves open, with every answer to each: the settings and faults that
//! produce it, in JSON. Data alone; a number in brackets, `[low, high]`, is drawn.

/// One answer: its name, and the JSON that produces it (`settings`, `faults`).
pub type Answer = (&'static str, &'static str);

/// A question with its answers. The last one is the sandbox as it starts.
#[derive(Debug)]
pub struct Row {
    /// The question's name.
    pub name: &'static str,
    /// Its answers.
    pub answers: &'static [Answer],
}

macro_rules! rows {
    ($($name:ident { $($answer:ident $what:tt),+ $(,)? })+) => {
        &[$(Row { name: stringify!($name), answers: &[$((stringify!($answer), stringify!($what))),+] }),+]
    };
}

/// Every question with every answer.
pub const ROWS: &[Row] = rows! {
    resolve {
        open_of_the_user {"settings": {"resolve_mode": "same_attribute", "resolve_attribute": "user_id", "resolve_open_only": true}},
        any_of_the_user {"settings": {"resolve_mode": "same_attribute", "resolve_attribute": "user_id", "resolve_open_only": false}},
        open_of_the_email {"settings": {"resolve_mode": "same_attribute", "resolve_attribute": "email", "resolve_open_only": true}},
        latest_of_the_bot {"settings": {"resolve_mode": "newest_of_bot"}},
        always_new {}
    }
    resolve_when {
        reply_ready {"settings": {"resolve_at": "reply"}},
        arrival {}
    }
    resolve_where {
        across_bots {"settings": {"resolve_across_bots": true}},
        within_the_bot {}
    }
    attributes {
        later {"settings": {"user_attributes": "merge", "attributes_after_ms": [1000, 30000]}},
        latest_turn {"settings": {"user_attributes": "replace"}},
        first_turn {"settings": {"user_attributes": "first_only"}},
        never {"settings": {"user_attributes": "ignore"}},
        at_once {}
    }
    send_500 {
        nothing_stored {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.03, "within": null, "params": {"status": 500}}]},
        stored_reply_follows {"faults": [{"route": "generate_answer", "kind": "store_then_500", "probability": 0.03, "params": {"at_once": true}}]},
        stored_and_answered {"faults": [{"route": "generate_answer", "kind": "store_then_500", "probability": 0.03, "params": {"at_once": false, "reply": null}}]},
        stored_never_answered {"faults": [{"route": "generate_answer", "kind": "store_then_500", "probability": 0.03, "params": {"reply": false}}]},
        metadata_only {"faults": [{"route": "generate_answer", "kind": "merge_then_500", "probability": 0.03}]},
        one_bot_for_ever {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.1, "times": 1, "within": "bot", "params": {"status": 500}}]},
        one_conversation_for_a_time {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.03, "within": "conversation", "for_ms": [10000, 90000], "params": {"status": 500}}]},
        none {}
    }
    refusals {
        key_401 {"faults": [{"route": "any", "kind": "unauthorised", "probability": 0.001, "for_ms": [5000, 60000]}]},
        scope_403 {"faults": [{"route": "generate_answer", "kind": "forbidden", "probability": 0.002, "for_ms": [5000, 60000]}]},
        bot_403 {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.02, "within": "bot", "for_ms": [10000, 120000], "params": {"status": 403, "message": "This bot is not available to this API key"}}]},
        id_404 {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.01, "within": "conversation", "for_ms": [10000, 60000], "params": {"status": 404, "message": "Conversation not found"}}]},
        firewall_dislikes_a_text {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.02, "within": "text", "params": {"status": 403, "html": true}}]},
        gateway_404 {"faults": [{"route": "any", "kind": "status", "probability": 0.001, "for_ms": [10000, 45000], "params": {"status": 404, "html": true}}]},
        gateway_405 {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.003, "for_ms": [10000, 45000], "params": {"status": 405, "html": true}}]},
        gateway_502 {"faults": [{"route": "any", "kind": "status", "probability": 0.001, "for_ms": [10000, 45000], "params": {"status": 502, "html": true}}]},
        writes_503_with_retry_after {"faults": [{"route": "generate_answer", "kind": "status", "probability": 0.005, "for_ms": 45000, "params": {"status": 503, "retry_after": 45}}]},
        none {}
    }
    unknown_id {
        is_404 {"settings": {"unknown_id_status": 404}},
        is_500 {}
    }
    get_500 {
        bad_minute {"faults": [{"route": "get", "kind": "status", "probability": 0.003, "for_ms": [5000, 60000], "params": {"status": 500}}]},
        bad_minute_of_one {"faults": [{"route": "get", "kind": "status", "probability": 0.01, "within": "conversation", "for_ms": [5000, 60000], "params": {"status": 500}}]},
        gone {}
    }
    list_lag {
        seconds {"settings": {"list_lag_ms": [1, 10000]}},
        none {}
    }
    list_since {
        by_creation {"settings": {"since_reading": "created"}},
        by_update {}
    }
    list_order {
        any_event {"settings": {"list_order": "any_event"}},
        messages {}
    }
    list_untouched {
        shown {"settings": {"list_untouched": true}},
        hidden {}
    }
    list_history {
        last_events {"settings": {"list_last_events": [1, 20]}},
        whole {}
    }
    list_page {
        capped {"settings": {"list_page_cap": [5, 25]}},
        as_asked {}
    }
    list_size {
        rows_400 {"settings": {"list_max_rows": [10, 80], "list_refusal": "bad_request"}},
        rows_500 {"settings": {"list_max_rows": [10, 80], "list_refusal": "internal"}},
        rows_too_slow {"settings": {"list_max_rows": [10, 80], "list_refusal": "timeout"}},
        rows_too_large {"settings": {"list_max_rows": [10, 80], "list_refusal": "huge"}},
        bytes_500 {"settings": {"list_max_bytes": [30000, 200000], "list_refusal": "internal"}},
        bytes_too_slow {"settings": {"list_max_bytes": [30000, 200000], "list_refusal": "timeout"}},
        bytes_too_large {"settings": {"list_max_bytes": [30000, 200000], "list_refusal": "huge"}},
        any {}
    }
    list_cursor {
        lost_400 {"faults": [{"route": "list", "kind": "status", "probability": 0.2, "content": "cursor=", "params": {"status": 400, "message": "The cursor is invalid"}}]},
        lost_500 {"faults": [{"route": "list", "kind": "status", "probability": 0.2, "content": "cursor=", "params": {"status": 500}}]},
        empty_page {"faults": [{"route": "list", "kind": "empty_array", "probability": 0.2, "content": "cursor=", "params": {"has_more": false}}]},
        empty_page_with_more {"faults": [{"route": "list", "kind": "empty_array", "probability": 0.2, "content": "cursor=", "params": {"has_more": true}}]},
        from_the_top {"faults": [{"route": "list", "kind": "from_the_top", "probability": 0.2, "content": "cursor="}]},
        kept {}
    }
    list_empty {
        at_times {"faults": [{"route": "list", "kind": "empty_array", "probability": 0.01}]},
        never {}
    }
    times {
        seconds {"settings": {"time_grain_ms": 1000}},
        milliseconds {}
    }
    reply_time {
        equal {"settings": {"reply_time": "equal"}},
        before {"settings": {"reply_time": "before"}},
        own {}
    }
    event_order {
        newest_first {"settings": {"event_order": "newest_first"}},
        mixed {"settings": {"event_order": "mixed"}},
        stored {}
    }
    status {
        none {"settings": {"status_by": "nobody", "open_status": null}},
        judged {"settings": {"status_by": "judge", "open_status": null, "status_after_ms": [500, 20000]}},
        judged_again {"settings": {"status_by": "retracting_judge", "open_status": null, "status_after_ms": [500, 20000]}},
        other_words {"settings": {"open_status": "Assistant", "escalated_status": "In the queue"}},
        plain {}
    }
    resolved {
        as_the_status {"settings": {"resolved_says": "same"}},
        against_the_status {"settings": {"resolved_says": "opposite"}},
        silent {}
    }
    escalation {
        status {"settings": {"escalation_sign": "status"}},
        event {"settings": {"escalation_sign": "event"}},
        status_then_event {"settings": {"escalation_sign": "status_then_event", "escalation_gap_ms": [0, 30000]}},
        event_then_status {"settings": {"escalation_sign": "event_then_status", "escalation_gap_ms": [0, 30000]}},
        as_asked {}
    }
    after_escalation {
        answers {"settings": {"after_escalation": "answers"}},
        no_reply {"settings": {"after_escalation": "no_reply"}},
        silent {}
    }
    human {
        after_escalation {"settings": {"human": "after_escalation", "human_after_ms": [1000, 120000]}},
        unasked {"settings": {"human": "unasked", "human_after_ms": [1000, 120000]}},
        nobody {}
    }
    reply {
        later {"settings": {"reply_manner": "later", "reply_manner_odds": 0.4, "late_reply_ms": [1000, 60000]}},
        never {"settings": {"reply_manner": "never", "reply_manner_odds": 0.2}},
        several {"settings": {"reply_manner": "several", "reply_manner_odds": 0.5, "late_reply_ms": [1000, 60000]}},
        before_its_message {"settings": {"reply_manner": "before", "reply_manner_odds": 0.5}},
        after_an_agent {"settings": {"reply_manner": "after_agent", "reply_manner_odds": 0.3}},
        mixed {"settings": {"reply_manner": "mixed", "reply_manner_odds": 1.0, "late_reply_ms": [1000, 60000]}},
        in_the_answer {}
    }
    latency {
        seconds {"settings": {"reply_latency_ms": [1000, 45000]}},
        short {}
    }
    encoding {
        gzip {"settings": {"encoding": "gzip"}},
        plain {}
    }
    fields {
        null {"settings": {"fields": "null"}},
        absent {"settings": {"fields": "absent"}},
        twice {"settings": {"fields": "twice"}},
        complete {}
    }
    repeats {
        events {"settings": {"repeats": "events"}},
        rows {"settings": {"repeats": "rows"}},
        nothing {}
    }
    annotations {
        later {"settings": {"annotations_after_ms": [500, 60000]}},
        with_the_reply {}
    }
    texts {
        filled_in_later {"settings": {"text_after_ms": [500, 10000]}},
        at_once {}
    }
    strings {
        nul {"settings": {"strings": "nul"}},
        huge {"settings": {"strings": "huge"}},
        plain {}
    }
};
