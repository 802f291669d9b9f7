//! The name servers of the comparison, each with the same zone on a port of 127.0.0.1: a zone flows in, a running process flows out.
//! The configurations are as plain as each server's own defaults allow; loadtest/README.md tells what is set and why. Called by
//! `throughput`.

use super::zone::{ORIGIN, Zone};
use crate::bench::free_addresses::free_addresses;
use crate::lab::Place;
use crate::programs::{Launch, Program};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Embedded,
    Knot,
    Bind,
}

/// A server that answers.
pub(super) struct Running {
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    process: u32,
    // Ends with the value.
    _program: Program,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::Embedded, Self::Knot, Self::Bind];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Knot => "Knot",
            Self::Bind => "BIND",
        }
    }

    /// Starts it and waits until it answers for the zone.
    pub(super) async fn start(self, zone: &Zone, directory: &Path) -> Result<Running> {
        let directory = directory.join(self.name());
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let [address] = free_addresses()?;
        let launch = match self {
            Self::Embedded => embedded(zone, address, &directory)?,
            Self::Knot => knot(zone, address, &directory)?,
            Self::Bind => bind(zone, address, &directory)?,
        };
        let mut program = launch.start(&directory)?;
        let query = zone.queries()?.into_iter().next().context("the zone has queries")?.octets;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        let deadline = Instant::now() + PATIENCE;
        let mut answer = [0; 2048];
        loop {
            program.check()?;
            // Refused while it does not listen yet.
            let _ = socket.send(&query);
            sleep(POLL).await;
            if socket.recv(&mut answer).is_ok() && answer[3] & 0x0f == 0 {
                break;
            }
            if Instant::now() > deadline {
                bail!("{} does not answer after {PATIENCE:?}; its log:\n{}", self.name(), program.tail(20));
            }
        }
        let process = program.id().context("the server has ended")?;
        Ok(Running { peer: self, address, process, _program: program })
    }
}

impl Running {
    pub(super) fn process(&self) -> u32 {
        self.process
    }
}

fn embedded(zone: &Zone, address: SocketAddr, directory: &Path) -> Result<Launch> {
    let manifests = directory.join("manifests");
    fs::create_dir_all(&manifests)?;
    let objects: Vec<String> = zone.objects().map(|object| format!("{object}\n")).collect();
    fs::write(manifests.join("endpoints.yaml"), objects.join("---\n"))?;
    let arguments = [
        "serve".to_owned(),
        format!("--zone={ORIGIN}"),
        format!("--listen={address}"),
        format!("--manifests={}", manifests.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Launch::new("nearside-dns-sync", "dns-sync", &Place::host(), &arguments)
}

fn knot(zone: &Zone, address: SocketAddr, directory: &Path) -> Result<Launch> {
    let path = directory.display();
    fs::write(directory.join("zone"), zone.file())?;
    fs::write(
        directory.join("knot.conf"),
        format!(
            "server:\n  rundir: \"{path}\"\n  listen: {}@{}\n  answer-rotation: on\ndatabase:\n  storage: \"{path}\"\n\
             log:\n  - target: stderr\n    any: warning\nzone:\n  - domain: {ORIGIN}\n    storage: \"{path}\"\n    file: \"zone\"\n",
            address.ip(),
            address.port()
        ),
    )?;
    foreign("/usr/sbin/knotd", "knotd", "knot", &["-c", &format!("{path}/knot.conf")])
}

fn bind(zone: &Zone, address: SocketAddr, directory: &Path) -> Result<Launch> {
    let path = directory.display();
    fs::write(directory.join("zone"), zone.file())?;
    fs::write(
        directory.join("named.conf"),
        format!(
            "options {{\n  directory \"{path}\";\n  pid-file \"{path}/named.pid\";\n  session-keyfile \"{path}/session.key\";\n  \
             listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  recursion no;\n  minimal-responses yes;\n  \
             dnssec-validation no;\n}};\ncontrols {{}};\nzone \"{ORIGIN}\" {{ type primary; file \"{path}/zone\"; }};\n",
            address.port(),
            address.ip()
        ),
    )?;
    foreign("/usr/sbin/named", "named", "bind9", &["-g", "-c", &format!("{path}/named.conf")])
}

fn foreign(path: &str, name: &str, package: &str, arguments: &[&str]) -> Result<Launch> {
    let path = PathBuf::from(path);
    if !path.is_file() {
        bail!("{} is missing: install the Debian package {package} (make test does)", path.display());
    }
    Ok(Launch {
        name: name.into(),
        path,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: Vec::new(),
        place: Place::host(),
    })
}

/// For a server to answer, or to answer otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
