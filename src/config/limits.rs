//! Limits on one person, one conversation and one address, so that the others find something left.

use super::Config;

/// The limits. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages that one person may send from a browser in any minute, over all replicas; without a user the conversation.
    pub browser_messages_per_user: usize,
    /// Reads that one person may make from a browser in any minute, of this replica; without credentials the address.
    pub browser_reads_per_user: usize,
    /// Bytes of messages that may wait to be sent in one conversation.
    pub bytes_waiting_per_conversation: usize,
    /// Connections of one address, or of one network of 64 bits, but for `server.trusted_proxies`.
    pub connections_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            browser_messages_per_user: 30,
            browser_reads_per_user: 240,
            bytes_waiting_per_conversation: 2 << 20,
            connections_per_address: 256,
        }
    }
}

/// Descriptors that connections of callers never use, besides those of callbacks and of the database: the operators' listener,
/// requests to Fini, log, database files and what else is open for a moment.
const RESERVE: usize = 256;
/// The operators' connections at one time; within the reserve.
pub const OPERATORS: usize = 64;

impl Config {
    /// The connections that are served at one time where so many files may be open: `server.max_connections`, or less.
    pub fn connections_within(&self, open_files: Option<u64>) -> usize {
        let wanted = self.server.max_connections;
        let Some(open_files) = open_files.and_then(|files| usize::try_from(files).ok()) else { return wanted };
        let receivers = self.frontends.iter().filter(|frontend| frontend.callback.is_some()).count();
        let callbacks = receivers.saturating_mul(self.delivery.max_in_flight_per_frontend);
        let reserve = RESERVE.saturating_add(callbacks).saturating_add(self.store.connections as usize);
        // A reserve that leaves nothing to reserve for would be no help.
        wanted.min(open_files.saturating_sub(reserve).max(open_files / 2)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        let mut config = Config::defaults();
        assert_eq!(config.connections_within(None), 4096);
        assert_eq!(config.connections_within(Some(1 << 20)), 4096);
        assert_eq!(config.connections_within(Some(1024)), 1024 - RESERVE - 16);
        assert_eq!(config.connections_within(Some(256)), 128, "half at least");
        config.server.max_connections = 100;
        assert_eq!(config.connections_within(Some(1024)), 100);
    }
}
