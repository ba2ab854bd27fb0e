//! Damage: a few random changes to bytes that were valid.

/// Bytes that parsers care about.
const TELLING: &[u8] = b"\"\\{}[],:.= \n\r\t\0\x7f\x80\xc0\xff-+0129eEtfn%";

/// The bytes after one to six changes. Now and then they stay as they are, so that the way to success is walked too.
pub(crate) fn mutate(dice: &mut fastrand::Rng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.usize(0..=6) {
        if bytes.is_empty() {
            bytes.push(dice.u8(..));
            continue;
        }
        let at = dice.usize(..bytes.len());
        match dice.u8(..8) {
            0 => bytes[at] = dice.u8(..),
            1 => bytes[at] = TELLING[dice.usize(..TELLING.len())],
            2 => bytes.insert(at, TELLING[dice.usize(..TELLING.len())]),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => bytes[at] ^= 1 << dice.u8(..8),
            6 => {
                // A part again, as duplicate keys and endless lists come about.
                let end = dice.usize(at..=bytes.len().min(at + 200));
                let part = bytes[at..end].to_vec();
                let times = dice.usize(1..=20);
                let repeated = part.repeat(times);
                bytes.splice(at..at, repeated);
            }
            _ => {
                let opening = *dice.choice(b"[{\"").expect("three to choose from");
                let depth = dice.usize(1..=2000);
                bytes.splice(at..at, std::iter::repeat_n(opening, depth));
            }
        }
    }
    bytes
}

/// The same for text: what is no UTF-8 any more is replaced.
pub(crate) fn mutate_text(dice: &mut fastrand::Rng, text: &str) -> String {
    String::from_utf8_lossy(&mutate(dice, text.as_bytes())).into_owned()
}
