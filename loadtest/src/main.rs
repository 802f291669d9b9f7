//! `nearside-loadtest`: reads the command line, runs the command, and turns its outcome into an exit code.

use anyhow::Result;
use clap::{Parser, Subcommand};
use nearside_loadtest::{bench, cluster_commands, demo, dns_lab};
use std::io::Write as _;
use std::process::ExitCode;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "nearside-loadtest",
    version,
    about = "Plays the outside world of Nearside on one machine: cluster, Kubernetes API, pods and clients",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole path: objects in, answers from the node that was asked, while a pod moves and a node dies
    #[command(long_about = DEMO_ABOUT, after_long_help = DEMO_EXAMPLES)]
    Demo(demo::Options),
    /// Play scenarios under load
    #[command(subcommand)]
    Lab(Lab),
    /// Serve an empty Kubernetes API that is as strict as a real one, over TLS, until Ctrl-C
    #[command(long_about = API_ABOUT)]
    Api(cluster_commands::ApiOptions),
    /// Remove what tests have left in a cluster
    Clean(cluster_commands::CleanOptions),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Subcommand)]
enum Lab {
    /// Clients of four DNS caching habits, while a pod moves, routers are replaced and restarted, a node is drained and one dies
    #[command(long_about = DNS_LAB_ABOUT)]
    Dns(dns_lab::Options),
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A proxy and a controller in a cluster of a thousand nodes: time to start, memory, bytes watched, cost of each event
    #[command(long_about = SCALE_ABOUT)]
    Scale(bench::scale::Options),
    /// The embedded name server beside BIND and Knot: queries per processor second, and the time until a change is answered
    #[command(long_about = BENCH_DNS_ABOUT)]
    Dns(bench::dns::Options),
    /// Nearside beside HAProxy, nginx and Traefik: processor time, latencies and memory
    #[command(long_about = BENCH_PROXY_ABOUT)]
    Proxy(bench::proxy::Options),
    /// A hundred upgrades of the proxy under load: requests that fail, and the time until it listens again after a crash
    #[command(long_about = UPGRADES_ABOUT)]
    Upgrades(bench::upgrades::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "nearside-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Demo(options) => runtime.block_on(demo::run(options)),
        Command::Lab(Lab::Dns(options)) => runtime.block_on(dns_lab::run(options)),
        Command::Api(options) => runtime.block_on(cluster_commands::serve(options)).map(|()| true),
        Command::Clean(options) => cluster_commands::clean(options).map(|()| true),
        Command::Bench(Bench::Scale(options)) => runtime.block_on(bench::scale::run(options)).map(|()| true),
        Command::Bench(Bench::Dns(options)) => runtime.block_on(bench::dns::run(options)).map(|()| true),
        Command::Bench(Bench::Proxy(options)) => runtime.block_on(bench::proxy::run(options)).map(|()| true),
        Command::Bench(Bench::Upgrades(options)) => runtime.block_on(bench::upgrades::run(options)),
    }
}

const API_ABOUT: &str = "Serve an empty Kubernetes API that is as strict as a real one, over TLS, until Ctrl-C.

It authenticates by token, authorizes by Roles and ClusterRoles, issues tokens of ServiceAccounts, validates objects, defaults \
them, applies on the server's side, serves kinds by their CustomResourceDefinitions, and does what the controllers of Kubernetes \
do that clients see: the ServiceAccount `default` of each namespace, EndpointSlices. It keeps everything in memory and runs no \
pods. The kubeconfig is the administrator's.";

const DEMO_ABOUT: &str = "Show the whole path: objects in, answers from the node that was asked, while a pod moves and a node dies.

Builds a cluster on this machine: nodes, pods and clients in network namespaces (as root) or on loopback addresses (not \
root), and a Kubernetes API. Starts the real nearside-proxy on each node, nearside-controller and nearside-dns-sync. Applies \
Routes (plain, edge, passthrough, reencrypt, one host claimed twice) and Ingresses (exact, prefix, wildcard host, TLS). \
Clients resolve the hosts through nearside-dns-sync and fetch from a few bytes to 64 MiB, checking every byte of media, while \
one pod moves to another node and the last node dies.

Every link between nodes has a byte counter. The demo ends with a table per host and the line \
`response bytes between nodes: 0`, which is read from these counters (on loopback: from what the clients saw).";

const DEMO_EXAMPLES: &str = "Examples:
  See it:                       nearside-loadtest demo
  Look around afterwards:       nearside-loadtest demo --keep
                                KUBECONFIG=DIR/kubeconfig.yaml kubectl get routes,dnsendpoints -A
  Keep the report:              nearside-loadtest demo --report ./report

The programs are taken from beside this one, or from NEARSIDE_BIN_DIR.

