//! The section `limits`, key by key.

use super::{forms, reader::Scope};
use crate::config::Limits;

pub(super) fn read(s: &mut Scope<'_>, default: Limits) -> Limits {
    let mut number = |key, default| s.value(key, default, forms::integer(0..=1_000_000));
    Limits {
        browser_messages_per_user: number("browser_messages_per_user", default.browser_messages_per_user),
        browser_reads_per_user: number("browser_reads_per_user", default.browser_reads_per_user),
        connections_per_address: number("connections_per_address", default.connections_per_address),
        bytes_waiting_per_conversation: s.value(
            "bytes_waiting_per_conversation",
            default.bytes_waiting_per_conversation,
            forms::size(0..=1 << 30),
        ),
    }
}
