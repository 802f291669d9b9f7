//! `publish` on real name servers: BIND, Knot and PowerDNS, each with the same zones, and the program itself with a directory of
//! manifests. What somebody else does there is done with `nsupdate`. One module a topic.

mod between;
mod census;
mod guards;
mod names;
mod ownership;
mod pages;
mod replicas;
mod servers;
mod slow;

use crate::client::eventually;
use crate::program::{Program, command, put};
use nearside_loadtest::name_servers::{NameServer, Setup, Software, TsigKey, Zone, zone_text};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A directory for all files of a test, and the key that all servers know.
pub(crate) struct Stage {
    directory: TempDir,
    key: TsigKey,
}

/// What a zone of the file says beside its servers.
const NOTHING: &str = "";

impl Stage {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("objects")).unwrap();
        std::fs::create_dir(directory.path().join("state")).unwrap();
        let stage = Self { directory, key: TsigKey::new("nearside", "hmac-sha256", "one") };
        std::fs::write(stage.path("key.conf"), stage.key.clause()).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A server with `apps.test`, which has these records beside SOA and NS.
    pub(crate) fn server(&self, software: Software, records: &str) -> NameServer {
        self.server_of(software, &["apps.test"], records)
    }

    pub(crate) fn server_of(&self, software: Software, origins: &[&str], records: &str) -> NameServer {
        let zone = |origin: &&str| Zone::primary(origin, &zone_text(origin, records), &self.key);
        let setup = Setup { zones: origins.iter().map(zone).collect(), keys: vec![self.key.clone()] };
        NameServer::start(software, &setup).unwrap()
    }

    /// One of each, with the same zone.
    pub(crate) fn servers(&self, records: &str) -> Vec<NameServer> {
        Software::ALL.into_iter().map(|software| self.server(software, records)).collect()
    }

    /// Writes the file of a publisher.
    pub(crate) fn publication(&self, cluster: &str, zones: &[(&str, &[SocketAddr], &str)]) -> PathBuf {
        let mut text = format!("cluster: {cluster}\nstateDir: {}\nzones:\n", self.path("state").display());
        for (origin, servers, more) in zones {
            writeln!(text, "- zone: {origin}\n{more}  servers:").unwrap();
            for server in *servers {
                writeln!(text, "  - {{address: '{server}', keys: [{{file: '{}'}}]}}", self.path("key.conf").display())
                    .unwrap();
            }
        }
        let file = self.path(&format!("{cluster}.yaml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// The file for `apps.test` on these servers.
    pub(crate) fn apps(&self, servers: &[&NameServer]) -> PathBuf {
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address()).collect();
        self.publication("prod", &[("apps.test", &addresses, NOTHING)])
    }

    pub(crate) fn publish(&self, publication: &Path) -> Program {
        self.publish_from(publication, "objects")
    }

    pub(crate) fn publish_from(&self, publication: &Path, objects: &str) -> Program {
        Program::spawn(self.command("publish", publication, objects))
    }

    fn command(&self, name: &str, publication: &Path, objects: &str) -> Command {
        let mut command = command(&[name, "--config", publication.to_str().unwrap()]);
        command.arg("--manifests").arg(self.path(objects));
        command
    }

    /// Runs `plan`.
    pub(crate) fn plan(&self, publication: &Path) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command("plan", publication, "objects").output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// An object with records, in a file of its name.
    pub(crate) fn object(&self, name: &str, generation: u64, records: &[(&str, &str, &[&str])]) {
        self.object_in("objects", name, generation, records);
    }

    pub(crate) fn object_in(&self, folder: &str, name: &str, generation: u64, records: &[(&str, &str, &[&str])]) {
        let mut text = format!(
            "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\nmetadata:\n  name: {name}\n  namespace: router\n  \
             annotations: {{nearside.dev/gen: \"{generation}\"}}\nspec:\n  endpoints:\n"
        );
        for (host, record_type, targets) in records {
            let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
            let targets = targets.join(", ");
            writeln!(
                text,
                "  - {{dnsName: \"{host}\", recordType: {record_type}, recordTTL: 15, targets: [{targets}]}}"
            )
            .unwrap();
        }
        put(&self.path(folder), &format!("{name}.yaml"), &text);
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path("objects").join(format!("{name}.yaml"))).unwrap();
    }

    /// What somebody else changes on a server.
    pub(crate) fn nsupdate(&self, server: &NameServer, changes: &str) {
        let address = server.address();
        let script = format!("server {} {}\nzone apps.test\n{changes}\nsend\n", address.ip(), address.port());
        let mut nsupdate = Command::new("nsupdate")
            .arg("-k")
            .arg(self.path("key.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`nsupdate` can be started; it is in the Debian package bind9-dnsutils (make test installs it)");
        nsupdate.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = nsupdate.wait_with_output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", server.software());
    }
}

/// The records of a name and type at a server.
pub(crate) fn records(server: &NameServer, name: &str, record_type: &str) -> BTreeSet<String> {
    server.ask(name, record_type).map(|answer| answer.records).unwrap_or_default()
}

pub(crate) fn set(records: &[&str]) -> BTreeSet<String> {
    records.iter().map(|record| (*record).to_owned()).collect()
}

/// Waits until a server answers with exactly these.
pub(crate) fn await_records(server: &NameServer, name: &str, record_type: &str, wanted: &[&str]) {
    let what = format!("{}: {name} {record_type} {wanted:?}", server.software());
    eventually(&what, || records(server, name, record_type) == set(wanted));
}

/// Longer than a scan of a few names, or the first reading of a whole zone, takes.
pub(crate) fn within_a_scan(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !condition() {
        assert!(Instant::now() < deadline, "no scan has found it: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
