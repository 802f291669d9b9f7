//! Two sockets between which bytes move: what the source has flows into a vessel, what the vessel holds flows out to the sink, and
//! each side is waited for no longer than it may keep still. Used by `relay` and `chunks`, which say how much and in which form, and step by step by `lot`.

use super::counts::SpliceCounts;
use super::gathering::Gathering;
use super::pool::{PipePool, UnderWay};
use super::relay::{RelayError, within};
use super::room::writable;
use super::sink::Sink;
use super::vessel::{Asked, Vessel};
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How long each side may keep still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long the source may have nothing; `None` where somebody else watches over both sides while it has nothing.
    pub(crate) silence: Option<Duration>,
    /// How long the sink may take nothing of what it has not read yet.
    pub(crate) stall: Option<Duration>,
}

/// The two sockets, between two lots.
pub(super) struct Transfer<'t> {
    pub(super) from: &'t TcpStream,
    pub(super) to: &'t TcpStream,
    /// See [`Sink`].
    pub(super) sealed: bool,
    pub(super) pipes: &'t PipePool,
    pub(super) patience: Patience,
    pub(super) gathering: Gathering<'t>,
    pub(super) under_way: UnderWay,
    /// The kernel was told that more follows at once, and may hold back the last bytes.
    pub(super) corked: bool,
    /// The kernel takes no bytes of this source into a pipe.
    unpiped: bool,
}

/// What a source had.
pub(super) enum Fetched {
    /// Something.
    Lot(Held),
    /// Nothing now.
    Nothing,
    /// Its end.
    End,
}

/// What was fetched at once.
pub(super) struct Held {
    pub(super) vessel: Vessel,
    pub(super) taken: u64,
    /// There was as much as was wanted.
    pub(super) full: bool,
}

impl<'t> Transfer<'t> {
    /// Between two sockets of which nobody else makes use.
    pub(super) fn new(from: &'t TcpStream, to: Sink<'t>, patience: Patience, pipes: &'t PipePool) -> Self {
        let (gathering, under_way) = (Gathering::new(from), pipes.begin());
        let Sink { socket: to, sealed } = to;
        Self { from, to, sealed, pipes, patience, gathering, under_way, corked: false, unpiped: false }
    }

    /// Waits until the source has something, and takes it; `None` is the end of the source.
    pub(super) async fn fetch(&mut self, most: u64) -> Result<Option<Held>, RelayError> {
        let mut asked = Asked::WhenReady;
        loop {
            match self.try_fetch(most, asked)? {
                Fetched::Lot(held) => return Ok(Some(held)),
                Fetched::End => return Ok(None),
                Fetched::Nothing => {
                    self.uncork();
                    if asked == Asked::Anyway {
                        self.gathering.stop();
                    }
                    asked = self.readable().await?;
                }
            }
        }
    }

    /// Takes what the source has.
    pub(super) fn try_fetch(&mut self, most: u64, asked: Asked) -> Result<Fetched, RelayError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match Vessel::of(self.from, most, asked, self.pipes, &mut self.unpiped) {
            Ok(Some(vessel)) => {
                let taken = vessel.held();
                let full = taken == most.min(vessel.capacity());
                Ok(Fetched::Lot(Held { vessel, taken: taken as u64, full }))
            }
            Ok(None) => Ok(Fetched::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Fetched::Nothing),
            Err(error) => Err(RelayError::Source(error)),
        }
    }

    /// Hands over a part of what was fetched.
    pub(super) async fn give(&mut self, vessel: &mut Vessel, more: bool) -> Result<u64, RelayError> {
        let given = give(vessel, self.to, more, self.patience.stall, self.pipes.counts()).await?;
        self.corked = more;
        Ok(given)
    }

    /// Whether the kernel may hold back what goes out because more follows, where it is not certain that it does.
    pub(super) fn may_hold(&self, more: bool) -> bool {
        more && !self.sealed
    }

    /// What the kernel holds back is sent.
    pub(super) fn uncork(&mut self) {
        if std::mem::take(&mut self.corked) {
            // Fails only on a socket that is gone already, and then the next write says so.
            drop(self.to.set_nodelay(true));
        }
    }

    /// Waits until the source has something, or may be asked whatever it has.
    pub(super) async fn readable(&self) -> Result<Asked, RelayError> {
        let (silence, gathering) = (self.patience.silence, self.gathering.patience());
        if silence.is_none() && gathering.is_none() {
            // Whoever has taken everything and left is noticed, if at all, by those who watch.
            return self.from.readable().await.map(|()| Asked::WhenReady).map_err(RelayError::Source);
        }
        let either = async {
            tokio::select! {
                biased;
                ready = self.from.readable() => ready.map_err(RelayError::Source),
                // A sink that is gone is not waited for, however long the source is silent.
                broken = self.to.ready(Interest::ERROR) => Err(RelayError::Sink(self.fault(broken.err()))),
            }
        };
        match (within(gathering.or(silence), either).await, gathering) {
            (Ok(ready), _) => ready.map(|()| Asked::WhenReady),
            (Err(_), Some(_)) => Ok(Asked::Anyway),
            (Err(silence), None) => Err(RelayError::Silent(silence)),
        }
    }

    fn fault(&self, error: Option<io::Error>) -> io::Error {
        error.or_else(|| self.to.take_error().ok().flatten()).unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

/// Hands over a part of what a vessel holds, and gives its bytes. May be dropped at any time, and nothing is lost. `more` says that more
/// follows at once.
pub(super) async fn give(
    vessel: &mut Vessel,
    to: &TcpStream,
    more: bool,
    stall: Option<Duration>,
    counts: &SpliceCounts,
) -> Result<u64, RelayError> {
    loop {
        match vessel.empty(to, more) {
            Ok(0) => return Err(RelayError::Sink(io::ErrorKind::WriteZero.into())),
            Ok(given) => {
                let counted = if vessel.is_pipe() { &counts.spliced } else { &counts.copied };
                counted.inc_by(given as u64);
                return Ok(given as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable(to, stall).await?,
            Err(error) => return Err(RelayError::Sink(error)),
        }
    }
}
