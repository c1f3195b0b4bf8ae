//! A wire that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on to a server, until told otherwise.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    target: String,
    /// Counts cuts: connections of an earlier count end.
    cuts: watch::Sender<u64>,
    /// New connections are closed at once.
    is_refusing: AtomicBool,
    /// Nothing passes any more, and nobody is told.
    is_silent: watch::Sender<bool>,
    /// What the server says is held back.
    is_mute: watch::Sender<bool>,
    /// Something of what the server says is held back.
    is_held: watch::Sender<bool>,
    /// How much of it may pass all the same.
    passes: Semaphore,
    /// Bytes from the server that still pass before the connection is cut.
    response_bytes_left: AtomicU64,
    accepted: AtomicU64,
    open: AtomicU64,
}

impl Proxy {
    /// A proxy to `target`, `127.0.0.1:PORT`.
    pub async fn to(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target: target.into(),
            cuts: watch::Sender::new(0),
            is_refusing: AtomicBool::new(false),
            is_silent: watch::Sender::new(false),
            is_mute: watch::Sender::new(false),
            is_held: watch::Sender::new(false),
            passes: Semaphore::new(0),
            response_bytes_left: AtomicU64::new(u64::MAX),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
        });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                if !serving.is_refusing.load(Ordering::SeqCst) {
                    serving.accepted.fetch_add(1, Ordering::SeqCst);
                    serving.open.fetch_add(1, Ordering::SeqCst);
                    let serving = serving.clone();
                    tokio::spawn(async move {
                        pass(serving.clone(), socket).await;
                        serving.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Proxy { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// `127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections. New ones are passed on.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|count| *count += 1);
    }

    /// Cuts all connections, and turns new ones away until [`Proxy::resume`].
    pub fn down(&self) {
        self.state.is_refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Lets nothing pass, in either direction, on old and new connections, until [`Proxy::resume`].
    pub fn silence(&self) {
        self.state.is_silent.send_replace(true);
    }

    /// Lets requests pass and holds back the answers, until [`Proxy::resume`]. With [`Proxy::cut`] they are lost.
    pub fn mute(&self) {
        self.state.passes.forget_permits(usize::MAX >> 4);
        self.state.is_held.send_replace(false);
        self.state.is_mute.send_replace(true);
    }

    /// Loses the answer to a request, and no other one: holds back what the server says, lets it pass bit by bit until
    /// `is_done` says that the request has been carried out, then cuts the wire. Comes back with the wire still mute.
    pub async fn lose_answer(&self, is_done: impl AsyncFnMut() -> bool) {
        self.hold_answer(is_done).await;
        self.cut();
    }

    /// As [`Proxy::lose_answer`], without the cut.
    pub async fn hold_answer(&self, mut is_done: impl AsyncFnMut() -> bool) {
        self.mute();
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < deadline, "the request is not carried out in time");
            let mut is_held = self.state.is_held.subscribe();
            let held = is_held.wait_for(|is_held| *is_held);
            // A request that no answer is told of may be carried out as well.
            let is_held = tokio::time::timeout(Duration::from_millis(5), held).await.is_ok();
            if is_done().await {
                return;
            }
            // What was held before it was known that the request is not carried out is not its answer.
            if is_held {
                self.state.is_held.send_replace(false);
                self.state.passes.add_permits(1);
            }
        }
    }

    /// Lets so many bytes from the server pass, then cuts the connection.
    pub fn cut_after(&self, response_bytes: u64) {
        self.state.response_bytes_left.store(response_bytes, Ordering::SeqCst);
    }

    /// Passes everything on again.
    pub fn resume(&self) {
        self.state.response_bytes_left.store(u64::MAX, Ordering::SeqCst);
        self.state.is_refusing.store(false, Ordering::SeqCst);
        self.state.is_silent.send_replace(false);
        self.state.is_mute.send_replace(false);
    }

    /// How many connections are open.
    pub fn open(&self) -> u64 {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How many connections were passed on so far.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

async fn pass(state: Arc<State>, client: TcpStream) {
    let mut cuts = state.cuts.subscribe();
    let passing = async {
        let Ok(server) = TcpStream::connect(&state.target).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
                ended(&state.is_silent).await;
                if to_server.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        let responses = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let Ok(read @ 1..) = from_server.read(&mut buffer).await else { return };
                ended(&state.is_silent).await;
                if *state.is_mute.borrow() {
                    state.is_held.send_replace(true);
                    tokio::select! {
                        () = ended(&state.is_mute) => {}
                        permit = state.passes.acquire() => permit.expect("it is never closed").forget(),
                    }
                }
                let left = state.response_bytes_left.load(Ordering::SeqCst);
                let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
                if left != u64::MAX {
                    state.response_bytes_left.fetch_sub(passed as u64, Ordering::SeqCst);
                }
                if to_client.write_all(&buffer[..passed]).await.is_err() || passed < read {
                    return;
                }
            }
        };
        tokio::select! {
            () = requests => {}
            () = responses => {}
        }
    };
    tokio::select! {
        // What was held back when the wire was cut is lost, even if it may pass by now.
        biased;
        _ = cuts.changed() => {}
        () = passing => {}
    }
}

/// Waits until that is over.
async fn ended(trouble: &watch::Sender<bool>) {
    // The sender is borrowed, so it is there.
    drop(trouble.subscribe().wait_for(|is_on| !is_on).await);
}
