//! The program itself: started with flags and a directory of manifests, watched through its sockets, its log and its
//! exit code.

use crate::client::{PATIENCE, TcpClient, addresses, dig, eventually, ips, query, tcp, udp};
use crate::secondaries::{key, now, transfer};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use nearside_dns_sync::wire::exchange::Request;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub(crate) struct Program {
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Best effort: the test is over either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearside-dns-sync"));
    // Nothing of the surroundings may reach the program.
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts `serve` for apps.test on free ports of 127.0.0.1, with an admin port.
    fn start(manifests: &Path) -> Self {
        let manifests = manifests.to_str().unwrap();
        let zone = ["serve", "--manifests", manifests, "--zone", "apps.test"];
        let sockets = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        Self::spawn(command(&[&zone[..], &sockets[..]].concat()))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { process, log }
    }

    pub(crate) fn logged(&self, text: &str) -> Option<String> {
        self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
    }

    /// Whether a line has all these texts.
    pub(crate) fn logged_with(&self, texts: &[&str]) -> bool {
        self.log.lock().unwrap().iter().any(|line| texts.iter().all(|text| line.contains(text)))
    }

    /// The address after `address=` in the first log line with the text.
    pub(crate) fn address(&self, text: &str) -> SocketAddr {
        eventually(text, || self.logged(text).is_some());
        let line = self.logged(text).unwrap();
        line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    fn server(&self) -> SocketAddr {
        self.address("answering queries")
    }

    /// The status line and body of an admin page.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.address("admin port open"), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the program does not end");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn endpoint(name: &str, record_type: &str, targets: &[&str]) -> String {
    format!(
        "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\nmetadata:\n  name: {}\n  namespace: router\nspec:\n  \
         endpoints:\n  - dnsName: \"{name}\"\n    recordType: {record_type}\n    recordTTL: 15\n    targets: [{}]\n",
        name.replace(['.', '*'], "-").trim_start_matches('-'),
        targets.iter().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", ")
    )
}

/// Puts a file in place whole, as an editor or a controller does.
pub(crate) fn put(directory: &Path, file: &str, text: &str) {
    let new = directory.join(format!(".{file}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, directory.join(file)).unwrap();
}

fn serial(server: SocketAddr) -> u32 {
    let answer = udp(server, &query("apps.test.", RecordType::SOA, None));
    match &answer.answers[0].data {
        RData::SOA(soa) => soa.serial,
        other => panic!("{other}"),
    }
}

#[test]
fn answers_follow_the_manifests() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "video.yaml", &endpoint("video.apps.test", "A", &["192.0.2.1", "192.0.2.2"]));
    let mut program = Program::start(directory.path());
    let server = program.server();
    let ask = || udp(server, &query("video.apps.test.", RecordType::A, None));
    assert_eq!(addresses(&ask()), ips(["192.0.2.1", "192.0.2.2"]));
    assert_eq!(ask().answers[0].ttl, 15);
    let first = serial(server);

    put(directory.path(), "video.yaml", &endpoint("video.apps.test", "A", &["192.0.2.3"]));
    eventually("the new address is answered", || addresses(&ask()) == ips(["192.0.2.3"]));
    let second = serial(server);
    assert!(second.wrapping_sub(first) < 1 << 31 && second != first, "{first} then {second}");
    assert_eq!(addresses(&tcp(server, &query("video.apps.test.", RecordType::A, None))), ips(["192.0.2.3"]));

    put(directory.path(), "wild.yaml", &endpoint("*.apps.test", "A", &["192.0.2.9"]));
    let other = query("other.apps.test.", RecordType::A, None);
    eventually("the wildcard is answered", || addresses(&udp(server, &other)) == ips(["192.0.2.9"]));
    assert!(dig(server, &["+short", "other.apps.test", "A"]).contains("192.0.2.9"));

    std::fs::remove_file(directory.path().join("wild.yaml")).unwrap();
    eventually("the wildcard is gone", || udp(server, &other).metadata.response_code == ResponseCode::NXDomain);
    assert_eq!(addresses(&ask()), ips(["192.0.2.3"]));
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn a_bad_object_is_named_and_costs_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "good.yaml", &endpoint("good.apps.test", "A", &["192.0.2.1"]));
    put(directory.path(), "family.yaml", &endpoint("family.apps.test", "A", &["2001:db8::1"]));
    put(directory.path(), "outside.yaml", &endpoint("outside.example.com", "A", &["192.0.2.1"]));
    put(directory.path(), "kind.yaml", &endpoint("mail.apps.test", "MX", &["10 mail.apps.test"]));
    put(directory.path(), "cut.yaml", &endpoint("cut.apps.test", "A", &["192.0.2.1"])[..120]);
    let program = Program::start(directory.path());
    let server = program.server();
    assert_eq!(addresses(&udp(server, &query("good.apps.test.", RecordType::A, None))), ips(["192.0.2.1"]));
    for name in ["family", "mail"] {
        let answer = udp(server, &query(&format!("{name}.apps.test."), RecordType::A, None));
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name}");
    }
    for line in [
        "DNSEndpoint router/family-apps-test: spec.endpoints[0].targets[0]: \"2001:db8::1\" is not an IPv4 address",
        "DNSEndpoint router/outside-example-com: spec.endpoints[0].dnsName: \"outside.example.com\" is in none of the served",
        "DNSEndpoint router/mail-apps-test: spec.endpoints[0].recordType: record type \"MX\" is not supported",
        "cut.yaml",
    ] {
        eventually(line, || program.logged(line).is_some());
    }
    put(directory.path(), "family.yaml", &endpoint("family.apps.test", "AAAA", &["2001:db8::1"]));
    let mended = query("family.apps.test.", RecordType::AAAA, None);
    eventually("the mended object is served", || addresses(&udp(server, &mended)) == ips(["2001:db8::1"]));
    // Still there: the object of another zone and the type that is not supported.
    eventually("the count follows", || program.page("/metrics").contains("\nnearside_dns_rejected_endpoints 2\n"));
}

