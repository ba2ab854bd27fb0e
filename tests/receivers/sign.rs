//! Makes a callback as the bridge signs it, for the receivers to verify: a new secret, the headers, the body.
//!
//! `sign_callback FOLDER AGE_SECONDS` writes the files `secret`, `headers` and `body` into the folder, signed that long ago.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fini_bridge::signature::{CallbackSecret, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, PrivateKey, Signer};

/// Text beyond ASCII, uneven spacing and no final newline: whoever parses the body and writes it again is found out.
const BODY: &str = "{\"id\":\"evt_example\", \"type\":\"message.created\",\"sequence\" : 1,\"data\":{\"message\":{\"author\":\"bot\",\"text\":\"Grüße \\ud83d\\ude42 🙂\\n\"}}}";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, age] = arguments.as_slice() else {
        return Err("usage: sign_callback FOLDER AGE_SECONDS".into());
    };
    #[expect(clippy::disallowed_methods, reason = "a program of its own, whose output the real time has to fit")]
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let timestamp = now - age.parse::<i64>()?;
    let mut random = [0; 64];
    getrandom::fill(&mut random)?;
    let (secret, key) = random.split_at(32);
    let secret = CallbackSecret::generate(secret.try_into()?);

    // A `v1a` signature too: receivers that know only `v1` must pass over it.
    let signer = Signer::new(secret.clone()).with_private_key(PrivateKey::generate(key.try_into()?));
    let signature = signer.sign("evt_example", timestamp, BODY.as_bytes(), now);
    let folder = Path::new(folder);
    fs::write(folder.join("secret"), secret.reveal())?;
    fs::write(folder.join("body"), BODY)?;
    fs::write(
        folder.join("headers"),
        format!(
            "content-type: application/json\n{HEADER_ID}: evt_example\n{HEADER_TIMESTAMP}: {timestamp}\n{HEADER_SIGNATURE}: {signature}\n"
        ),
    )?;
    Ok(())
}
