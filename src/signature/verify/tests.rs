//! Checks what the verifier accepts and how it names the rest, with the reference library as a second opinion.

use proptest::prelude::*;

use super::*;
use crate::signature::{PrivateKey, Signer};

const NOW: i64 = 1_800_000_000;

fn secret(n: u8) -> CallbackSecret {
    CallbackSecret::generate([n; 32])
}

fn verifier(secrets: &[u8]) -> Verifier {
    Verifier::new(secrets.iter().map(|n| secret(*n)), [])
}

fn headers<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> SignedHeaders<'a> {
    SignedHeaders { id: Some(id), timestamp: Some(timestamp), signature: Some(signature) }
}

#[test]
fn any_signature_of_any_secret_is_enough() {
    let value = Signer::from_secrets([secret(1), secret(2)]).unwrap().sign("evt_1", NOW, b"{}", NOW);
    let stamp = NOW.to_string();
    for known in [&[1][..], &[2], &[9, 2], &[9, 8, 1]] {
        let verified = verifier(known).verify(headers("evt_1", &stamp, &value), b"{}", NOW);
        assert_eq!(verified, Ok(Verified { id: "evt_1", timestamp: NOW }));
    }
    let refused = verifier(&[8, 9]).verify(headers("evt_1", &stamp, &value), b"{}", NOW);
    assert_eq!(refused, Err(VerifyError::NoMatch { signatures: 2, keys: 2 }));
}

#[test]
fn signatures_that_mean_nothing_to_us_are_passed_over() {
    let good = Signer::new(secret(1)).sign("evt_1", NOW, b"{}", NOW);
    let stamp = NOW.to_string();
    for value in [format!("v2,abcd {good}"), format!("junk v1,AAAA  {good}"), format!("{good} v1a,AAAA")] {
        assert!(verifier(&[1]).verify(headers("evt_1", &stamp, &value), b"{}", NOW).is_ok(), "{value}");
    }
}

#[test]
fn asymmetric_signatures_verify_without_a_secret() {
    let key = PrivateKey::generate([4; 32]);
    let value = Signer::new(secret(1)).with_private_key(key.clone()).sign("evt_1", NOW, b"{}", NOW);
    let stamp = NOW.to_string();
    let public = Verifier::new([], [PrivateKey::generate([5; 32]).public_key(), key.public_key()]);
    assert!(public.verify(headers("evt_1", &stamp, &value), b"{}", NOW).is_ok());
    let refused = public.verify(headers("evt_1", &stamp, &value), b"{} ", NOW);
    assert_eq!(refused, Err(VerifyError::NoMatch { signatures: 2, keys: 2 }));
    // A v1 signature must not pass as v1a by changing its label, nor the other way round.
    let relabelled = value.replace("v1a,", "v1x,").replace("v1,", "v1a,");
    assert!(public.verify(headers("evt_1", &stamp, &relabelled), b"{}", NOW).is_err());
}

#[test]
fn five_minutes_either_way_and_no_second_more() {
    let signer = Signer::new(secret(1));
    let check = |timestamp: i64| {
        let value = signer.sign("evt_1", timestamp, b"{}", NOW);
        verifier(&[1]).verify(headers("evt_1", &timestamp.to_string(), &value), b"{}", NOW).map(|ok| ok.timestamp)
    };
    assert_eq!(check(NOW - 300), Ok(NOW - 300));
    assert_eq!(check(NOW + 300), Ok(NOW + 300));
    assert_eq!(check(NOW - 301), Err(VerifyError::TooOld { seconds: 301, tolerance: 300 }));
    assert_eq!(check(NOW + 301), Err(VerifyError::TooNew { seconds: 301, tolerance: 300 }));
    let value = signer.sign("evt_1", 5, b"{}", NOW);
    let any_age = verifier(&[1]).with_tolerance(None);
    assert!(any_age.verify(headers("evt_1", "5", &value), b"{}", NOW).is_ok());
}

