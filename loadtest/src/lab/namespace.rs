//! One network namespace: a name under `/run/netns` and a thread that lives inside it. Work comes in as closures; what they
//! open (sockets, child processes) stays in the namespace although the rest of this process does not. Called by `lab::network`.

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// A network namespace that exists, and the way to do something inside it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Namespace {
    /// Enters a namespace that [`add`] made. Its thread ends with the last owner of the value.
    ///
    /// # Errors
    /// When the namespace cannot be opened or entered (no such name, or not root).
    pub fn enter(name: &str) -> Result<Self> {
        let path = format!("{DIRECTORY}/{name}");
        let link = File::open(&path).with_context(|| format!("network namespace {name}: cannot open {path}"))?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let (entered, outcome) = mpsc::channel();
        thread::Builder::new().name(name.rsplit('-').next().unwrap_or(name).to_owned()).spawn(move || {
            let moved = move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network));
            // Without the move every job would act on the host's own network.
            let stay = moved.is_ok();
            let _ = entered.send(moved);
            if stay {
                queue.into_iter().for_each(|job| job());
            }
        })?;
        outcome
            .recv()
            .context("the namespace's thread ended")?
            .with_context(|| format!("network namespace {name}: cannot enter; this needs root (CAP_SYS_ADMIN)"))?;
        Ok(Self { name: name.to_owned(), jobs })
    }

    /// The name that `ip netns exec NAME …` takes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `job` inside the namespace and waits for it; meant for calls that do not block.
    ///
    /// # Panics
    /// When the job panicked.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, outcome) = mpsc::channel();
        self.jobs
            .send(Box::new(move || drop(result.send(job()))))
            .expect("the thread lives as long as the namespace's value, unless a job panicked");
        outcome.recv().expect("a job inside the namespace does not panic")
    }

    /// Runs `ip -batch` inside the namespace, one command a line.
    ///
    /// # Errors
    /// With the first message of `ip`.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let commands = commands.to_owned();
        self.run(move || feed("ip", &["-batch", "-"], &commands)).with_context(|| format!("in namespace {}", self.name))
    }

    /// Loads an nftables ruleset inside the namespace.
    ///
    /// # Errors
    /// With the message of `nft`.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let rules = rules.to_owned();
        self.run(move || feed("nft", &["-f", "-"], &rules)).with_context(|| format!("in namespace {}", self.name))
    }

    /// Writes one setting below `/proc/sys/net`, which shows the namespace of whoever opens it.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, key: &str, value: &'static str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.run(move || fs::write(&path, value).with_context(|| format!("cannot write {value} to {path}")))
            .with_context(|| format!("in namespace {}", self.name))
    }
}

/// Makes empty namespaces, all in one call of `ip`.
///
/// # Errors
/// With the message of `ip`.
pub fn add<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let lines: String = names.into_iter().map(|name| format!("netns add {name}\n")).collect();
    feed("ip", &["-batch", "-"], &lines)
}

/// Removes namespaces; one that is gone already is not an error.
pub fn remove<'a>(names: impl IntoIterator<Item = &'a str>) {
    let lines: String = names.into_iter().map(|name| format!("netns del {name}\n")).collect();
    // What is missing is gone, which is all that is wanted here.
    let _ = feed("ip", &["-force", "-batch", "-"], &lines);
}

/// Runs `ip -batch` in the namespace of the caller, one command a line.
///
/// # Errors
/// With the first message of `ip`.
pub fn ip(commands: &str) -> Result<()> {
    feed("ip", &["-batch", "-"], commands)
}

/// The names of all namespaces of the lab that exist, with the process that made each.
#[must_use]
pub fn list() -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((owner(&name)?, name)))
        .collect()
}

/// Ends what a run that died left behind: its programs and its namespaces, known by the process id in the name.
pub fn remove_stale() {
    let stale: Vec<String> = list().into_iter().filter(|(pid, _)| !alive(*pid)).map(|(_, name)| name).collect();
    for name in &stale {
        let Ok(pids) = Command::new("ip").args(["netns", "pids", name]).output() else { continue };
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace().filter_map(|pid| pid.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
    if !stale.is_empty() {
        remove(stale.iter().map(String::as_str));
    }
}

/// The name of namespace `part` of network `serial` of this process.
pub(crate) fn name(serial: u32, part: &str) -> String {
    format!("{PREFIX}{}-{serial}-{part}", std::process::id())
}

/// The process id in a name of [`name`]'s making.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn alive(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(true)
}

/// Runs `program` with `input` on its standard input and fails with what it wrote to standard error.
fn feed(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`; is it installed?"))?;
    child.stdin.take().expect("standard input is piped").write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}`: {}\ninput was:\n{input}", arguments.join(" "), message.trim());
    }
    Ok(())
}

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "nearside-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        assert_eq!(owner(&name(3, "n1")), Some(std::process::id()));
        assert_eq!(owner("nearside-4711-0-client1"), Some(4711));
        assert_eq!(owner("cni-1234"), None);
        assert_eq!(owner("nearside-x-0"), None);
    }
}
