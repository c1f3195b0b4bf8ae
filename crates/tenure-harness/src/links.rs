//! The links between the members of a cluster, which can be cut, held back and delayed.
//!
//! Each member has a door: an address that it advertises as its peer URL and that leads to where it listens. Who knocks the kernel
//! says (`socket.rs`), so every pair of members has a link of its own in each direction, although both directions share
//! connections: what a member sends is on its link whoever has dialed. Bytes pass as they are, TLS or not. Who is no member is let
//! through.

use crate::{process::ProcessId, socket};
use anyhow::{Context, Result};
use rand::RngExt;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Bytes that are read at once, and how many such pieces a link holds.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 64;

/// How a link treats what one member sends to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it passes.
    pub way: Way,
    /// How long it is under way at least.
    pub delay: Duration,
    /// How much longer it may be under way; order is kept.
    pub jitter: Duration,
}

/// Whether a link passes what is sent. Of several that hold for the same link the last one here counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// All of it.
    #[default]
    Open,
    /// Nothing, and nobody is told: a black hole. What was sent arrives when the link is open again, as TCP would send it again,
    /// unless somebody has hung up.
    Silent,
    /// Connections that the sender has made are reset, and so are new ones.
    Reset,
}

/// Something that was done to links, until it is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut(u64);

/// Everything that was done to links and not undone. What a link is follows from all of it.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    cuts: BTreeMap<Cut, (Vec<(usize, usize)>, Link)>,
}

impl Table {
    fn link(&self, from: usize, to: usize) -> Link {
        let here = self.cuts.values().filter(|(pairs, _)| pairs.contains(&(from, to)));
        here.fold(Link::default(), |all, (_, link)| Link {
            way: all.way.max(link.way),
            delay: all.delay + link.delay,
            jitter: all.jitter + link.jitter,
        })
    }
}