#[test]
fn missing_and_malformed_headers_are_named() {
    let value = Signer::new(secret(1)).sign("evt_1", NOW, b"{}", NOW);
    let stamp = NOW.to_string();
    let good = headers("evt_1", &stamp, &value);
    let check = |headers| verifier(&[1]).verify(headers, b"{}", NOW).unwrap_err();

    assert_eq!(check(SignedHeaders { id: None, ..good }), VerifyError::Missing("webhook-id"));
    assert_eq!(check(SignedHeaders { timestamp: Some(""), ..good }), VerifyError::Missing("webhook-timestamp"));
    assert_eq!(check(SignedHeaders { signature: None, ..good }), VerifyError::Missing("webhook-signature"));

    let milliseconds = format!("{stamp}000");
    let leading = format!("0{stamp}");
    let long = "x".repeat(256);
    for id in ["a.b", "a b", "\u{e4}", &long] {
        let given = SignedHeaders { id: Some(id), ..good };
        assert!(matches!(check(given), VerifyError::Malformed { name: "webhook-id", .. }), "{id}");
    }
    for timestamp in ["-5", "+5", "1.5", &leading, &milliseconds] {
        let given = SignedHeaders { timestamp: Some(timestamp), ..good };
        assert!(matches!(check(given), VerifyError::Malformed { name: "webhook-timestamp", .. }), "{timestamp}");
    }
    for signature in [" ", "v1", "v1,", "v2,AAAA", &value[..20]] {
        let given = SignedHeaders { signature: Some(signature), ..good };
        assert!(matches!(check(given), VerifyError::Malformed { name: "webhook-signature", .. }), "{signature}");
    }
    let many = vec!["v2,A"; 33].join(" ");
    assert!(matches!(check(SignedHeaders { signature: Some(&many), ..good }), VerifyError::Malformed { .. }));
}

#[test]
fn picking_ignores_case_and_refuses_repeats() {
    let pairs: [(&str, &[u8]); 4] =
        [("Webhook-Id", b"a"), ("accept", b"*/*"), ("WEBHOOK-TIMESTAMP", b"1"), ("webhook-signature", b"v1,x")];
    assert_eq!(SignedHeaders::pick(pairs), Ok(headers("a", "1", "v1,x")));
    assert!(!SignedHeaders::pick([]).unwrap().any());
    let twice: [(&str, &[u8]); 2] = [("webhook-id", b"a"), ("Webhook-ID", b"a")];
    assert_eq!(SignedHeaders::pick(twice), Err(VerifyError::Repeated("webhook-id")));
    let binary: [(&str, &[u8]); 1] = [("webhook-id", &[0xFF])];
    assert!(matches!(SignedHeaders::pick(binary), Err(VerifyError::Malformed { name: "webhook-id", .. })));
}

/// Asks the wall clock, as the reference library does by itself.
#[expect(clippy::disallowed_methods, reason = "the second opinion compares with the real time")]
fn real_now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_secs()).unwrap()
}

fn reference_accepts(secret: &CallbackSecret, id: &str, stamp: &str, value: &str, body: &[u8]) -> bool {
    let mut map = http::HeaderMap::new();
    map.insert("webhook-id", id.parse().unwrap());
    map.insert("webhook-timestamp", stamp.parse().unwrap());
    map.insert("webhook-signature", value.parse().unwrap());
    standardwebhooks::Webhook::new(&secret.reveal()).unwrap().verify(body, &map).is_ok()
}

#[test]
fn what_is_signed_for_later_may_be_refused_sooner_than_what_is_old() {
    let signer = Signer::new(secret(1));
    let verifier = verifier(&[1]).with_ahead(60);
    for (ahead, accepted) in [(-301, false), (-300, true), (0, true), (60, true), (61, false)] {
        let timestamp = NOW + ahead;
        let value = signer.sign("evt_1", timestamp, b"{}", NOW);
        let stamp = timestamp.to_string();
        let result = verifier.verify(headers("evt_1", &stamp, &value), b"{}", NOW);
        assert_eq!(result.is_ok(), accepted, "{ahead} s: {result:?}");
    }
}

