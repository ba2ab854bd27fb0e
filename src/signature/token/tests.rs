//! Checks which browser tokens are accepted and which are refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn secret() -> TokenSecret {
    TokenSecret::new(&"k".repeat(32)).unwrap()
}

fn claims() -> Claims {
    Claims {
        frontend: "web".to_owned(),
        conversation_id: Some("web-8121".to_owned()),
        sub: None,
        attributes: Map::new(),
        origins: Vec::new(),
        iat: NOW,
        exp: NOW + 600,
    }
}

fn payload() -> Value {
    json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": "web-8121", "iat": NOW, "exp": NOW + 600})
}

/// Makes a token as another library would, correctly signed whatever its claims.
fn raw(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(secret().mac(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn with_claim(name: &str, value: Value) -> Result<Claims, TokenError> {
    let mut payload = payload();
    payload[name] = value;
    verify(&raw(r#"{"alg":"HS256"}"#, &payload.to_string()), &secret(), NOW)
}

/// RFC 7515 appendix A.1: a published vector, not a key in use.
#[test]
fn the_mac_is_that_of_the_published_vector() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let mac = hmac_sha256(&URL_SAFE_NO_PAD.decode(key).unwrap(), signed.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(mac), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

#[test]
fn tokens_of_other_libraries_are_read() {
    let mut payload = payload();
    payload["jti"] = json!("x");
    payload["iat"] = json!(1_800_000_000.75);
    payload["sub"] = json!("u-9");
    payload["origins"] = json!(["https://shop.example"]);
    for header in [r#"{"alg":"HS256"}"#, r#"{"typ":"jwt","alg":"HS256","kid":"1"}"#] {
        let token = raw(header, &payload.to_string());
        let expected =
            Claims { sub: Some("u-9".to_owned()), origins: vec!["https://shop.example".to_owned()], ..claims() };
        assert_eq!(verify(&token, &secret(), NOW), Ok(expected));
    }
}

#[test]
fn only_hs256_and_no_extensions() {
    let payload = payload().to_string();
    for (header, expected) in [
        (r#"{"alg":"none"}"#, TokenError::Algorithm),
        (r#"{"alg":"None"}"#, TokenError::Algorithm),
        (r#"{"alg":"hs256"}"#, TokenError::Algorithm),
        (r#"{"alg":"HS512"}"#, TokenError::Algorithm),
        (r#"{"alg":"RS256"}"#, TokenError::Algorithm),
        (r#"{"alg":["HS256"]}"#, TokenError::Algorithm),
        (r#"{"typ":"JWT"}"#, TokenError::Algorithm),
        (r#"{"alg":"HS256","crit":["exp"]}"#, TokenError::Header),
        (r#"{"alg":"HS256","typ":"JOSE+JSON"}"#, TokenError::Header),
        (r#"{"alg":"HS256","alg":"HS256"}"#, TokenError::Unreadable("header")),
        (r#"["HS256",null,null]"#, TokenError::Unreadable("header")),
        ("{", TokenError::Unreadable("header")),
    ] {
        let token = raw(header, &payload);
        assert_eq!(verify(&token, &secret(), NOW), Err(expected.clone()), "{header}");
        assert_eq!(peek_frontend(&token), Err(expected), "{header}");
    }
}

#[test]
fn the_shape_is_exact() {
    let good = mint(&claims(), &secret()).unwrap();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good} "),
        format!("{good}\n"),
        format!(" {good}"),
        "x".repeat(9000),
    ] {
        assert!(verify(&token, &secret(), NOW).is_err(), "{token:?}");
    }
    // 32 bytes leave two unused bits in the last symbol; setting them must not give a second valid token.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    assert_eq!(at % 4, 0);
    let sloppy = format!("{}{}", &good[..good.len() - 1], &alphabet[at + 1..at + 2]);
    assert_eq!(verify(&sloppy, &secret(), NOW), Err(TokenError::Unreadable("signature")));
}

#[test]
fn claims_are_required_and_typed() {
    for name in ["iss", "frontend", "conversation_id", "iat", "exp"] {
        for wrong in [Value::Null, json!({}), json!([1]), json!(true), json!("")] {
            assert_eq!(with_claim(name, wrong), Err(TokenError::Claim(name)));
        }
    }
    // `null` is no way to leave a claim out: `"origins": null` would read as "from anywhere".
    for name in ["sub", "origins", "nbf"] {
        assert_eq!(with_claim(name, Value::Null), Err(TokenError::Claim(name)));
    }
    assert_eq!(with_claim("sub", json!(7)), Err(TokenError::Claim("sub")));
    assert_eq!(with_claim("origins", json!("https://a.example")), Err(TokenError::Claim("origins")));
    assert_eq!(with_claim("origins", json!([])), Err(TokenError::Claim("origins")));
    assert_eq!(with_claim("origins", json!([1])), Err(TokenError::Claim("origins")));
    assert_eq!(with_claim("exp", json!("1800000600")), Err(TokenError::Claim("exp")));
    assert_eq!(with_claim("exp", json!(1e300)), Err(TokenError::Claim("exp")));
    assert_eq!(with_claim("iat", json!(-1)), Err(TokenError::Claim("iat")));
    assert_eq!(with_claim("iss", json!("other")), Err(TokenError::Issuer));
    let repeated = payload().to_string().replace('{', r#"{"frontend":"admin","#);
    assert_eq!(verify(&raw(r#"{"alg":"HS256"}"#, &repeated), &secret(), NOW), Err(TokenError::Unreadable("payload")));
}

#[test]
fn an_hour_at_most_and_a_minute_of_skew() {
    let at = |iat: i64, exp: i64, now: i64| {
        let mut payload = payload();
        payload["iat"] = json!(iat);
        payload["exp"] = json!(exp);
        verify(&raw(r#"{"alg":"HS256"}"#, &payload.to_string()), &secret(), now).map(|claims| claims.exp)
    };
    assert_eq!(at(NOW, NOW + 3600, NOW), Ok(NOW + 3600));
    assert_eq!(at(NOW, NOW + 3601, NOW), Err(TokenError::Lifetime));
    assert_eq!(at(NOW, NOW, NOW), Err(TokenError::Lifetime));
    assert_eq!(at(NOW, NOW - 1, NOW), Err(TokenError::Lifetime));
    assert_eq!(at(NOW, NOW + 10, NOW + 69), Ok(NOW + 10));
    assert_eq!(at(NOW, NOW + 10, NOW + 70), Err(TokenError::Expired(60)));
    assert_eq!(at(NOW + 60, NOW + 90, NOW), Ok(NOW + 90));
    assert_eq!(at(NOW + 61, NOW + 90, NOW), Err(TokenError::NotYetValid(61)));
    assert_eq!(with_claim("nbf", json!(NOW + 61)), Err(TokenError::NotYetValid(61)));
    assert_eq!(with_claim("nbf", json!("soon")), Err(TokenError::Claim("nbf")));

    let long = Claims { exp: NOW + 3601, ..claims() };
    assert_eq!(mint(&long, &secret()), Err(TokenError::Lifetime));
}

#[test]
fn origins_restrict_when_listed() {
    let from = |origin: Option<&'static str>| Page { origin, ..Page::default() };
    assert!(claims().allows(from(None)));
    assert!(claims().allows(from(Some("https://any.example"))));
    let listed = Claims { origins: vec!["https://shop.example".to_owned()], ..claims() };
    assert!(listed.allows(from(Some("https://shop.example"))));
    assert!(!listed.allows(from(Some("https://shop.example.evil.test"))));
    assert!(!listed.allows(from(Some("null"))));
    assert!(!listed.allows(from(None)));
    let own = |fetch_site, host| Page { origin: None, fetch_site, host };
    assert!(listed.allows(own(Some("same-origin"), Some("shop.example"))));
    for page in [
        own(Some("same-origin"), Some("evil.example")),
        own(Some("same-origin"), None),
        own(Some("same-site"), Some("shop.example")),
        own(Some("cross-site"), Some("shop.example")),
        own(None, Some("shop.example")),
        Page { origin: Some("https://evil.example"), ..own(Some("same-origin"), Some("shop.example")) },
    ] {
        assert!(!listed.allows(page), "{page:?}");
    }
}

#[test]
fn origins_that_could_never_match_are_not_minted() {
    for written in ["https://shop.example/", "shop.example", "HTTPS://shop.example", "*", "https://*.example", "null"] {
        let claims = Claims { origins: vec![written.to_owned()], ..claims() };
        assert!(matches!(mint(&claims, &secret()), Err(TokenError::Origin(..))), "{written}");
    }
    let app = Claims { origins: vec!["capacitor://localhost".to_owned()], ..claims() };
    assert!(mint(&app, &secret()).is_ok());
}

#[test]
fn a_users_token_names_the_user_and_no_conversation() {
    let mut payload = payload();
    payload.as_object_mut().unwrap().remove("conversation_id");
    let read = |payload: &Value| verify(&raw(r#"{"alg":"HS256"}"#, &payload.to_string()), &secret(), NOW);
    assert_eq!(read(&payload), Err(TokenError::Claim("conversation_id")));
    payload["sub"] = json!("u-9");
    let expected = Claims { conversation_id: None, sub: Some("u-9".to_owned()), ..claims() };
    assert_eq!(read(&payload), Ok(expected));
    payload["conversation_id"] = Value::Null;
    assert_eq!(read(&payload), Err(TokenError::Claim("conversation_id")), "a slip must not open more");
    assert_eq!(
        mint(&Claims { conversation_id: None, ..claims() }, &secret()),
        Err(TokenError::Claim("conversation_id"))
    );
    assert_eq!(with_claim("sub", json!("u".repeat(201))), Err(TokenError::Claim("sub")));
}

#[test]
fn attributes_are_an_object_with_numbers_as_they_were_written() {
    let token = raw(
        r#"{"alg":"HS256"}"#,
        &payload().to_string().replacen('{', r#"{"attributes":{"n":94001118992231974284901E5},"#, 1),
    );
    let claims = verify(&token, &secret(), NOW).unwrap();
    assert_eq!(claims.attributes["n"].to_string(), "94001118992231974284901E5");
    for wrong in [json!(null), json!([]), json!("x")] {
        assert_eq!(with_claim("attributes", wrong), Err(TokenError::Claim("attributes")));
    }
    let large = Map::from_iter([("a".to_owned(), json!("x".repeat(9000)))]);
    assert_eq!(mint(&Claims { attributes: large, ..claims }, &secret()), Err(TokenError::TooLong));
}

#[test]
fn secrets_have_a_length_and_are_not_shown() {
    assert_eq!(TokenSecret::new("").unwrap_err(), TokenSecretError(0));
    assert!(TokenSecret::new(&"s".repeat(16)).unwrap().is_short());
    assert!(!secret().is_short());
    assert!(!format!("{:?}", secret()).contains("kkk"));
}

proptest! {
    #[test]
    fn minted_tokens_verify_under_their_secret_only(
        frontend in "[a-z0-9-]{1,40}", conversation_id in "[A-Za-z0-9._~:@+=-]{1,200}", sub in prop::option::of("\\PC{1,20}"),
        life in 1_i64..=3600, elapsed in 0_i64..3600,
    ) {
        prop_assume!(elapsed < life + CLOCK_SKEW_SECS);
        let claims = Claims { frontend, conversation_id: Some(conversation_id), sub, iat: NOW, exp: NOW + life, ..claims() };
        let token = mint(&claims, &secret()).unwrap();
        prop_assert_eq!(peek_frontend(&token).unwrap(), claims.frontend.as_str());
        prop_assert_eq!(verify(&token, &secret(), NOW + elapsed), Ok(claims));
        let other = TokenSecret::new(&"j".repeat(32)).unwrap();
        prop_assert_eq!(verify(&token, &other, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn one_changed_character_fails(place in any::<prop::sample::Index>(), new in "[A-Za-z0-9_.-]") {
        let token = mint(&claims(), &secret()).unwrap();
        let at = place.index(token.len());
        prop_assume!(token[at..=at] != new);
        let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
        prop_assert!(verify(&changed, &secret(), NOW).is_err());
    }

    #[test]
    fn nothing_panics(token in "\\PC{0,200}", header in "\\PC{0,40}", payload in "\\PC{0,40}", now in any::<i64>()) {
        let _ = verify(&token, &secret(), now);
        let _ = peek_frontend(&token);
        prop_assert!(verify(&raw(&header, &payload), &secret(), now).is_err());
        let token = mint(&claims(), &secret()).unwrap();
        let _ = verify(&token, &secret(), now);
    }
}
