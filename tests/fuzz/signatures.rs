//! Signatures and tokens: whatever is verified is what was signed.

use fini_bridge::signature::{
    CallbackSecret, PrivateKey, PublicKey, SignedHeaders, Signer, Verifier,
    token::{self, Claims, TokenSecret},
};

use crate::{
    Run,
    mutate::{mutate, mutate_text},
};

const NOW: i64 = 1_795_000_000;
const BODY: &[u8] = br#"{"conversation_id":"web-1","text":"hello"}"#;

/// Damaged headers and bodies verify only where nothing was changed; damaged keys are read or refused.
pub(crate) fn headers(run: Run) -> u64 {
    let secret = CallbackSecret::generate([7; 32]);
    let private = PrivateKey::generate([9; 32]);
    let (id, timestamp) = ("msg_1", NOW.to_string());
    let texts = [secret.reveal(), private.reveal(), private.public_key().to_string()];
    let signature = Signer::new(secret.clone()).with_private_key(private.clone()).sign(id, NOW, BODY, NOW);
    let verifier = Verifier::new([secret], [private.public_key()]);
    let mut number = 0;
    while run.goes_on() {
        number += 1;
        let mut dice = run.dice(number);
        let given = [mutate(&mut dice, id.as_bytes()), mutate(&mut dice, timestamp.as_bytes())];
        let (given_signature, body) = (mutate(&mut dice, signature.as_bytes()), mutate(&mut dice, BODY));
        let named = [
            ("webhook-id", given[0].as_slice()),
            ("Webhook-Timestamp", given[1].as_slice()),
            ("webhook-signature", given_signature.as_slice()),
        ];
        if let Ok(picked) = SignedHeaders::pick(named)
            && let Ok(verified) = verifier.verify(picked, &body, NOW)
        {
            let same = verified.id == id && verified.timestamp == NOW && body == BODY;
            assert!(same, "input {number}, seed {}: something else than what was signed was verified", run.seed);
        }
        let place = dice.usize(..texts.len());
        let text = mutate_text(&mut dice, &texts[place]);
        let _ = (CallbackSecret::parse(&text), PrivateKey::parse(&text), PublicKey::parse(&text));
    }
    number
}

/// A damaged token is refused, or says exactly what was minted.
pub(crate) fn tokens(run: Run) -> u64 {
    let secret = TokenSecret::new(&"fuzz".repeat(8)).expect("it is long enough");
    let claims = Claims {
        frontend: "web".to_owned(),
        conversation_id: Some("web-1".to_owned()),
        sub: Some("u-1".to_owned()),
        attributes: serde_json::Map::from_iter([("plan".to_owned(), "Pro".into())]),
        origins: vec!["https://chat.example.com".to_owned()],
        iat: NOW - 10,
        exp: NOW + 600,
    };
    let minted = token::mint(&claims, &secret).expect("it lives for less than an hour");
    let mut number = 0;
    while run.goes_on() {
        number += 1;
        let text = mutate_text(&mut run.dice(number), &minted);
        let _ = token::peek_frontend(&text);
        if let Ok(proved) = token::verify(&text, &secret, NOW) {
            assert_eq!(proved, claims, "input {number}, seed {}", run.seed);
        }
    }
    number
}
