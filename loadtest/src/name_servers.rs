//! Real name servers for tests and measurements: zones, keys and rights flow in; a BIND, Knot or PowerDNS that answers for them
//! flows out, with its address. Called by tests of dns-sync, the lab and the benchmark. A server ends with its value.
//!
//! How each is set up is what an operator of it would do (`docs/dns.md`), and stands in its own module: [`bind`], [`knot`],
//! [`powerdns`]. Here it is started, watched and asked.

mod asking;
pub mod bind;
pub mod knot;
pub mod powerdns;

pub use asking::{Answer, ask};

use crate::lab::Place;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A name server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of the programs")]
pub enum Software {
    Bind,
    Knot,
    PowerDns,
}

/// What a server is to serve, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Its zones.
    pub zones: Vec<Zone>,
    /// The keys that it knows.
    pub keys: Vec<TsigKey>,
}

/// A zone of a server.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, without the last dot.
    pub origin: String,
    /// Where its records come from.
    pub source: Source,
    /// The names of the keys with which it can be updated: A, AAAA, CNAME, TXT and HTTPS anywhere in it.
    pub update: Vec<String>,
    /// The names of the keys with which it can be transferred.
    pub transfer: Vec<String>,
    /// Servers that are told of changes, and may transfer it with the first key of `transfer`.
    pub notify: Vec<SocketAddr>,
}

/// Where the records of a zone come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A zone file (RFC 1035 §5).
    File(String),
    /// Another server, asked with a key.
    Primary {
        /// The other server.
        address: SocketAddr,
        /// The name of the key.
        key: String,
    },
}

/// A TSIG key.
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// Its name.
    pub name: String,
    /// Its algorithm, such as `hmac-sha256`.
    pub algorithm: String,
    /// Its secret, in base64.
    pub secret: String,
}

/// A server that runs. Dropping it kills it.
#[derive(Debug)]
pub struct NameServer {
    software: Software,
    address: SocketAddr,
    place: Place,
    process: Child,
    directory: PathBuf,
    /// Keeps the directory where it was made here.
    own: Option<tempfile::TempDir>,
}

impl Software {
    /// All of them, for batteries that hold for each.
    pub const ALL: [Self; 3] = [Self::Bind, Self::Knot, Self::PowerDns];

    /// Writes the files of a server into a directory of its own and returns the command that runs it in the foreground. Whoever wants
    /// to start it otherwise than [`NameServer::start`] does uses this.
    ///
    /// # Errors
    /// When the files cannot be written, or the programs of the server are not there.
    pub fn command(self, setup: &Setup, place: &Place, address: SocketAddr, directory: &Path) -> Result<Command> {
        for zone in &setup.zones {
            if let Source::File(text) = &zone.source {
                let file = zone_file(directory, &zone.origin);
                // A server that is started again goes on with its own.
                if !file.exists() {
                    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
                }
            }
        }
        match self {
            Self::Bind => bind::command(setup, place, address, directory),
            Self::Knot => knot::command(setup, place, address, directory),
            Self::PowerDns => powerdns::command(setup, place, address, directory),
        }
    }
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "BIND",
            Self::Knot => "Knot",
            Self::PowerDns => "PowerDNS",
        })
    }
}

impl Zone {
    /// A primary zone that is updated and transferred with one key.
    #[must_use]
    pub fn primary(origin: &str, text: &str, key: &TsigKey) -> Self {
        let rights = vec![key.name.clone()];
        let source = Source::File(text.to_owned());
        Self { origin: origin.to_owned(), source, update: rights.clone(), transfer: rights, notify: Vec::new() }
    }

    /// A secondary zone that comes from another server with a key.
    #[must_use]
    pub fn secondary(origin: &str, primary: SocketAddr, key: &TsigKey) -> Self {
        let source = Source::Primary { address: primary, key: key.name.clone() };
        let transfer = vec![key.name.clone()];
        Self { origin: origin.to_owned(), source, update: Vec::new(), transfer, notify: Vec::new() }
    }
}

/// A zone file with nothing but SOA and NS, and more lines where some are given. Negative answers are kept for 5 s.
#[must_use]
pub fn zone_text(origin: &str, more: &str) -> String {
    format!(
        "$ORIGIN {origin}.\n$TTL 30\n@ 30 IN SOA ns1 hostmaster 1 3600 600 604800 5\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n{more}"
    )
}

