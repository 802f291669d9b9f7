//! Asks a name server over UDP from several sockets at once: prepared queries flow in, the number of right answers and their size
//! flow out. Either at a steady rate, or with so many queries on the way that the server never waits. Called by `throughput`.

use super::zone::Prepared;
use anyhow::{Context as _, Result, ensure};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Queries a second.
    Steady(u32),
    /// As many as are answered.
    Full,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub(super) right: u64,
    /// Octets of them.
    pub(super) octets: u64,
    /// Asked and not answered in time.
    pub(super) lost: u64,
}

/// Asks for `length`; blocks.
pub(super) fn ask(server: SocketAddr, queries: &[Prepared], pace: Pace, length: Duration) -> Result<Answers> {
    let asked: Vec<Result<Answers>> = thread::scope(|scope| {
        let socket = |number: usize| {
            let first = number * queries.len() / SOCKETS;
            scope.spawn(move || Asker::new(server, queries, first)?.run(pace, length))
        };
        // All are started before the first is waited for.
        let running: Vec<_> = (0..SOCKETS).map(socket).collect();
        running
            .into_iter()
            .map(|socket| socket.join().unwrap_or_else(|_| anyhow::bail!("a socket's thread died")))
            .collect()
    });
    asked.into_iter().try_fold(Answers::default(), |sum, one| {
        let one = one?;
        Ok(Answers { right: sum.right + one.right, octets: sum.octets + one.octets, lost: sum.lost + one.lost })
    })
}

/// One socket.
struct Asker<'a> {
    socket: UdpSocket,
    queries: &'a [Prepared],
    next: usize,
    sent: u64,
    answers: Answers,
}

impl<'a> Asker<'a> {
    fn new(server: SocketAddr, queries: &'a [Prepared], first: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, queries, next: first, sent: 0, answers: Answers::default() })
    }

    fn run(mut self, pace: Pace, length: Duration) -> Result<Answers> {
        let start = Instant::now();
        match pace {
            Pace::Steady(rate) => self.steadily(f64::from(rate) / SOCKETS as f64, start, length)?,
            Pace::Full => self.fully(start, length)?,
        }
        while self.sent > self.answers.right && self.receive()? {}
        self.answers.lost = self.sent - self.answers.right;
        Ok(self.answers)
    }

    fn steadily(&mut self, rate: f64, start: Instant, length: Duration) -> Result<()> {
        while start.elapsed() < length {
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            while self.sent < due {
                self.send()?;
            }
            thread::sleep(STEP);
            self.socket.set_nonblocking(true)?;
            while self.receive()? {}
            self.socket.set_nonblocking(false)?;
        }
        Ok(())
    }

    fn fully(&mut self, start: Instant, length: Duration) -> Result<()> {
        let mut lost = 0;
        while start.elapsed() < length {
            while self.sent - self.answers.right - lost < WINDOW {
                self.send()?;
            }
            if !self.receive()? {
                lost = self.sent - self.answers.right;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let query = &self.queries[self.next];
        self.next = (self.next + 1) % self.queries.len();
        self.socket.send(&query.octets).context("the name server's port is closed")?;
        self.sent += 1;
        Ok(())
    }

    /// Takes one answer; `false` when none came.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 2048];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(error) => return Err(error).context("the name server's port is closed"),
        };
        let answer = &buffer[..length];
        ensure!(length >= HEADER, "an answer of {length} octets");
        let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
        let query = self.queries.get(usize::from(word(0))).context("an answer to no query of ours")?;
        let code = answer[3] & 0x0f;
        let wanted = if query.answers > 0 { 0 } else { NXDOMAIN };
        ensure!(
            code == wanted && word(6) == query.answers,
            "query {}: response code {code} with {} answers, wanted {wanted} with {}",
            word(0),
            word(6),
            query.answers
        );
        self.answers.right += 1;
        self.answers.octets += length as u64;
        Ok(true)
    }
}

const SOCKETS: usize = 4;
/// Queries on the way for each socket; a server's receive buffer holds many more.
const WINDOW: u64 = 32;
const PATIENCE: Duration = Duration::from_millis(200);
/// Of a steady rate: a few queries at a time, as they come from many resolvers.
const STEP: Duration = Duration::from_micros(500);
const HEADER: usize = 12;
const NXDOMAIN: u8 = 3;
