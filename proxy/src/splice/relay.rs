//! One direction of a transfer: fetches from the source what the sink has room for, and hands it over, until all is moved. The
//! sockets stay with the caller. A future that is dropped leaves nothing behind: what is on its way then is closed with its pipe.

use super::pool::PipePool;
use super::room::room;
use super::sink::Sink;
use super::transfer::{Held, Patience, Transfer};
use crate::chunked::Malformed;
use crate::limits::TRANSFER_TURN;
use crate::rate::pace::Pace;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

/// What is to be moved, and how long each side may keep still.
#[derive(Debug)]
pub(crate) struct Terms<'p> {
    /// How much.
    pub(crate) length: Length,
    /// How long each side may keep still.
    pub(crate) patience: Patience,
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
    /// The source ended before the end of a body whose length is not known.
    #[error("the source ended before its last chunk")]
    Unended,
    /// The source sent what is no chunked coding.
    #[error("what the source sent: {0}")]
    Malformed(#[source] Malformed),
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
            Self::Source(_) | Self::Truncated { .. } | Self::Unended | Self::Malformed(_) | Self::Silent(_) => {
                Side::Source
            }
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
    to: impl Into<Sink<'_>>,
    terms: Terms<'_>,
    pipes: &PipePool,
    mut moved: impl FnMut(u64),
) -> Result<u64, RelayError> {
    let Terms { length, patience, mut pace } = terms;
    let mut transfer = Transfer::new(from, to.into(), patience, pipes);
    let (mut total, mut turn, mut lot) = (0, 0, 0);
    loop {
        let left = match length {
            Length::Exactly(length) => length - total,
            Length::UntilEnd => u64::MAX,
        };
        if left == 0 {
            transfer.gathering.stop();
            return Ok(total);
        }
        // Whoever speaks through a tunnel may wait for the answer to the last few bytes; and where many move, lots are large by themselves.
        if length != Length::UntilEnd && pace.is_none() && transfer.under_way.is_one_of_few() {
            transfer.gathering.settle(lot, total, left);
        } else {
            transfer.gathering.stop();
        }
        let room = room(transfer.to, transfer.patience.stall).await?;
        let allowed = allowance(&mut pace).await;
        let most = left.min(room).min(allowed);
        let Some(Held { mut vessel, taken, full }) = transfer.fetch(most).await? else {
            return match length {
                Length::UntilEnd => Ok(total),
                Length::Exactly(_) => Err(RelayError::Truncated { missing: left }),
            };
        };
        // Where less is there than there is room for, it is not known when more comes.
        let more = transfer.may_hold(full && taken < left && allowed == u64::MAX);
        while vessel.held() > 0 {
            let given = transfer.give(&mut vessel, more).await?;
            total += given;
            moved(given);
        }
        drop(vessel);
        if let Some(pace) = &mut pace {
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