proptest! {
    // Curve operations without optimisation take milliseconds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies(
        key in any::<[u8; 32]>(), seed in any::<[u8; 32]>(), id in "[A-Za-z0-9_-]{1,60}",
        timestamp in 0_i64..100_000_000_000, body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let private = PrivateKey::generate(seed);
        let value = Signer::new(CallbackSecret::generate(key))
            .with_private_key(private.clone())
            .sign(&id, timestamp, &body, timestamp);
        let stamp = timestamp.to_string();
        let given = headers(&id, &stamp, &value);
        let by_secret = Verifier::new([CallbackSecret::generate(key)], []);
        prop_assert!(by_secret.verify(given, &body, timestamp).is_ok());
        let by_key = Verifier::new([], [private.public_key()]);
        prop_assert!(by_key.verify(given, &body, timestamp).is_ok());
    }

    #[test]
    fn one_flipped_bit_anywhere_fails(
        key in any::<[u8; 32]>(), body in prop::collection::vec(any::<u8>(), 1..100), place in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let signer = Signer::new(CallbackSecret::generate(key)).with_private_key(PrivateKey::generate(key));
        let verifier = Verifier::new([CallbackSecret::generate(key)], [PrivateKey::generate(key).public_key()])
            .with_tolerance(None);
        let value = signer.sign("evt_1", NOW, &body, NOW);
        let stamp = NOW.to_string();

        let mut other = body.clone();
        other[place.index(body.len())] ^= 1 << bit;
        prop_assert!(verifier.verify(headers("evt_1", &stamp, &value), &other, NOW).is_err());
        prop_assert!(verifier.verify(headers("evt_2", &stamp, &value), &body, NOW).is_err());
        prop_assert!(verifier.verify(headers("evt_1", &(NOW ^ (1_i64 << bit)).to_string(), &value), &body, NOW).is_err());

        let alone = value.split(' ').next().unwrap();
        let mut raw = STANDARD.decode(&alone[3..]).unwrap();
        let at = place.index(raw.len());
        raw[at] ^= 1 << bit;
        let changed = format!("v1,{}", STANDARD.encode(raw));
        prop_assert!(verifier.verify(headers("evt_1", &stamp, &changed), &body, NOW).is_err());
    }

    #[test]
    fn the_reference_library_agrees(
        keys in any::<[[u8; 32]; 2]>(), id in "[A-Za-z0-9_-]{1,60}", body in "\\PC{0,100}", age in -600_i64..600,
        tamper in any::<bool>(),
    ) {
        // Right at the limit the two may read the clock in different seconds.
        prop_assume!((298..=302).all(|edge| age.abs() != edge));
        let now = real_now();
        let timestamp = now - age;
        let [first, second] = keys.map(CallbackSecret::generate);
        let value = Signer::new(first.clone()).with_older(second.clone(), None).sign(&id, timestamp, body.as_bytes(), now);
        let theirs = standardwebhooks::Webhook::new(&first.reveal()).unwrap().sign(&id, timestamp, body.as_bytes()).unwrap();
        prop_assert_eq!(value.split(' ').next().unwrap(), theirs);

        let seen = if tamper { format!("{body}x") } else { body };
        let stamp = timestamp.to_string();
        for secret in [first, second] {
            let ours = Verifier::new([secret.clone()], []).verify(headers(&id, &stamp, &value), seen.as_bytes(), now).is_ok();
            prop_assert_eq!(ours, reference_accepts(&secret, &id, &stamp, &value, seen.as_bytes()));
            prop_assert_eq!(ours, !tamper && age.abs() <= 300);
        }
    }
}