/// The doors of a cluster and the links between them. Dropping it closes all doors.
#[derive(Debug)]
pub struct Links {
    table: watch::Sender<Table>,
    /// Whose they are.
    doors: Arc<Mutex<Vec<ProcessId>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Default for Links {
    fn default() -> Self {
        Self { table: watch::Sender::new(Table::default()), doors: Arc::default(), tasks: Vec::new() }
    }
}

impl Links {
    /// Opens the door of the next member, which is `process` and listens for its peers at `target`. Returns the address to advertise.
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// No port is free, or the kernel does not say whose a connection is.
    pub fn open_door(&mut self, target: String, process: ProcessId) -> Result<SocketAddr> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("a door")?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        if let SocketAddr::V4(door) = address {
            socket::find(door, door).context("ask the kernel whose a connection is")?;
        }
        let to = {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors.push(process);
            doors.len() - 1
        };
        let porter = Porter { to, target, table: self.table.clone(), doors: self.doors.clone() };
        self.tasks.push(tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let porter = porter.clone();
                tokio::spawn(async move {
                    // An error is a connection that ended, which both ends see.
                    drop(porter.pass(socket).await);
                });
            }
        }));
        Ok(address)
    }

    fn others(&self, of: usize) -> Vec<usize> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).len();
        (0..doors).filter(|at| *at != of).collect()
    }

    /// Changes links, each given by sender and receiver, until the change is undone.
    pub fn change(&self, pairs: Vec<(usize, usize)>, link: Link) -> Cut {
        let mut cut = Cut(0);
        self.table.send_modify(|table| {
            cut = Cut(table.next);
            table.next += 1;
            table.cuts.insert(cut, (pairs, link));
        });
        cut
    }

    /// Cuts a member off from all others, in both directions.
    pub fn isolate(&self, at: usize, way: Way) -> Cut {
        self.change(self.across(&[at]), Link { way, ..Link::default() })
    }

    /// Parts some members from the rest: each side is silent to the other.
    pub fn split(&self, side: &[usize]) -> Cut {
        self.change(self.across(side), Link { way: Way::Silent, ..Link::default() })
    }

    /// Makes another split of one, in one moment.
    pub fn split_anew(&self, cut: Cut, side: &[usize]) {
        let pairs = self.across(side);
        self.table.send_modify(|table| {
            table.cuts.insert(cut, (pairs, Link { way: Way::Silent, ..Link::default() }));
        });
    }

    /// The links, in both directions, between some members and the rest.
    fn across(&self, side: &[usize]) -> Vec<(usize, usize)> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).len();
        let rest = (0..doors).filter(|at| !side.contains(at));
        rest.flat_map(|other| side.iter().flat_map(move |&at| [(at, other), (other, at)])).collect()
    }

    /// Cuts the link between two members, in both directions.
    pub fn part(&self, one: usize, other: usize, way: Way) -> Cut {
        self.change(vec![(one, other), (other, one)], Link { way, ..Link::default() })
    }

    /// Nobody hears what a member says; it hears everybody.
    pub fn mute(&self, at: usize) -> Cut {
        let pairs = self.others(at).into_iter().map(|other| (at, other)).collect();
        self.change(pairs, Link { way: Way::Silent, ..Link::default() })
    }

    /// A member hears nobody; everybody hears it.
    pub fn deafen(&self, at: usize) -> Cut {
        let pairs = self.others(at).into_iter().map(|other| (other, at)).collect();
        self.change(pairs, Link { way: Way::Silent, ..Link::default() })
    }

    /// Delays what everybody says by `delay` and up to `jitter` more.
    pub fn delay(&self, delay: Duration, jitter: Duration) -> Cut {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).len();
        let pairs = (0..doors).flat_map(|from| (0..doors).map(move |to| (from, to))).collect();
        self.change(pairs, Link { way: Way::Open, delay, jitter })
    }

    /// Undoes one change; what else was done to the same links still holds.
    pub fn undo(&self, cut: Cut) {
        self.table.send_modify(|table| drop(table.cuts.remove(&cut)));
    }

    /// All links are as they should be.
    pub fn restore(&self) {
        self.table.send_modify(|table| table.cuts.clear());
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Takes connections at one door.
#[derive(Clone, Debug)]
struct Porter {
    to: usize,
    target: String,
    table: watch::Sender<Table>,
    doors: Arc<Mutex<Vec<ProcessId>>>,
}

impl Porter {
    async fn pass(self, mut near: TcpStream) -> io::Result<()> {
        near.set_nodelay(true)?;
        let from = self.who(&near).await?;
        let mut wire = Wire { from, to: self.to, table: self.table.subscribe() };
        // Nobody takes a connection that comes through a black hole.
        wire.until_not(Way::Silent).await;
        let reset = wire.clone();
        let passing = async {
            let far = TcpStream::connect(&self.target).await?;
            far.set_nodelay(true)?;
            let (near_in, near_out) = near.split();
            let (far_in, far_out) = far.into_split();
            let back = Wire { from: from.map(|_| self.to), to: from.unwrap_or_default(), ..wire.clone() };
            tokio::select! {
                ended = pump(near_in, far_out, wire.clone(), back.clone()) => ended,
                ended = pump(far_in, near_out, back, wire) => ended,
            }
        };
        tokio::select! {
            ended = passing => return ended,
            () = reset.until(Way::Reset) => {}
        }
        // A reset, not an orderly end.
        near.set_zero_linger()
    }

    /// The member that has made a connection.
    async fn who(&self, near: &TcpStream) -> io::Result<Option<usize>> {
        let (SocketAddr::V4(caller), SocketAddr::V4(door)) = (near.peer_addr()?, near.local_addr()?) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut places: Vec<_> = doors.into_iter().enumerate().collect();
        // Who is reset dials again at once.
        places.sort_by_key(|(from, _)| self.table.borrow().link(*from, self.to).way != Way::Reset);
        let looking = tokio::task::spawn_blocking(move || {
            let Some(socket) = socket::find(caller, door)? else { return Ok(None) };
            let is_of = |process: &ProcessId| process.current().is_some_and(|id| socket.is_of(id));
            Ok(places.into_iter().find(|(_, process)| is_of(process)).map(|(place, _)| place))
        });
        looking.await?
    }
}

/// One direction of a connection.
#[derive(Clone, Debug)]
struct Wire {
    from: Option<usize>,
    to: usize,
    table: watch::Receiver<Table>,
}

impl Wire {
    fn of(&self, table: &Table) -> Link {
        self.from.map(|from| table.link(from, self.to)).unwrap_or_default()
    }

    fn link(&self) -> Link {
        self.of(&self.table.borrow())
    }

    async fn until(mut self, way: Way) {
        let wire = self.clone();
        if self.table.wait_for(|table| wire.of(table).way == way).await.is_err() {
            std::future::pending().await
        }
    }

    async fn until_not(&mut self, way: Way) {
        let wire = self.clone();
        // The links are gone: so is their cluster.
        drop(self.table.wait_for(|table| wire.of(table).way != way).await);
    }
}

/// Moves what comes in to the other side as `wire` has it. An end, or a side that does not take any more, travels like everything else.
async fn pump(
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    mut wire: Wire,
    mut back: Wire,
) -> io::Result<()> {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let reading_wire = wire.clone();
    let reading = async move {
        let (mut last, mut piece) = (Instant::now(), Vec::new());
        loop {
            piece.reserve(PIECE_BYTES);
            // An error ends the direction as an end of file does.
            if !matches!(input.read_buf(&mut piece).await, Ok(1..)) {
                return;
            }
            let Link { delay, jitter, .. } = reading_wire.link();
            let jitter = jitter.mul_f64(rand::rng().random::<f64>());
            last = last.max(Instant::now() + delay + jitter);
            if pieces.send((last, std::mem::take(&mut piece))).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            wire.until_not(Way::Silent).await;
            if output.write_all(&piece).await.is_err() {
                back.until_not(Way::Silent).await;
                return;
            }
        }
        wire.until_not(Way::Silent).await;
    };
    let reading = async {
        reading.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two members that answer everything with the same, and a connection that the first has made to the second.
    async fn pair() -> (Links, TcpStream) {
        let mut links = Links::default();
        let mut doors = Vec::new();
        // The first is this process, and makes connections; the second makes none.
        let first = ProcessId::default();
        first.set(std::process::id());
        for process in [first, ProcessId::default()] {
            let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
            doors.push(links.open_door(echo.local_addr().unwrap().to_string(), process).unwrap());
            tokio::spawn(async move {
                while let Ok((mut socket, _)) = echo.accept().await {
                    tokio::spawn(async move {
                        let (mut input, mut output) = socket.split();
                        drop(tokio::io::copy(&mut input, &mut output).await);
                    });
                }
            });
        }
        let mut stream = TcpStream::connect(doors[1]).await.unwrap();
        assert_eq!(echo(&mut stream).await.unwrap(), b'x');
        (links, stream)
    }

    async fn echo(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn a_black_hole_holds_back_one_direction_until_it_is_closed() {
        let (links, mut stream) = pair().await;
        for (from, to) in [(0, 1), (1, 0)] {
            links.change(vec![(from, to)], Link { way: Way::Silent, ..Link::default() });
            stream.write_all(b"y").await.unwrap();
            assert!(is_silent(&mut stream).await);
            links.restore();
            assert_eq!(stream.read_u8().await.unwrap(), b'y');
        }
        links.mute(1);
        assert!(tokio::time::timeout(Duration::from_millis(50), echo(&mut stream)).await.is_err());
    }

    #[tokio::test]
    async fn a_cut_resets_connections_old_and_new() {
        let (links, mut stream) = pair().await;
        links.part(0, 1, Way::Reset);
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn what_is_undone_leaves_what_else_was_done() {
        let (links, mut stream) = pair().await;
        let slow = Duration::from_millis(30);
        let (delay, split) = (links.delay(slow, Duration::ZERO), links.split(&[1]));
        let isolated = links.isolate(0, Way::Silent);
        stream.write_all(b"z").await.unwrap();
        links.undo(split);
        assert!(is_silent(&mut stream).await, "it is isolated");
        links.split_anew(isolated, &[0, 1]);
        assert_eq!(stream.read_u8().await.unwrap(), b'z', "both are on the same side");
        let begin = Instant::now();
        assert_eq!(echo(&mut stream).await.unwrap(), b'x');
        assert!(begin.elapsed() >= 2 * slow, "it is slow in both directions");
        links.undo(delay);
        assert_eq!(links.table.borrow().link(0, 1), Link::default());
    }

    #[tokio::test]
    async fn a_delay_takes_its_time_and_keeps_the_order() {
        let (links, mut stream) = pair().await;
        links.delay(Duration::from_millis(20), Duration::from_millis(20));
        let begin = Instant::now();
        for byte in 0..20 {
            stream.write_u8(byte).await.unwrap();
        }
        for byte in 0..20 {
            assert_eq!(stream.read_u8().await.unwrap(), byte);
        }
        assert!(begin.elapsed() >= Duration::from_millis(40));
    }
}
