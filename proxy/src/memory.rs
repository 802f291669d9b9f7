//! How near the proxy is to the memory that it may take: readings flow in, how far what it serves is cut down flows out. Asked where
//! something is begun that takes memory; in this order, so that what is lost first is what matters least:
//!
//! 1. answers are not compressed any more, and new connections have small socket buffers;
//! 2. connections over HTTP/1 that wait for a request are closed;
//! 3. new connections wait, but for a few, so that nothing can shut the proxy for good.

mod pressure;
mod reading;

pub(crate) use pressure::Pressure;

use crate::limits::{CONNECTIONS_ALWAYS, MEMORY_LOOK, TIGHT_IDLE, TIGHT_SOCKET_BUFFER};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use reading::Account;
use socket2::SockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, sleep_until};

/// How much memory the proxy may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemoryLimit {
    /// As much as its container (cgroup v2), where that has a limit.
    OfContainer,
    /// So many bytes.
    Bytes(u64),
    /// As much as there is.
    #[default]
    None,
}

/// See the module. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pressure: watch::Sender<Pressure>,
    shed: IntCounterVec,
    used: IntGauge,
    limit: IntGauge,
    level: IntGauge,
}

/// What was cut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// An answer was not compressed.
    Compression,
    /// A connection has small socket buffers.
    Buffers,
    /// A connection that waited for a request was closed.
    Idle,
    /// A new connection waited.
    Connection,
}

impl Shed {
    fn name(self) -> &'static str {
        match self {
            Self::Compression => "compression",
            Self::Buffers => "buffers",
            Self::Idle => "idle",
            Self::Connection => "connection",
        }
    }
}

impl Memory {
    /// Looks at it from now on, where there is a limit.
    ///
    /// # Errors
    /// Prometheus', if two series of the registry have one name.
    pub(crate) fn watched(limit: MemoryLimit, registry: &Registry) -> prometheus::Result<Self> {
        let memory = Self(Arc::new(Inner {
            pressure: watch::Sender::new(Pressure::None),
            shed: IntCounterVec::new(
                Opts::new("nearside_memory_shed_total", "What was cut down for want of memory."),
                &["what"],
            )?,
            used: IntGauge::new("nearside_memory_bytes", "Memory that counts towards the limit; 0 without one.")?,
            limit: IntGauge::new("nearside_memory_limit_bytes", "Memory that the proxy may take; 0 for no limit.")?,
            level: IntGauge::new("nearside_memory_pressure", "How far what is served is cut down, from 0 to 3.")?,
        }));
        let Inner { shed, used, limit: most, level, .. } = &*memory.0;
        registry.register(Box::new(shed.clone()))?;
        registry.register(Box::new(used.clone()))?;
        registry.register(Box::new(most.clone()))?;
        registry.register(Box::new(level.clone()))?;
        if let Some(account) = Account::of(limit) {
            memory.look(&account);
            tokio::spawn(memory.clone().follow(account));
        }
        Ok(memory)
    }

    async fn follow(self, account: Account) {
        let mut looks = interval(MEMORY_LOOK);
        loop {
            looks.tick().await;
            self.look(&account);
        }
    }

    fn look(&self, account: &Account) {
        let Some(used) = account.used() else { return };
        let Inner { pressure, used: shown, limit, level, .. } = &*self.0;
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        shown.set(gauge(used));
        limit.set(gauge(account.limit));
        let now = pressure.borrow().next(used, account.limit);
        level.set(now.level());
        let before = pressure.send_replace(now);
        if before != now {
            tracing::warn!(used, limit = account.limit, level = now.level(), "memory pressure has changed");
        }
    }

    /// How far what is served is cut down at present.
    pub(crate) fn pressure(&self) -> Pressure {
        *self.0.pressure.borrow()
    }

    /// Notes it.
    pub(crate) fn shed(&self, what: Shed) {
        self.0.shed.with_label_values(&[what.name()]).inc();
    }

    /// Whether an answer may be compressed.
    pub(crate) fn compresses(&self) -> bool {
        let roomy = self.pressure() < Pressure::Buffers;
        if !roomy {
            self.shed(Shed::Compression);
        }
        roomy
    }

    /// Gives a new connection small buffers in the kernel if need be.
    pub(crate) fn fit(&self, socket: &TcpStream) {
        if self.pressure() >= Pressure::Buffers {
            self.shed(Shed::Buffers);
            let socket = SockRef::from(socket);
            // The kernel's own choice does as well.
            drop(socket.set_send_buffer_size(TIGHT_SOCKET_BUFFER));
            drop(socket.set_recv_buffer_size(TIGHT_SOCKET_BUFFER));
        }
    }

    /// Returns once a connection has waited for a request for longer than it may; it has since this time.
    pub(crate) async fn idled(&self, since: Instant) {
        // The sender lives as long as this value.
        drop(self.0.pressure.subscribe().wait_for(|pressure| *pressure >= Pressure::Idle).await);
        sleep_until(since + TIGHT_IDLE).await;
        self.shed(Shed::Idle);
    }

    /// Waits until there is room for a new connection; `open` tells how many there are.
    pub(crate) async fn room(&self, open: impl Fn() -> usize) {
        let mut noted = false;
        while self.pressure() == Pressure::Full && open() > CONNECTIONS_ALWAYS {
            if !std::mem::replace(&mut noted, true) {
                self.shed(Shed::Connection);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