impl TsigKey {
    /// A key with a secret that is the same for the same name and seed.
    #[must_use]
    pub fn new(name: &str, algorithm: &str, seed: &str) -> Self {
        use base64::Engine as _;
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("{name} {seed} of 32 octets or more"));
        Self { name: name.to_owned(), algorithm: algorithm.to_owned(), secret }
    }

    /// As `tsig-keygen` writes it and BIND reads it.
    #[must_use]
    pub fn clause(&self) -> String {
        let Self { name, algorithm, secret } = self;
        format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n")
    }
}

impl NameServer {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers for all of its primary zones.
    ///
    /// # Errors
    /// When it cannot be started, with what it said.
    pub fn start(software: Software, setup: &Setup) -> Result<Self> {
        Self::start_in(software, setup, &Place::host(), IpAddr::from([127, 0, 0, 1]))
    }

    /// The same in a place of the lab, at one of its addresses.
    ///
    /// # Errors
    /// See [`NameServer::start`].
    pub fn start_in(software: Software, setup: &Setup, place: &Place, ip: IpAddr) -> Result<Self> {
        let mut outcome = None;
        // A free port may be taken between finding and using it; then the server ends and another port is tried.
        for _ in 0..ATTEMPTS {
            let own = tempfile::tempdir()?;
            let address = free_address(place, ip)?;
            match Self::start_at(software, setup, place, address, own.path()) {
                Ok(mut server) => {
                    server.own = Some(own);
                    return Ok(server);
                }
                Err(error) => outcome = Some(error),
            }
        }
        outcome.map_or_else(|| bail!("{software} was not tried"), Err)
    }

    /// The same at a given address, with a directory that stays: a server that is started there again has what it had.
    ///
    /// # Errors
    /// See [`NameServer::start`].
    pub fn start_at(
        software: Software,
        setup: &Setup,
        place: &Place,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<Self> {
        let mut command = software.command(setup, place, address, directory)?;
        let log = File::options().create(true).append(true).open(directory.join(LOG))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {software}: make test installs it"))?;
        let (place, directory) = (place.clone(), directory.to_path_buf());
        let mut server = Self { software, address, place, process, directory, own: None };
        for zone in &setup.zones {
            if matches!(zone.source, Source::File(_)) {
                server.wait_for(&zone.origin)?;
            }
        }
        Ok(server)
    }

    /// What it is.
    #[must_use]
    pub fn software(&self) -> Software {
        self.software
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.directory.join(LOG)).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// Asks over TCP, as `dig +tcp +norecurse` does.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, name: &str, record_type: &str) -> Result<Answer> {
        ask(&self.place, self.address, name, record_type)
    }

    /// The serial of a zone.
    ///
    /// # Errors
    /// When it is not served.
    pub fn serial(&self, origin: &str) -> Result<u32> {
        let answer = self.ask(origin, "SOA")?;
        let soa = answer.records.first().with_context(|| format!("{} has no zone {origin}", self.software))?;
        soa.split(' ').nth(2).and_then(|serial| serial.parse().ok()).context("a SOA without a serial")
    }

    /// Stops it where it is, so that it takes connections and never answers; the kernel does the former.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it in order, so that it can be started again at its directory.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} did not end; it said:\n{}", self.software, self.log());
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // Gone already is what every signal sent here wants in the end.
            let _ = kill_process(pid, signal);
        }
    }

    fn wait_for(&mut self, origin: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = self.ask(origin, "SOA")
                && answer.authoritative
                && !answer.records.is_empty()
            {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}; it said:\n{}", self.software, self.log());
            }
            if Instant::now() > deadline {
                bail!("{} does not answer for {origin}; it said:\n{}", self.software, self.log());
            }
            sleep(POLL);
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // Best effort: whoever started it is done with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address of the place with a port that is free for TCP and UDP.
///
/// # Errors
/// When the place has no such address.
pub fn free_address(place: &Place, ip: IpAddr) -> Result<SocketAddr> {
    for _ in 0..ATTEMPTS {
        let tcp = place.tcp_listener(SocketAddr::new(ip, 0))?;
        let address = tcp.local_addr()?;
        if place.udp_socket(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {ip} is free")
}

/// Where the file of a zone is.
fn zone_file(directory: &Path, origin: &str) -> PathBuf {
    directory.join(format!("{origin}.zone"))
}

/// A program by its name: Debian keeps daemons where the PATH of a user does not lead.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut candidates = directories.map(|directory| directory.join(name));
    candidates.find(|path| path.is_file()).with_context(|| format!("{name} is missing; scripts/setup test installs it"))
}

const LOG: &str = "log";
const ATTEMPTS: usize = 10;
/// Longer than anything here takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
