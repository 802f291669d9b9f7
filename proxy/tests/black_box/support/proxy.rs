//! The proxy as a process: started on free ports, read by its log, ended with the test.

use super::{Manifests, NODE, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    access_log: Arc<Mutex<Vec<String>>>,
    log: Arc<Mutex<Vec<String>>>,
    _manifests: Option<Manifests>,
}

impl Proxy {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(manifests: &Manifests, flags: &[&str]) -> Self {
        let allowed = ["--allow-endpoints=127.0.0.0/8"];
        Self::start_with(manifests, &[&allowed, flags].concat())
    }

    /// The same, with manifests that stay as they are until the proxy has ended.
    pub(crate) fn of(manifests: Manifests, flags: &[&str]) -> Self {
        let mut proxy = Self::start(&manifests, flags);
        proxy._manifests = Some(manifests);
        proxy
    }

    /// The same, without leave to ask pods at loopback addresses.
    pub(crate) fn start_with(manifests: &Manifests, flags: &[&str]) -> Self {
        Self::start_in(&[], manifests, flags)
    }

    /// The same in an environment.
    pub(crate) fn start_in(environment: &[(&str, &str)], manifests: &Manifests, flags: &[&str]) -> Self {
        let mut command = command(manifests, flags);
        command.envs(environment.iter().copied());
        if !flags.iter().any(|flag| flag.starts_with("--shutdown-delay")) {
            command.arg("--shutdown-delay=0s");
        }
        let mut child = command.args(flags).spawn().unwrap();
        let access_log = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::<Mutex<Vec<String>>>::default();
        drop(collect(child.stdout.take().unwrap(), Arc::clone(&access_log)));
        let events = collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let (mut http, mut https, mut admin) = (None, None, None);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match events.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    drop(child.kill());
                    panic!("the proxy does not get ready: {:#?}", log.lock().unwrap());
                }
            };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let address = event["address"].as_str().and_then(|address| address.parse().ok());
            match (event["message"].as_str(), event["scheme"].as_str()) {
                (Some("admin port open"), _) => admin = address,
                (Some("listening"), Some("http")) => http = address,
                (Some("listening"), Some("https")) => https = address,
                (Some("ready"), _) => break,
                _ => {}
            }
        }
        thread::spawn(move || events.iter().for_each(drop));
        Self {
            child,
            http: http.unwrap(),
            https: https.unwrap(),
            // One that another proxy still has is not told of yet.
            admin: admin.or_else(|| asked(flags, ADMIN)).unwrap(),
            access_log,
            log,
            _manifests: None,
        }
    }

    /// A page of the admin port: status and body.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let reply = super::get(self.admin, "admin", path).await;
        (reply.status, reply.text())
    }

    /// The sum of all series of this name whose labels contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let (_, text) = self.page("/metrics").await;
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (found, value) = rest.rsplit_once(' ')?;
            found.contains(labels).then(|| value.parse::<f64>().unwrap())
        });
        let values: Vec<f64> = series.collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The lines of the access log so far, as JSON.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        self.access_log.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of the access log so far, as they are.
    pub(crate) fn access_text(&self) -> Vec<String> {
        self.access_log.lock().unwrap().clone()
    }

    /// The line of the last request whose host is `host`, once it is written.
    pub(crate) async fn access_line(&self, host: &str) -> Value {
        let of_host = || self.access_log().into_iter().rfind(|line| line["host"] == host);
        super::eventually("the access log's line", || async { of_host() }).await
    }

    /// The lines of the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Reads neither log until the value is gone; their pipes run full.
    pub(crate) fn stop_reading(&self) -> Unread {
        let (access_log, log) = (Arc::clone(&self.access_log), Arc::clone(&self.log));
        let (end, ended) = channel();
        let (stopped, stands) = channel();
        thread::spawn(move || {
            // Who reads has nowhere to put a line.
            let held = (access_log.lock().unwrap(), log.lock().unwrap());
            stopped.send(()).unwrap();
            // The value is gone.
            let _ = ended.recv();
            drop(held);
        });
        stands.recv().unwrap();
        Unread { _end: end }
    }

    /// Memory that the process holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        super::eventually("the proxy ends", || {
            let status = self.child.try_wait().unwrap();
            async move { status }
        })
        .await
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// While it lives nobody reads the logs.
pub(crate) struct Unread {
    _end: Sender<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            // Not those of a proxy whose logs nobody reads on purpose.
            let lines = self.log.try_lock().map(|lines| lines.join("\n")).unwrap_or_default();
            let access = self.access_log.try_lock().map(|lines| lines.clone()).unwrap_or_default();
            let mut err = std::io::stderr();
            drop(std::io::Write::write_all(&mut err, format!("{lines}\n{}\n", access.join("\n")).as_bytes()));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program with the flags of every test; later flags are added to these, and addresses take the place of any free ones.
fn command(manifests: &Manifests, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    command.env_clear().arg("--manifests").arg(manifests.path());
    if !flags.iter().any(|flag| flag.starts_with("--node-name=")) {
        command.args(["--node-name", NODE]);
    }
    for port in ["--http-listen=", "--https-listen=", ADMIN] {
        if asked(flags, port).is_none() {
            command.arg(format!("{port}127.0.0.1:0"));
        }
    }
    // Who shuts itself in shows its descriptors to root alone.
    if !rustix::process::geteuid().is_root() && !flags.iter().any(|flag| flag.starts_with("--sandbox=")) {
        command.arg("--sandbox=false");
    }
    if std::env::var_os("NEARSIDE_REQUIRE_KERNEL_TLS").is_some()
        && !flags.iter().any(|flag| flag.starts_with("--kernel-tls"))
    {
        // However slow the kernel of such a test is.
        command.arg("--kernel-tls=always");
    }
    command.args(["--log-format=json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address that a flag asks for.
fn asked(flags: &[&str], flag: &str) -> Option<SocketAddr> {
    flags.iter().find_map(|given| given.strip_prefix(flag))?.parse().ok()
}

const ADMIN: &str = "--admin-listen=";

fn collect(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line.clone());
            // Nobody may be waiting for lines any more.
            drop(sender.send(line));
        }
    });
    receiver
}
