//! JSON whose numbers keep the text that they were written in.
//!
//! A customer's number may be longer than any machine's (a parcel's number has 22 digits), and `1.10` may be a version. The
//! JSON library keeps every digit, but writes an exponent in its own way (`1E5` becomes `1e+5`), so values with exponents
//! are read once more, number by number.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

/// Reads a value.
pub fn value(json: &[u8]) -> serde_json::Result<Value> {
    // Reads in full first: this finds every fault with its place, and refuses a value that is nested deeper than the library
    // allows.
    let value: Value = serde_json::from_slice(json)?;
    if has_exponent(&value) { exactly(serde_json::from_slice(json)?) } else { Ok(value) }
}

/// Reads an object, for fields of stored structures.
pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match value(raw.get().as_bytes()).map_err(D::Error::custom)? {
        Value::Object(object) => Ok(object),
        _ => Err(D::Error::custom("not an object")),
    }
}

/// Returns the first member that stands more than once in an object of a JSON text, at any depth: of such ones a parser keeps
/// one and drops the others in silence. `None` too if the text is no JSON.
pub fn repeated(json: &[u8]) -> Option<String> {
    serde_json::from_slice::<Repeated>(json).ok()?.0
}

struct Repeated(Option<String>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Repeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Repeated, A::Error> {
        let (mut names, mut found) = (HashSet::new(), None);
        while let Some(name) = members.next_key::<String>()? {
            let inner = members.next_value::<Repeated>()?.0;
            found = found.or_else(|| names.contains(&name).then(|| name.clone())).or(inner);
            names.insert(name);
        }
        Ok(Repeated(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Repeated, A::Error> {
        let mut found = None;
        while let Some(entry) = entries.next_element::<Repeated>()? {
            found = found.or(entry.0);
        }
        Ok(Repeated(found))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Repeated, D::Error> {
        Repeated::deserialize(inner)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }

    fn visit_unit<E>(self) -> Result<Repeated, E> {
        Ok(Repeated(None))
    }
}

fn has_exponent(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_str().contains('e'),
        Value::Array(list) => list.iter().any(has_exponent),
        Value::Object(object) => object.values().any(has_exponent),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn exactly(raw: &RawValue) -> serde_json::Result<Value> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            Value::Object(members.into_iter().map(|(name, raw)| Ok((name, exactly(raw)?))).collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let entries: Vec<&RawValue> = serde_json::from_str(text)?;
            Value::Array(entries.into_iter().map(exactly).collect::<Result<_, _>>()?)
        }
        // The text was read as a number before. The library's own conversion would write the exponent anew.
        Some(b'-' | b'0'..=b'9') => Value::Number(Number::from_string_unchecked(text.to_owned())),
        _ => serde_json::from_str(text)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [&str; 12] = [
        "0",
        "-0",
        "1.0",
        "1.10",
        "9400111899223197428490",
        "-18446744073709551617",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1e5",
        "1E5",
        "1E+005",
        "12.50e-2",
        "1e400",
    ];

    #[test]
    fn numbers_keep_their_text_wherever_they_stand() {
        for number in NUMBERS {
            let text = format!(r#"{{"a":{number},"b":[{number},{{"c":{number}}}],"d":"{number} e"}}"#);
            assert_eq!(value(text.as_bytes()).expect("JSON").to_string(), text);
        }
    }

    #[test]
    fn what_is_stored_is_read_back_as_it_was_written() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Stored {
            #[serde(deserialize_with = "object")]
            object: Map<String, Value>,
        }
        for number in NUMBERS {
            let text = format!(r#"{{"object":{{"n":{number}}}}}"#);
            let stored: Stored = serde_json::from_str(&text).expect("an object");
            assert_eq!(serde_json::to_string(&stored).expect("JSON"), text);
        }
        assert!(serde_json::from_str::<Stored>(r#"{"object":[1e5]}"#).is_err());
    }

    #[test]
    fn a_member_that_stands_twice_in_one_object_is_found() {
        let of = |text: &str| repeated(text.as_bytes());
        for (text, name) in [
            (r#"{"a":1,"b":null,"a":1}"#, "a"),
            (r#"{"x":[1.10,{"b":{},"b":"y"}]}"#, "b"),
            (r#"{"\u0061":1,"a":2e5}"#, "a"),
        ] {
            assert_eq!(of(text).as_deref(), Some(name), "{text}");
        }
        for text in [r#"{"a":{"a":[{"a":-0},{"a":true}]}}"#, "[]", "1e5", "nonsense", r#"{"a":1"#] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn faults_are_found_and_depth_has_an_end() {
        let deep = format!("{}1e5{}", "[".repeat(100_000), "]".repeat(100_000));
        for bad in ["", "{", "1e", "01", "1e5 x", "{\"a\":1e5,}", &deep] {
            assert!(value(bad.as_bytes()).is_err(), "{}", bad.chars().take(20).collect::<String>());
        }
        let as_deep_as_may_be = format!("{}1e5{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(value(as_deep_as_may_be.as_bytes()).expect("JSON").to_string(), as_deep_as_may_be);
    }
}
