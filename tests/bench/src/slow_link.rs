//! A TCP proxy that makes loopback a link over a distance: a round trip, a speed a connection, and a speed in all.
//!
//! A connection costs a round trip before its first byte gets through, as a handshake does. Slow start and losses are
//! not imitated.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Result;

/// From here to there and back.
pub const ROUND_TRIP: Duration = Duration::from_millis(40);
/// Bytes a second towards the client, on one connection.
pub const EACH: u64 = 12_000_000;
/// Bytes a second towards the client, on all of them.
pub const ALL: u64 = 100_000_000;

/// As many bytes move at a time: on one connection, 2 ms of its speed.
const PIECE: usize = 24 << 10;
/// What a timer that comes late may make up for.
const LATE: Duration = Duration::from_millis(5);

/// The proxy: runs until it is dropped.
pub struct SlowLink {
    /// `127.0.0.1:PORT`
    pub host: String,
    _runtime: tokio::runtime::Runtime,
}

impl SlowLink {
    /// Listens on a free port of loopback, in front of `to`.
    pub fn start(to: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let host = listener.local_addr()?.to_string();
        let to = to.to_owned();
        runtime.spawn(async move {
            let all = Arc::new(Mutex::new(Pace::new(ALL)));
            while let Ok((client, _)) = listener.accept().await {
                let open = Instant::now() + ROUND_TRIP;
                let (to, all) = (to.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(to).await else { return };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (client_in, client_out) = client.into_split();
                    let (server_in, server_out) = server.into_split();
                    tokio::join!(
                        carry(client_in, server_out, open, None),
                        carry(server_in, client_out, open, Some(all)),
                    );
                });
            }
        });
        Ok(Self { host, _runtime: runtime })
    }
}

/// When the next byte may go at a certain speed.
struct Pace {
    speed: u64,
    next: Instant,
}

impl Pace {
    fn new(speed: u64) -> Self {
        Self { speed, next: Instant::now() }
    }

    /// Takes the time that `bytes` need; returns when it begins.
    fn take(&mut self, bytes: usize) -> Instant {
        let begin = self.next.max(Instant::now() - LATE);
        self.next = begin + Duration::from_secs_f64(bytes as f64 / self.speed as f64);
        begin
    }
}

/// Carries one direction, half a round trip late, not before `open`, and at the speeds where there is one for all.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    open: Instant,
    all: Option<Arc<Mutex<Pace>>>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let read = async move {
        let mut own = Pace::new(EACH);
        loop {
            let mut bytes = vec![0; PIECE];
            let Ok(count) = from.read(&mut bytes).await else { return };
            if count == 0 {
                return;
            }
            bytes.truncate(count);
            if let Some(all) = &all {
                // A place in the common queue is taken only when it is this connection's turn.
                sleep_until(own.take(count)).await;
                let turn = all.lock().unwrap_or_else(PoisonError::into_inner).take(count);
                sleep_until(turn).await;
            }
            let arrives = Instant::now().max(open) + ROUND_TRIP / 2;
            if sender.send((arrives, bytes)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrives, bytes)) = receiver.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
