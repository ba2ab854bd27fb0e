//! What callers wrote goes on as they wrote it: texts in any escape of JSON, numbers digit by digit. What cannot is told where it
//! stands.

use serde_json::json;

use crate::harness::{Bridge, Setup, random_token, unique};

#[tokio::test]
async fn a_text_of_the_largest_size_fits_in_every_escape() {
    let mut bridge = Setup::new().start().await;
    let escaped = |text: &str| -> String { text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() };
    for (id, c) in [("han", "\u{6f22}"), ("arabic", "\u{0639}"), ("emoji", "\u{1F600}"), ("ascii", "x")] {
        let text = format!("{}{}", random_token(), c.repeat(16_000 - 40));
        let body = format!(r#"{{"conversation_id":"{id}","message_id":"m","text":"{}"}}"#, escaped(&text));
        bridge.remember("web", &json!({"conversation_id": id, "text": text}));
        let call = bridge.call("POST", "/v1/messages").header("content-type", "application/json").body(body);
        call.send().await.expect(202);
        bridge.end_of(id, "m").await;
        assert_eq!(bridge.times_stored(&text), 1, "{id}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn numbers_go_on_exactly_as_they_were_written() {
    let mut bridge = Setup::new().start().await;
    let post = |bridge: &Bridge, number: &str, text: &str| {
        let body = format!(
            r#"{{"conversation_id":"n","message_id":"m","text":"{text}","user":{{"attributes":{{"parcel":{number},"version":1.10}}}},"metadata":{{"deep":[{{"n":{number}}}]}}}}"#
        );
        bridge.call("POST", "/v1/messages").header("content-type", "application/json").body(body)
    };
    let text = unique("Where is my parcel?");
    bridge.remember("web", &json!({"conversation_id": "n", "text": text}));
    post(&bridge, "9400111899223197428490", &text).send().await.expect(202);
    let again = post(&bridge, "9400111899223197428490", &text).send().await.expect(202).json();
    assert_eq!(again["duplicate"], true);
    post(&bridge, "9400111899223197428491", &text).send().await.problem(409, "message_conflict");
    bridge.end_of("n", "m").await;
    let id = bridge.bound("n").await;
    let known =
        serde_json::to_string(&bridge.sandbox.conversation(&id).expect("it exists").user_attributes).expect("JSON");
    assert!(known.contains(r#""parcel":9400111899223197428490"#) && known.contains(r#""version":1.10"#), "{known}");
    bridge.finish().await;
}

#[tokio::test]
async fn half_a_character_is_told_with_its_field() {
    let bridge = Setup::new().start().await;
    for (body, field) in [
        (r#"{"conversation_id":"c","text":"a\ud83d"}"#, "text"),
        (r#"{"conversation_id":"c","text":"a","user":{"attributes":{"name":"\udc00"}}}"#, "user.attributes.name"),
    ] {
        let call = bridge.call("POST", "/v1/messages").header("content-type", "application/json").body(body);
        let problem = call.send().await.problem(422, "invalid_message");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["errors"][0]["message"].as_str().is_some_and(|said| said.contains("surrogate")), "{problem}");
    }
    bridge.finish().await;
}
