//! Flags for two proxies on one node, of which one takes over from the other: raw text flows in, how ports are shared flows out.

use super::Mistakes;
use crate::handover::Place;
use clap::Args;
use nearside_admin::Probe;
use std::path::PathBuf;

/// The flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct PortArguments {
    /// Take connections beside another proxy of this node that does so, too (SO_REUSEPORT), as when one takes over from
    /// another; the admin port goes to the newest.
    #[arg(long, env = "NEARSIDE_SHARE_PORTS")]
    share_ports: bool,
    /// Take the listening sockets over from the proxy of this node that is at this Unix socket, tell it once this one is ready, and
    /// be there for the next one. With `@` in front it is a name of the network namespace, which needs no directory.
    #[arg(long, env = "NEARSIDE_HANDOVER_SOCKET", value_name = "PATH")]
    handover_socket: Option<String>,
    /// Serve the admin pages on this Unix socket as well, which is this proxy's alone.
    #[arg(long, env = "NEARSIDE_ADMIN_SOCKET", value_name = "PATH")]
    admin_socket: Option<String>,
    /// Do nothing but ask the proxy at `--admin-socket` whether it is `live` or `ready`; the exit code is 0 if it says so.
    #[arg(long, value_name = "WHAT")]
    probe: Option<String>,
}

/// How the ports of a node are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortSharing {
    /// Whether another proxy may have the same ports.
    pub(crate) shared: bool,
    /// Where the process before hands its sockets over, and where the next one asks for them.
    pub(crate) handover: Option<Place>,
    /// Where this one alone can be asked.
    pub(crate) socket: Option<PathBuf>,
}

impl PortArguments {
    pub(crate) fn check(&self, mistakes: &mut Mistakes) -> PortSharing {
        if self.probe.is_some() {
            // A probe ends before this is read, unless it stands behind something else.
            mistakes.add("probe", "goes with --admin-socket alone");
        }
        let handover = given(self.handover_socket.as_deref()).and_then(|text| {
            let place = Place::parse(text);
            place.map_err(|problem| mistakes.add("handover-socket", format!("{text:?} {problem}"))).ok()
        });
        PortSharing { shared: self.share_ports, handover, socket: self.socket() }
    }

    /// The probe that is asked for, with the socket where to ask, or why there cannot be one.
    pub(crate) fn probe(&self) -> Option<Result<(Probe, PathBuf), &'static str>> {
        let probe = match self.probe.as_deref()? {
            "live" => Probe::Live,
            "ready" => Probe::Ready,
            _ => return Some(Err("--probe: is one of live, ready")),
        };
        Some(self.socket().map(|socket| (probe, socket)).ok_or("--probe: needs --admin-socket beside it"))
    }

    fn socket(&self) -> Option<PathBuf> {
        given(self.admin_socket.as_deref()).map(PathBuf::from)
    }
}

impl PortSharing {
    /// Whether another proxy may be on this node at the same time.
    pub(crate) fn expects_another(&self) -> bool {
        self.shared || self.handover.is_some()
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
