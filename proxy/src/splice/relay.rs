//! One direction of a transfer: fetches from the source what the sink has room for, and hands it over, until all is moved. The
//! sockets stay with the caller. A future that is dropped leaves nothing behind: what is on its way then is closed with its pipe.

use super::gathering::Gathering;
use super::pool::PipePool;
use super::room::{room, writable};
use super::vessel::{Asked, Vessel};
use crate::limits::TRANSFER_TURN;
use crate::rate::pace::Pace;
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

/// What is to be moved, and how long each side may keep still.
#[derive(Debug)]
pub(crate) struct Terms<'p> {
    /// How much.
    pub(crate) length: Length,
    /// How long the source may have nothing; `None` where somebody else watches over both sides while it has nothing.
    pub(crate) silence: Option<Duration>,
    /// How long the sink may take nothing of what it has not read yet.
    pub(crate) stall: Option<Duration>,
    /// How fast bytes may pass.
    pub(crate) pace: Option<&'p mut Pace>,
}

/// How much is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes; what follows them stays in the source.
    Exactly(u64),
    /// All until the source ends.
    UntilEnd,
}

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// The source broke.
    #[error("the source broke: {0}")]
    Source(#[source] io::Error),
    /// The source ended before everything was there.
    #[error("the source ended {missing} bytes early")]
    Truncated {
        /// What is missing.
        missing: u64,
    },
    /// The source had nothing.
    #[error("the source had nothing for {0:?}")]
    Silent(Duration),
    /// The sink broke.
    #[error("the sink broke: {0}")]
    Sink(#[source] io::Error),
    /// The sink took nothing.
    #[error("the sink took nothing for {0:?}")]
    Stalled(Duration),
}

/// One of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where bytes come from.
    Source,
    /// Where they go.
    Sink,
}

impl RelayError {
    /// Whose fault it is.
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::Source(_) | Self::Truncated { .. } | Self::Silent(_) => Side::Source,
            Self::Sink(_) | Self::Stalled(_) => Side::Sink,
        }
    }

    /// Whether it is that nothing moved for too long.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Stalled(_))
    }
}

/// Moves bytes, and gives their number. `moved` hears of each lot that the sink has taken, also where the end is an error.
///
/// # Errors
/// [`RelayError`]; the two sockets are not to be used any more then.
pub(crate) async fn relay(
    from: &TcpStream,
    to: &TcpStream,
    mut terms: Terms<'_>,
    pipes: &PipePool,
    mut moved: impl FnMut(u64),
) -> Result<u64, RelayError> {
    let (gathering, under_way) = (Gathering::new(from), pipes.begin());
    let mut transfer = Transfer { from, to, pipes, gathering, corked: false, unpiped: false };
    let (mut total, mut turn, mut lot) = (0, 0, 0);
    loop {
        let left = match terms.length {
            Length::Exactly(length) => length - total,
            Length::UntilEnd => u64::MAX,
        };
        if left == 0 {
            transfer.gathering.stop();
            return Ok(total);
        }
        // Whoever speaks through a tunnel may wait for the answer to the last few bytes; and where many move, lots are large by themselves.
        if terms.length != Length::UntilEnd && terms.pace.is_none() && under_way.is_one_of_few() {
            transfer.gathering.settle(lot, total, left);
        } else {
            transfer.gathering.stop();
        }
        let room = room(to, terms.stall).await?;
        let allowed = allowance(&mut terms.pace).await;
        let most = left.min(room).min(allowed);
        let Some(Lot { mut vessel, taken, full }) = transfer.fetch(most, terms.silence).await? else {
            return match terms.length {
                Length::UntilEnd => Ok(total),
                Length::Exactly(_) => Err(RelayError::Truncated { missing: left }),
            };
        };
        // Where less is there than there is room for, it is not known when more comes.
        let more = full && taken < left && allowed == u64::MAX;
        while vessel.held() > 0 {
            let given = transfer.give(&mut vessel, more, terms.stall).await?;
            total += given;
            moved(given);
        }
        drop(vessel);
        if let Some(pace) = &mut terms.pace {
            pace.spend(taken);
        }
        lot = taken;
        turn += taken;
        if turn >= TRANSFER_TURN {
            turn = 0;
            // Sockets that are always ready never wait, and the other tasks of the thread would.
            yield_now().await;
        }
    }
}

/// What was fetched at once.
struct Lot {
    vessel: Vessel,
    taken: u64,
    /// There was as much as was wanted.
    full: bool,
}

/// The two sockets, between two lots.
struct Transfer<'t> {
    from: &'t TcpStream,
    to: &'t TcpStream,
    pipes: &'t PipePool,
    gathering: Gathering<'t>,
    /// The kernel was told that more follows at once, and may hold back the last bytes.
    corked: bool,
    /// The kernel takes no bytes of this source into a pipe.
    unpiped: bool,
}

impl Transfer<'_> {
    /// Waits until the source has something, and takes it; `None` is the end of the source.
    async fn fetch(&mut self, most: u64, silence: Option<Duration>) -> Result<Option<Lot>, RelayError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut asked = Asked::WhenReady;
        loop {
            let mut vessel = if self.unpiped { Vessel::memory() } else { Vessel::new(self.pipes) };
            match vessel.fill(self.from, most, asked) {
                Ok(0) => return Ok(None),
                Ok(taken) => {
                    let full = taken == most.min(vessel.capacity());
                    return Ok(Some(Lot { vessel, taken: taken as u64, full }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(vessel);
                    self.uncork();
                    if asked == Asked::Anyway {
                        self.gathering.stop();
                    }
                    asked = self.readable(silence).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && !self.unpiped => self.unpiped = true,
                Err(error) => return Err(RelayError::Source(error)),
            }
        }
    }

    /// Hands over a part of what was fetched.
    async fn give(&mut self, vessel: &mut Vessel, more: bool, stall: Option<Duration>) -> Result<u64, RelayError> {
        loop {
            match vessel.empty(self.to, more) {
                Ok(0) => return Err(RelayError::Sink(io::ErrorKind::WriteZero.into())),
                Ok(given) => {
                    self.corked = more;
                    vessel.count(given, self.pipes.counts());
                    return Ok(given as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable(self.to, stall).await?,
                Err(error) => return Err(RelayError::Sink(error)),
            }
        }
    }

    /// What the kernel holds back is sent.
    fn uncork(&mut self) {
        if std::mem::take(&mut self.corked) {
            // Fails only on a socket that is gone already, and then the next write says so.
            drop(self.to.set_nodelay(true));
        }
    }

    async fn readable(&self, silence: Option<Duration>) -> Result<Asked, RelayError> {
        let gathering = self.gathering.patience();
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

/// Waits until bytes may pass, and tells how many.
async fn allowance(pace: &mut Option<&mut Pace>) -> u64 {
    let Some(pace) = pace else { return u64::MAX };
    loop {
        match pace.allowance(Instant::now()) {
            Ok(bytes) => return bytes,
            Err(wait) => sleep(wait).await,
        }
    }
}

/// `Err` holds the limit once it has passed.
pub(super) async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        Some(limit) => timeout(limit, future).await.map_err(|_| limit),
        None => Ok(future.await),
    }
}