#[test]
fn the_admin_port_tells_readiness_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "video.yaml", &endpoint("video.apps.test", "A", &["192.0.2.1"]));
    let program = Program::start(directory.path());
    let server = program.server();
    eventually("ready", || program.page("/healthz/ready").starts_with("HTTP/1.1 200"));
    udp(server, &query("video.apps.test.", RecordType::A, None));
    tcp(server, &query("gone.apps.test.", RecordType::AAAA, None));
    let metrics = program.page("/metrics");
    let zone_serial = format!("nearside_dns_zone_serial{{zone=\"apps.test\"}} {}", serial(server));
    for series in [
        "nearside_dns_queries_total{protocol=\"tcp\",qtype=\"AAAA\",rcode=\"NXDOMAIN\"} 1",
        "nearside_dns_zone_names{zone=\"apps.test\"} 3",
        zone_serial.as_str(),
        "nearside_dns_rejected_endpoints 0",
        "nearside_dns_truncated_total 0",
        "nearside_dns_tcp_connections ",
    ] {
        assert!(metrics.contains(series), "{series} not in {metrics}");
    }
}

#[test]
fn a_zone_is_fetched_with_the_key_of_a_file_and_the_secondary_is_told() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "a.yaml", &endpoint("a.apps.test", "A", &["192.0.2.1"]));
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("transfer.key");
    let clause = |name: &str| format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"c2VjcmV0\"; }};\n");
    std::fs::write(&file, clause("one")).unwrap();
    let secondary = UdpSocket::bind("127.0.0.1:0").unwrap();
    secondary.set_read_timeout(Some(PATIENCE)).unwrap();
    let (manifests, told) = (directory.path().to_str().unwrap(), secondary.local_addr().unwrap().to_string());
    let mut arguments = vec!["serve", "--manifests", manifests, "--zone", "apps.test", "--listen", "127.0.0.1:0"];
    arguments.extend(["--secondary", &told, "--transfer-key", file.to_str().unwrap()]);
    let program = Program::spawn(command(&arguments));
    let mut buffer = [0; 1024];
    let length = secondary.recv(&mut buffer).unwrap();
    let notice = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((notice.metadata.op_code, notice.signature().is_some()), (OpCode::Notify, true));
    assert_eq!(notice.queries[0].name().to_ascii(), "apps.test.");
    let axfr = Request::query(7, "apps.test".parse().unwrap(), nearside_dns_sync::record::RecordType::Axfr);
    let fetched = |name: &str| transfer(program.server(), &axfr, Some(&key(name, b"secret")), now()).0 == 0;
    assert!(fetched("one") && !fetched("two"));
    // A new key beside the old one, without a restart.
    put(keys.path(), "transfer.key", &format!("{}{}", clause("two"), clause("one")));
    eventually("the new key is known", || fetched("two"));
    assert!(fetched("one"));
}

