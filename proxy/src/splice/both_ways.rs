//! Bytes both ways: two sockets flow in, the number of bytes each way and who failed flow out. Each side may end its half
//! first; silence both ways ends the connection, sooner once one side has ended.

use super::{Length, PipePool, Side, Terms};
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Bytes that were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) to_pod: u64,
    pub(crate) to_client: u64,
}

/// Why a relay ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelayError {
    /// Reading from or writing to the client failed.
    #[error("the client's connection failed")]
    Client,
    /// Reading from or writing to the pod failed.
    #[error("the pod's connection failed")]
    Pod,
    /// Nothing came from either side, or one side took nothing.
    #[error("nothing moved")]
    Idle,
}

impl RelayError {
    /// For the access log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Client => "client_failed",
            Self::Pod => "pod_failed",
            Self::Idle => "idle",
        }
    }
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// While both sides are open.
    pub(crate) tunnel: Duration,
    /// Once the pod has ended its side, and the client has not.
    pub(crate) client_fin: Duration,
    /// Once the client has ended its side, and the pod has not.
    pub(crate) server_fin: Duration,
    /// Of a side that takes nothing of what there is for it.
    pub(crate) stall: Duration,
}

/// Relays until both sides have ended.
///
/// # Errors
/// [`RelayError`] says which side is at fault; `moved` counts in either case.
pub(crate) async fn relay(
    client: &TcpStream,
    pod: &TcpStream,
    patience: &Patience,
    pipes: &PipePool,
    moved: &mut Moved,
) -> Result<(), RelayError> {
    let clock = Clock::new(patience.tunnel);
    let (to_pod, to_client) = (&mut moved.to_pod, &mut moved.to_client);
    let both = async {
        let up = async {
            carry(client, pod, &clock, patience.stall, pipes, to_pod)
                .await
                .map_err(|end| end.blame(RelayError::Client, RelayError::Pod))?;
            clock.hurry(patience.server_fin);
            Ok(())
        };
        let down = async {
            carry(pod, client, &clock, patience.stall, pipes, to_client)
                .await
                .map_err(|end| end.blame(RelayError::Pod, RelayError::Client))?;
            clock.hurry(patience.client_fin);
            Ok(())
        };
        tokio::try_join!(up, down).map(|_| ())
    };
    tokio::select! {
        result = both => result,
        () = clock.ran_out() => Err(RelayError::Idle),
    }
}

/// When a byte last moved either way, and how long none may.
struct Clock {
    state: Mutex<(Instant, Duration)>,
    sooner: Notify,
}

impl Clock {
    fn new(patience: Duration) -> Self {
        Self { state: Mutex::new((Instant::now(), patience)), sooner: Notify::new() }
    }

    fn touch(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = Instant::now();
    }

    /// From now on this is how long nothing may move, if it is less than before.
    fn hurry(&self, patience: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (Instant::now(), state.1.min(patience));
        self.sooner.notify_one();
    }

    fn end(&self) -> Instant {
        let (last, patience) = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        last + patience
    }

    async fn ran_out(&self) {
        loop {
            let end = self.end();
            if end <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(end) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

enum End {
    Read,
    Write,
    Stall,
}

impl End {
    fn blame(self, reader: RelayError, writer: RelayError) -> RelayError {
        match self {
            Self::Read => reader,
            Self::Write => writer,
            Self::Stall => RelayError::Idle,
        }
    }
}

impl From<super::RelayError> for End {
    fn from(error: super::RelayError) -> Self {
        match error.side() {
            _ if error.is_timeout() => Self::Stall,
            Side::Source => Self::Read,
            Side::Sink => Self::Write,
        }
    }
}

/// One direction, until its source has ended.
async fn carry(
    from: &TcpStream,
    to: &TcpStream,
    clock: &Clock,
    stall: Duration,
    pipes: &PipePool,
    moved: &mut u64,
) -> Result<(), End> {
    // The silence of one side alone is no fault; the clock watches over both.
    let patience = super::Patience { silence: None, stall: Some(stall) };
    let terms = Terms { length: Length::UntilEnd, patience, pace: None };
    let took = |bytes| {
        *moved += bytes;
        clock.touch();
    };
    super::relay(from, to, terms, pipes, took).await?;
    // The other side learns that nothing more comes; it may be gone already.
    SockRef::from(to).shutdown(Shutdown::Write).or_else(|error| not_connected(&error).then_some(()).ok_or(End::Write))
}

fn not_connected(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splice::SpliceCounts;
    use prometheus::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const PATIENCE: Patience = Patience {
        tunnel: Duration::from_secs(3600),
        client_fin: Duration::from_secs(10),
        server_fin: Duration::from_secs(20),
        stall: Duration::from_secs(60),
    };

    /// The clock stands while nothing waits for it; timers round up.
    const SLACK: Duration = Duration::from_secs(1);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    /// How long a relay lasts that was left alone after `prepare`, and how it ends.
    async fn lasts(prepare: impl AsyncFnOnce(&mut TcpStream, &mut TcpStream)) -> (Duration, Result<(), RelayError>) {
        let ((proxy_client, mut client), (proxy_pod, mut pod)) = (pair().await, pair().await);
        let mut moved = Moved::default();
        let pipes = PipePool::new(SpliceCounts::new(&Registry::new()).unwrap(), true);
        let relaying = relay(&proxy_client, &proxy_pod, &PATIENCE, &pipes, &mut moved);
        tokio::pin!(relaying);
        tokio::select! {
            result = &mut relaying => panic!("{result:?}"),
            () = prepare(&mut client, &mut pod) => {}
        }
        tokio::time::pause();
        let start = Instant::now();
        let result = relaying.await;
        let lasted = start.elapsed();
        tokio::time::resume();
        (lasted, result)
    }

    #[tokio::test]
    async fn a_tunnel_that_one_side_has_ended_is_not_waited_for_as_long() {
        let (open, end) = lasts(async |client, pod| {
            client.write_all(b"ping").await.unwrap();
            pod.read_exact(&mut [0; 4]).await.unwrap();
        })
        .await;
        assert_eq!(end, Err(RelayError::Idle));
        assert!(open > PATIENCE.tunnel - Duration::from_secs(60), "{open:?}");
        let (half, end) = lasts(async |client, pod| {
            client.shutdown().await.unwrap();
            assert_eq!(pod.read(&mut [0]).await.unwrap(), 0);
        })
        .await;
        assert_eq!(end, Err(RelayError::Idle));
        assert!(half <= PATIENCE.server_fin + SLACK && half > PATIENCE.client_fin + SLACK, "{half:?}");
        let (half, _) = lasts(async |client, pod| {
            pod.shutdown().await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        })
        .await;
        assert!(half <= PATIENCE.client_fin + SLACK, "{half:?}");
    }
}
