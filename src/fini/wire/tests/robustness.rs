//! Whatever arrives, nothing panics and nothing is invented.

use proptest::prelude::*;

use super::*;

#[test]
fn depth_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(500_000), close.repeat(500_000));
        for body in [deep.clone(), format!(r#"{{"interactions":[{deep}],"events":[{deep}],"id":"x"}}"#)] {
            let _ = parse_events(body.as_bytes());
            let _ = parse_page(body.as_bytes());
            let _ = parse_conversation(body.as_bytes());
            let _ = parse_history(body.as_bytes());
            let _ = parse_agents(body.as_bytes());
        }
    }
}

#[test]
fn reasons_do_not_quote_content() {
    let bodies = ["[\"secret text\" oops", r#"{"events":"secret text"}"#, r#"{"a":"secret text"}"#];
    for body in bodies {
        let reason = parse_events(body.as_bytes()).expect_err("garbled").reason;
        assert!(!reason.contains("secret"), "{reason}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    // Names that mean something are what reaches the code behind them.
    let name = prop::sample::select(vec![
        "id",
        "createdAt",
        "role",
        "type",
        "message",
        "events",
        "interactions",
        "conversations",
        "hasMore",
        "nextCursor",
        "userAttributes",
        "usedArticles",
        "csatRating",
        "botRequests",
        "categories",
        "data",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn parse_with_everything(body: &[u8]) {
    let _ = parse_events(body);
    let _ = parse_single(body, &InteractionId::trusted("x"));
    let _ = parse_conversation(body);
    let _ = parse_agents(body);
    let _ = parse_history(body);
    if let Ok(page) = parse_page(body) {
        for conversation in &page.conversations {
            let _ = conversation.latest_at();
            let _ = conversation.parse();
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_with_everything(&body);
    }

    #[test]
    fn arbitrary_json_never_panics(body in any_json()) {
        parse_with_everything(body.to_string().as_bytes());
    }

    #[test]
    fn cut_off_json_never_panics_and_is_never_taken_for_events(cut in 1_usize..1000) {
        let body = json!([full_event(), full_event()]).to_string();
        let cut = &body.as_bytes()[..body.len().saturating_sub(cut)];
        prop_assert!(parse_events(cut).is_err());
        parse_with_everything(cut);
    }

    #[test]
    fn escapes_are_repaired_without_touching_the_rest(text in r#"[a\\u{}d83e0-9é"😀]{0,40}"#) {
        let repaired = replace_escapes(&text, |_| false);
        prop_assert_eq!(replace_escapes(&repaired, |_| false), repaired);
    }

    #[test]
    fn parsing_keeps_every_event(count in 0_usize..20, seed in any::<i32>()) {
        let list: Vec<Value> = (0..count)
            .map(|n| json!({"id": n.to_string(), "createdAt": i64::from(seed.rotate_left(u32::try_from(n).unwrap_or(0)))}))
            .collect();
        let parsed = events(Value::from(list).to_string());
        prop_assert_eq!(parsed.len(), count);
        prop_assert!(parsed.is_sorted_by_key(|event| event.created_at));
    }
}
