//! `secret`: makes the secrets that callbacks are signed with. Prints them once and keeps them nowhere.

use super::console::{Done, put, say};
use crate::{
    domain::Entropy,
    signature::{CallbackSecret, PrivateKey},
    system::SystemEntropy,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make an Ed25519 pair instead: the bridge signs with whsk_…, receivers verify with whpk_… and hold no secret
    #[arg(long)]
    ed25519: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let random = random(&SystemEntropy);
    if args.ed25519 {
        let key = PrivateKey::generate(random);
        put(key.reveal())?;
        put(key.public_key())?;
        say("the first line signs and stays with the bridge, the second goes to the receivers");
    } else {
        put(CallbackSecret::generate(random).reveal())?;
        say("put it into `callback_secrets` of a frontend, and give it to the receiver of its callbacks");
    }
    Ok(())
}

/// Bytes for a secret.
pub(super) fn random(entropy: &dyn Entropy) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&entropy.next_u64().to_le_bytes());
    }
    bytes
}