#[test]
fn two_replicas_with_the_same_objects_have_the_same_serial() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "a.yaml", &endpoint("a.apps.test", "A", &["192.0.2.1"]));
    put(directory.path(), "b.yaml", &endpoint("b.apps.test", "A", &["192.0.2.2"]));
    let (one, other) = (Program::start(directory.path()), Program::start(directory.path()));
    // Each program hands out its own address as the default name server; both are 127.0.0.1.
    assert_eq!(serial(one.server()), serial(other.server()));
}

/// The command for a cluster at this address; the directory holds its kubeconfig.
fn with_cluster(api: SocketAddr, directory: &Path, arguments: &[&str]) -> Command {
    let kubeconfig = directory.join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters: [{{name: lab, cluster: {{server: \"http://{api}\"}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\nusers: [{{name: lab, user: {{}}}}]\n"
        ),
    )
    .unwrap();
    let mut command = command(arguments);
    command.env("KUBECONFIG", &kubeconfig);
    command
}

#[test]
fn an_api_server_that_is_absent_keeps_the_port_closed() {
    // Ports on which nothing listens.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (api, listen) = (free(), free());
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--zone", "apps.test", "--admin-listen", "127.0.0.1:0"];
    let mut command = with_cluster(api, directory.path(), &arguments);
    command.env("NEARSIDE_LISTEN", listen.to_string());
    let mut program = Program::spawn(command);
    eventually("the log names the server", || program.logged(&api.to_string()).is_some());
    assert!(program.page("/healthz/ready").starts_with("HTTP/1.1 503"));
    assert!(program.page("/healthz/ready").contains("the first complete list of DNSEndpoints"));
    assert!(TcpStream::connect(listen).is_err(), "the port is open before the first complete list");
    assert_eq!(program.terminate(), Some(0));
}

/// An API server that knows one list, or refuses to give it.
struct ApiServer {
    address: SocketAddr,
    /// Status and body of the next answers.
    answer: Arc<Mutex<(u16, String)>>,
}

impl ApiServer {
    fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((status, body.to_owned())));
        let answers = Arc::clone(&answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = Arc::clone(&answers);
                // A client that goes away in between ends only its own thread.
                std::thread::spawn(move || Self::answer(stream, &answers));
            }
        });
        Self { address, answer }
    }

    fn answer(mut stream: TcpStream, answers: &Mutex<(u16, String)>) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        if request.contains("watch=") {
            // Held open without an event, until the client goes away.
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
            return stream.read_to_end(&mut Vec::new()).map(|_| ());
        }
        let (status, body) = answers.lock().unwrap().clone();
        write!(
            stream,
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn set(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }
}

#[test]
fn a_cluster_that_refuses_to_list_denies_no_name() {
    let missing = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no such kind","reason":"NotFound","code":404}"#;
    let list = r#"{"kind":"DNSEndpointList","apiVersion":"externaldns.k8s.io/v1alpha1","metadata":{"resourceVersion":"7"},"items":[]}"#;
    let api = ApiServer::start(404, missing);
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--zone", "apps.test", "--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let program = Program::spawn(with_cluster(api.address, directory.path(), &arguments));
    eventually("the refusal is logged", || program.logged("does not serve").is_some());
    assert!(program.page("/healthz/ready").starts_with("HTTP/1.1 503"));
    // An empty list that the server does give is an answer: nothing is published, so nothing exists.
    api.set(200, list);
    let answer = udp(program.server(), &query("video.apps.test.", RecordType::A, None));
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let log = program.log.lock().unwrap();
    let line = |text: &str| log.iter().position(|line| line.contains(text));
    assert!(line("listing works again").unwrap() < line("answering queries").unwrap(), "{log:#?}");
}

