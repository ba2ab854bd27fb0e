//! A man in the middle of the bridge and PostgreSQL, who counts what goes over the wire.
//!
//! It passes every byte on as it is and reads the frames of the protocol (version 3) beside. Nobody can spend a round trip,
//! a statement or a commit past it: each round trip ends with the server's `ReadyForQuery`, each statement with a
//! `CommandComplete`, and the server itself says in both what was done and whether a transaction is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The statements between two moments at which a connection stood outside any transaction.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// The texts in their order, those of the transaction's frame among them.
    pub statements: Vec<String>,
    /// The round trips, those that only prepared a statement left out.
    pub trips: usize,
    /// The round trips that only prepared a statement, once for each connection.
    pub preparing: usize,
    /// Whether the server said that it wrote a row.
    pub wrote: bool,
}

impl Unit {
    /// Whether its end made something durable, for which the server waited: a transaction that wrote rows and was committed,
    /// or a statement of its own that did.
    pub fn is_commit(&self) -> bool {
        self.wrote && self.statements.last().is_none_or(|last| last != "ROLLBACK")
    }
}

#[derive(Debug, Default)]
struct Seen {
    done: Vec<Unit>,
    at: Option<Instant>,
    open: usize,
}

/// The man in the middle.
#[derive(Clone, Debug)]
pub struct Wire {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Wire {
    /// Stands between its port and the server at `to`, until the test's runtime ends.
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
    pub async fn before(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let wire = Self { port, seen: Arc::default() };
        let seen = Arc::clone(&wire.seen);
        tokio::spawn(async move {
            while let Ok((bridge, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                for socket in [&bridge, &server] {
                    socket.set_nodelay(true).expect("a socket of ours");
                }
                let ((from_bridge, to_bridge), (from_server, to_server)) = (bridge.into_split(), server.into_split());
                let connection = Arc::new(Mutex::new(Connection::default()));
                tokio::spawn(pass(from_bridge, to_server, Frames::with_start_up(), {
                    let connection = Arc::clone(&connection);
                    move |kind, body| lock(&connection).asked(kind, body)
                }));
                let seen = Arc::clone(&seen);
                tokio::spawn(pass(from_server, to_bridge, Frames::default(), move |kind, body| {
                    let mut seen = lock(&seen);
                    seen.at = Some(Instant::now());
                    let was_open = lock(&connection).is_open();
                    let done = lock(&connection).answered(kind, body);
                    let is_open = lock(&connection).is_open();
                    seen.open = (seen.open + usize::from(is_open)).saturating_sub(usize::from(was_open));
                    seen.done.extend(done);
                }));
            }
        });
        wire
    }

    /// The address of a database of the server behind it, by its address there.
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().expect("addresses name their database");
        format!("postgres://fini_bridge@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// Takes what was done since it was asked last.
    pub fn take(&self) -> Vec<Unit> {
        std::mem::take(&mut lock(&self.seen).done)
    }

    /// Whether nothing is under way, and nothing has been for so long.
    pub fn is_quiet(&self, since: std::time::Duration) -> bool {
        let seen = lock(&self.seen);
        seen.open == 0 && seen.at.is_none_or(|at| at.elapsed() >= since)
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frames: Frames, mut told: impl FnMut(u8, &[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        frames.take_in(&buffer[..read], &mut told);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Cuts a stream of bytes into the protocol's frames.
#[derive(Debug, Default)]
struct Frames {
    rest: Vec<u8>,
    is_starting: bool,
}

impl Frames {
    /// The bridge's first frame has no letter before its length.
    fn with_start_up() -> Self {
        Self { rest: Vec::new(), is_starting: true }
    }

    fn take_in(&mut self, bytes: &[u8], told: &mut impl FnMut(u8, &[u8])) {
        self.rest.extend_from_slice(bytes);
        loop {
            let letter = usize::from(!self.is_starting);
            let Some(length) = self.rest.get(letter..letter + 4) else { return };
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            let end = letter + usize::try_from(length).expect("a frame fits in memory");
            if self.rest.len() < end {
                return;
            }
            if !self.is_starting {
                told(self.rest[0], &self.rest[5..end]);
            }
            self.is_starting = false;
            self.rest.drain(..end);
        }
    }
}

/// One connection of the bridge.
#[derive(Debug, Default)]
struct Connection {
    prepared: HashMap<Vec<u8>, String>,
    bound: String,
    /// Texts that were asked for and not yet answered.
    asked: Vec<String>,
    unit: Unit,
    has_answered: bool,
    is_over: bool,
}

impl Connection {
    /// Hears a frame of the bridge's.
    fn asked(&mut self, kind: u8, body: &[u8]) {
        let mut words = body.split(|byte| *byte == 0);
        let mut next = || words.next().unwrap_or_default();
        match kind {
            b'P' => {
                let (name, text) = (next().to_vec(), readable(next()));
                self.prepared.insert(name, text);
            }
            b'B' => {
                let (_portal, name) = (next(), next());
                self.bound = self.prepared.get(name).cloned().unwrap_or_default();
            }
            b'E' => self.asked.push(self.bound.clone()),
            b'Q' => self
                .asked
                .extend(readable(next()).split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty())),
            _ => {}
        }
    }

    /// Hears a frame of the server's; gives what has ended with it.
    fn answered(&mut self, kind: u8, body: &[u8]) -> Option<Unit> {
        match kind {
            b'C' => {
                let tag = readable(body.split(|byte| *byte == 0).next().unwrap_or_default());
                let writes = ["INSERT", "UPDATE", "DELETE"].iter().any(|word| tag.starts_with(word));
                self.unit.wrote |= writes && !tag.ends_with(" 0");
                let text = if self.asked.is_empty() { tag } else { self.asked.remove(0) };
                self.unit.statements.push(text);
                self.has_answered = true;
                None
            }
            b'Z' => {
                self.asked.clear();
                let counted = if std::mem::take(&mut self.has_answered) {
                    &mut self.unit.trips
                } else {
                    &mut self.unit.preparing
                };
                *counted += 1;
                self.is_over = body.first() == Some(&b'I');
                self.is_over.then(|| std::mem::take(&mut self.unit)).filter(|unit| unit.trips > 0)
            }
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        !self.asked.is_empty() || !self.unit.statements.is_empty()
    }
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}
