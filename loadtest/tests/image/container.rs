//! Containers by runc, the runtime below containerd and CRI-O: an unpacked image, a program and its rights flow in, a running
//! process in a network of its own flows out. Ends with its value.

use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a process may beyond nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    None,
    /// As the chart gives them to the proxy: the capability, for a user that is not root.
    NetBindService,
    /// As container runtimes give them on a pod's own network: every port is open to every user.
    LowPorts,
}

impl Rights {
    /// Those that the chart gives a program.
    pub(crate) fn of(program: &str) -> Self {
        if program == "nearside-proxy" { Self::NetBindService } else { Self::None }
    }
}

/// A container.
pub(crate) struct Container {
    name: String,
    bundle: PathBuf,
    spec: Value,
    process: Option<Child>,
}

impl Container {
    /// Sets up a container of the image below `folder`, with a root that cannot be written.
    pub(crate) fn new(
        folder: &Path,
        program: &str,
        arguments: &[&str],
        rights: Rights,
        mounts: &[(&Path, &str)],
        environment: &[&str],
    ) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nearside-test-{}-{number}", std::process::id());
        let bundle = folder.join(&name);
        std::fs::create_dir(&bundle).unwrap();
        let capabilities = if rights == Rights::NetBindService { vec!["CAP_NET_BIND_SERVICE"] } else { vec![] };
        let program = format!("/usr/local/bin/{program}");
        let arguments: Vec<&str> = std::iter::once(program.as_str()).chain(arguments.iter().copied()).collect();
        let environment: Vec<&str> = ["PATH=/usr/local/bin"].iter().chain(environment).copied().collect();
        // As the kubelet makes an emptyDir: for every user.
        let own = bundle.join("run");
        std::fs::create_dir(&own).unwrap();
        std::fs::set_permissions(&own, Permissions::from_mode(0o777)).unwrap();
        let volume = json!({"destination": "/run/nearside", "type": "bind", "source": own, "options": ["bind", "nosuid", "nodev"]});
        let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
        let bound = mounts
            .iter()
            .map(|(from, to)| json!({"destination": to, "type": "bind", "source": from, "options": ["bind", "ro"]}));
        let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
        let mut linux = json!({ "namespaces": namespaces });
        let mounts: Vec<Value> = [proc, volume].into_iter().chain(bound).collect();
        if rights == Rights::LowPorts {
            linux["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "0"});
        }
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 65532, "gid": 65532},
                "args": arguments,
                "env": environment,
                "cwd": "/",
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
                "noNewPrivileges": true,
            },
            "root": {"path": folder.join("rootfs"), "readonly": true},
            "mounts": mounts,
            "linux": linux,
        });
        Self { name, bundle, spec, process: None }
    }

    /// Puts it into the network of another one that runs.
    pub(crate) fn join(&mut self, other: &Self) {
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        let network = namespaces.iter_mut().find(|namespace| namespace["type"] == "network").unwrap();
        network["path"] = json!(format!("/proc/{}/ns/net", other.pid()));
    }

    /// Runs it to its end: exit code, and everything it said.
    pub(crate) fn run(mut self) -> (Option<i32>, String) {
        self.launch();
        let status = self.process.as_mut().unwrap().wait().unwrap();
        (status.code(), self.log())
    }

    /// Starts it, and waits until it has a process.
    pub(crate) fn start(&mut self) {
        self.launch();
        super::eventually(self, "the container starts", || self.state()["status"] == "running");
    }

    fn launch(&mut self) {
        std::fs::write(self.bundle.join("config.json"), self.spec.to_string()).unwrap();
        let log = File::create(self.bundle.join("log")).unwrap();
        let mut runc = self.runc(&["run"]);
        runc.arg("--bundle").arg(&self.bundle).arg(&self.name);
        let child = runc.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.process = Some(child.expect("runc is installed (scripts/setup image)"));
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.bundle.join("log")).unwrap_or_default()
    }

    /// What the kernel says of its process.
    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap()
    }

    /// Runs a program of the container in it, as the kubelet runs a probe.
    pub(crate) fn inside(&self, command: &[&str]) -> (Option<i32>, String) {
        let output = self.runc(&["exec"]).arg(&self.name).args(command).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A program of this machine in the network of the container.
    pub(crate) fn beside(&self, command: &Command) -> Beside {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg(command.get_program()).args(command.get_args());
        entered.current_dir(&self.bundle).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Beside(Some(entered.spawn().unwrap()))
    }

    fn pid(&self) -> u64 {
        self.state()["pid"].as_u64().unwrap_or_else(|| panic!("it has ended: {}", self.log()))
    }

    fn state(&self) -> Value {
        let output = self.runc(&["state"]).arg(&self.name).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The runtime, with its own notes in the folder of the container.
    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.bundle.join("runc")).args(arguments);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.runc(&["delete", "--force"]).arg(&self.name).output());
        if let Some(process) = &mut self.process {
            drop(process.wait());
        }
    }
}

/// A process beside a container. Ends with its value.
pub(crate) struct Beside(Option<Child>);

impl Beside {
    /// Waits for its end.
    pub(crate) fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