Exit codes: 0 when every request was answered and no byte crossed; 1 when not, or when the cluster could not be built; 2 \
for unusable flags.";

const DNS_LAB_ABOUT: &str = "Clients of four DNS caching habits, while a pod moves, routers are replaced and restarted, a node is drained and one dies.

Builds a cluster of four nodes on this machine, as the demo does, with the real programs in it. Sixteen clients ask five hosts at a steady rate: those that keep no answer of DNS, that keep it for its TTL, that keep it for a minute whatever its TTL as browsers do, and that ask once for ever as some JVMs do; each kind with connections that are kept alive and without, each at two places. They try the addresses of an answer in its order, the next when one does not answer, and follow redirects; they never look a name up a second time for one request.

Every request must be answered, by a pod of the node that was asked; no byte may go from node to node (the links have counters); and no name may be without an address at any moment. A node that died may be passed over by everybody until DNS has let go of it; a node whose router ended after it was withdrawn only by clients that never ask again.

By default the times are scaled down: records live 5 s, browsers keep them 10 s, and routers are told to wait for 20 s (--shutdown-delay), which is their own rule with the shorter minute. The scenario then takes about two and a half minutes. --real-times leaves all of it as in production.

Exit codes: 0 when all was so; 1 when not, or when the cluster could not be built; 2 for unusable flags.";

const SCALE_ABOUT: &str = "A proxy and a controller in a cluster of a thousand nodes: time to start, memory, bytes watched, cost of each event.

Fills a fake Kubernetes API with a generated cluster, starts the real nearside-proxy of its first node and \
nearside-controller against it, and measures: the time until they are ready, their memory, the bytes that they are sent, the \
processor time and the bytes that each event costs, and the time from an event to a request that is answered by it or to the \
DNSEndpoint that follows from it. At the end the proxy is started in clusters that differ in one size alone, to show what its \
cost grows with.

The figures are printed, and left as scale.json and scale.md in the report directory. The default size needs about 4 GB of \
memory. The programs are taken from beside this one, or from NEARSIDE_BIN_DIR; measure with optimised ones (`make bench-scale`).";

const BENCH_DNS_ABOUT: &str = "The embedded name server beside BIND and Knot: queries per processor second, and the time until a change is answered.

Starts each server with the same zone on a port of 127.0.0.1 and asks all of them the same queries in turn, round after round: once at a steady rate, once as many as are answered. The processor time is that of the server's process, as the scheduler counts it. Then writes DNSEndpoints to a fake API, for one host and for many at once, and asks the name server until it answers with the new addresses.

The figures are printed, and left as dns.json and dns.md in the report directory. How each server is configured, and why that is fair, is in loadtest/README.md. The programs are taken from beside this one, or from NEARSIDE_BIN_DIR; measure with optimised ones (`make bench-dns`).";

const BENCH_PROXY_ABOUT: &str = "Nearside beside HAProxy, nginx and Traefik: processor time, latencies and memory.

Starts each proxy as a process with the same backend, the same certificate and the same host, bound to one processor; backend and clients run on another. Fetches some objects through each over every transport and compares their bytes. Then measures all of them in turn, round after round: the processor time of each GB, small answers and new TLS connections for a second of processor time, latencies at a steady rate, and the memory of idle connections, stalled downloads and routes. At the end Nearside alone is measured with a large table whose endpoints change a thousand times a second.

A proxy that is not installed is left out and named. The figures are printed, and left as report.json, report.md and plots in the report directory. How each proxy is configured, and why that is fair, is in loadtest/README.md. The programs are taken from beside this one, or from NEARSIDE_BIN_DIR; measure with optimised ones (`make bench`).";

const UPGRADES_ABOUT: &str = "A hundred upgrades of the proxy under load: requests that fail, and the time until it listens again after a crash.

Starts the real nearside-proxy on ports of 127.0.0.1 with a pod behind it, and clients that ask at a steady rate: on new connections, on kept ones over HTTP/1.1 without and with TLS and over HTTP/2, with WebSockets and slow downloads that last two seconds each. Then replaces the proxy again and again as a DaemonSet with a surge does: starts the next one, and ends the old one once that is ready. First the old ones hand their sockets on (--handover-socket), then they share the ports (--share-ports), then the proxy is killed and started again.

A request has failed if its client did everything right: one on a kept connection that ends without an answer counts as failed unless the client had been told (Connection: close, GOAWAY). Nothing is tried twice.

The figures are printed, and left as upgrades.json and upgrades.md in the report directory. The programs are taken from beside this one, or from NEARSIDE_BIN_DIR; measure with optimised ones (`make upgrades`).

Exit codes: 0 when no request failed during handovers; 1 when one did, or when a proxy did not start or end in order; 2 for unusable flags.";
