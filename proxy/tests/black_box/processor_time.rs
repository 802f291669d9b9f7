//! A control group gives the proxy a tenth of a processor while its clients want much more: probes of its health are answered all the
//! same. As root on Linux, with control groups of version 1 or 2 that a test may make; elsewhere the test says so and passes.

use super::support::client::get_tls;
use super::support::manifests::on_both_ports;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_others_have_taken_the_processor() {
    let group = match Group::new() {
        Ok(group) => group,
        Err(why) => {
            let word = format!("SKIPPED: no control group for processor time: {why}\n");
            return drop(io::stderr().write_all(word.as_bytes()));
        }
    };
    let (_pod, address) = echo_pod("web-1");
    let (objects, ca) = on_both_ports(HOST, address);
    let ca = Arc::new(ca);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    group.take(proxy.process());
    let mut clients = JoinSet::new();
    let (http, https) = (proxy.http, proxy.https);
    for _ in 0..24 {
        clients.spawn(async move {
            loop {
                // Whether they are served in time is not what this is about.
                drop(ask_for_ever(http).await);
            }
        });
    }
    for _ in 0..8 {
        let ca = Arc::clone(&ca);
        clients.spawn(async move {
            loop {
                drop(timeout(Duration::from_secs(30), get_tls(https, &ca, HOST, "/")).await);
            }
        });
    }
    eventually("it wants more than it has", || async { (group.throttled() > 20).then_some(()) }).await;
    let before = group.throttled();
    for _ in 0..15 {
        for page in ["/healthz", "/healthz/ready"] {
            assert!(is_healthy(&proxy, page).await, "{page} says nothing three times in succession");
        }
    }
    assert!(group.throttled() > before, "the clients have not stopped");
}

/// As the kubelet probes: three times at most, a second each.
async fn is_healthy(proxy: &Proxy, page: &str) -> bool {
    for _ in 0..3 {
        if let Ok(reply) = timeout(Duration::from_secs(1), get(proxy.admin, "admin", page)).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
            return true;
        }
    }
    false
}

/// Asks on one connection for as long as it is open.
async fn ask_for_ever(address: std::net::SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = [0; 4096];
    loop {
        stream.write_all(format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// A control group that has a tenth of a processor. Gone with the value, after those in it have ended.
struct Group {
    directory: PathBuf,
}

impl Group {
    /// Makes it; the text says why there can be none.
    fn new() -> Result<Self, String> {
        let name = format!("nearside-test-{}", std::process::id());
        let (parent, quota) = if Path::new(V1).join("cpu.cfs_quota_us").exists() {
            (V1, [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "10000")].as_slice())
        } else if fs::read_to_string(Path::new(V2).join(CONTROLLERS)).is_ok_and(|all| all.contains("cpu")) {
            // Where it is on already this changes nothing.
            let on = fs::write(Path::new(V2).join("cgroup.subtree_control"), "+cpu");
            on.map_err(|error| format!("{V2}/cgroup.subtree_control: {error}"))?;
            (V2, [("cpu.max", "10000 100000")].as_slice())
        } else {
            return Err(format!("neither {V1} nor {V2}/{CONTROLLERS} has any"));
        };
        let directory = Path::new(parent).join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let group = Self { directory };
        for (file, value) in quota {
            let path = group.directory.join(file);
            fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(group)
    }

    /// Puts a process into it.
    fn take(&self, process: u32) {
        fs::write(self.directory.join("cgroup.procs"), process.to_string()).unwrap();
    }

    /// How often those in it had to wait for the next period.
    fn throttled(&self) -> u64 {
        let text = fs::read_to_string(self.directory.join("cpu.stat")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Fails while somebody is in it; whoever was has been waited for.
        drop(fs::remove_dir(&self.directory));
    }
}

const HOST: &str = "web.example.com";
const V1: &str = "/sys/fs/cgroup/cpu";
const V2: &str = "/sys/fs/cgroup";
const CONTROLLERS: &str = "cgroup.controllers";
