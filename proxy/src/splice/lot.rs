//! One lot of a transfer that somebody else drives, who has more to listen to than two sockets: a source flows in, what it has flows
//! out to a sink. Both calls may be dropped at any time and made again, and nothing is lost. Used for uploads.

use super::pool::PipePool;
use super::relay::RelayError;
use super::room::room;
use super::transfer::give;
use super::vessel::{Asked, Vessel};
use std::io;
use tokio::net::TcpStream;

/// Bytes on their way.
#[derive(Debug)]
pub(crate) struct Lot(Vessel);

impl Lot {
    /// Waits until the sink has room and the source has something, and takes at most `most` bytes of it.
    ///
    /// # Errors
    /// [`RelayError`]; a source that has ended is `Truncated`.
    pub(crate) async fn fetch(
        from: &TcpStream,
        to: &TcpStream,
        most: u64,
        pipes: &PipePool,
    ) -> Result<Self, RelayError> {
        let room = room(to, None).await?;
        let wanted = usize::try_from(most.min(room)).unwrap_or(usize::MAX);
        let mut unpiped = false;
        loop {
            match Vessel::of(from, wanted, Asked::WhenReady, pipes, &mut unpiped) {
                Ok(Some(vessel)) => return Ok(Self(vessel)),
                Ok(None) => return Err(RelayError::Truncated { missing: most }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    from.readable().await.map_err(RelayError::Source)?;
                }
                Err(error) => return Err(RelayError::Source(error)),
            }
        }
    }

    /// Bytes that the sink has not taken yet.
    pub(crate) fn left(&self) -> usize {
        self.0.held()
    }

    /// Gives the sink all of it. `more` says that more follows, and waits until there is room for it.
    ///
    /// # Errors
    /// The sink's.
    pub(crate) async fn give(&mut self, to: &TcpStream, more: bool, pipes: &PipePool) -> Result<(), RelayError> {
        while self.left() > 0 {
            // It is not known when the next lot comes, so nothing is to be held back for it.
            give(&mut self.0, to, false, None, pipes.counts()).await?;
        }
        if more {
            // A sink that takes nothing more is not to be taken for a source that has nothing.
            room(to, None).await?;
        }
        Ok(())
    }
}