#[test]
fn sigterm_answers_what_was_received_and_ends_with_success() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "video.yaml", &endpoint("video.apps.test", "A", &["192.0.2.1"]));
    let mut program = Program::start(directory.path());
    let mut client = TcpClient::connect(program.server());
    let queries: Vec<_> = (0..20).map(|_| query("video.apps.test.", RecordType::A, None)).collect();
    client.send(&queries.iter().collect::<Vec<_>>());
    assert!(client.receive().is_some());
    assert_eq!(program.terminate(), Some(0));
    assert_eq!(std::iter::from_fn(|| client.receive()).count(), 19);
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

#[test]
fn unusable_flags_give_one_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["serve", "--zone", "a..b", "--listen", "127.0.0.1:0"][..], "--zone \"a..b\""),
        (&["serve", "--zone", "a.test,A.test.", "--listen", "127.0.0.1:0"], "given twice"),
        (&["serve", "--zone", "a.test", "--listen", "nowhere"], "--listen"),
        (&["serve", "--zone", "a.test"], "--listen"),
        (
            &["serve", "--zone", "a.test", "--listen", "127.0.0.1:0", "--manifests", "/nowhere/at/all"],
            "/nowhere/at/all",
        ),
        (&["serve", "--zone", "a.test", "--listen", "127.0.0.1:0", "--color"], "--color"),
        (&["publish"], "--config"),
        (&["publish", "--config", "/nowhere/publish.yaml"], "--config /nowhere/publish.yaml cannot be read"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn a_file_can_be_checked_and_each_mistake_of_it_is_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("publish.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&["publish", "--config", file.to_str().unwrap(), "--check"])
    };
    let server = "{address: 192.0.2.53, keys: [{file: key.conf}]}";
    let good = check(&format!("cluster: a\nzones: [{{zone: apps.test, servers: [{server}]}}]\n"));
    let said = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success() && said.contains("apps.test on 1 of 1"), "{said}");
    let bad = check("cluster: a b\nzones: [{zone: apps.test, server: []}]\n");
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!((bad.status.code(), said.lines().count()), (Some(2), 3), "{said}");
    for wanted in ["cluster: \"a b\"", "zones[0].server: no such field", "zones[0].servers: needs at least one"] {
        assert!(said.lines().any(|line| line.contains("publish.yaml: ") && line.contains(wanted)), "{wanted}: {said}");
    }
}

#[test]
fn a_port_in_use_ends_with_1_and_names_the_address() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manifests = directory.path().to_str().unwrap();
    let output = run(&["serve", "--manifests", manifests, "--zone", "apps.test", "--listen", &address]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
}

#[test]
fn help_teaches_and_environment_variables_are_flags() {
    let output = run(&["serve", "--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["NEARSIDE_ZONE", "NEARSIDE_LISTEN", "NEARSIDE_NAME_SERVER", "dig @127.0.0.1", "Exit codes"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(&["serve"]);
    command
        .env("NEARSIDE_ZONE", "one.test,two.test")
        .env("NEARSIDE_LISTEN", "127.0.0.1:0")
        .env("NEARSIDE_MANIFESTS", directory.path())
        .env("NEARSIDE_NAME_SERVER", "ns1.one.test=192.0.2.1 ns2.one.test=192.0.2.2,2001:db8::2");
    let program = Program::spawn(command);
    for zone in ["one.test.", "two.test."] {
        let answer = udp(program.server(), &query(zone, RecordType::NS, None));
        assert_eq!(answer.answers.len(), 2, "{zone}");
    }
}
