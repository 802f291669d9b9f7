//! What every connection needs: made once by `main`, shared by `accept` and `http`.

use crate::access_log::{AccessLog, Counts};
use crate::authentication::Verifier;
use crate::authentication::recent::Recent;
use crate::authentication::resolver::Resolver;
use crate::backends::Target;
use crate::balance::Random;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::http::HttpService;
use crate::http::authentication::external::Word;
use crate::http::subrequest::Subrequests;
use crate::kernel_tls::KernelTls;
use crate::lifecycle::Lifecycle;
use crate::limits::{EXTERNAL_ANSWERS, H2_HEADER_LIST_BYTES, H2_SEND_BUFFER, H2_STREAMS, TRIES, UPSTREAM_POOL};
use crate::memory::Memory;
use crate::metrics::{Exchanging, Metrics};
use crate::options::{Config, Timeouts};
use crate::rate::{Permit, RateLimiter, TooMuch, Unit};
use crate::relay::Relays;
use crate::splice::PipePool;
use crate::state::{CurrentState, State};
use crate::trace::Tracer;
use nearside_routing::table::CompiledRoute;
use nearside_routing::{NodeId, Scheme};
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The parts that are shared, and the settings.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) node_id: NodeId,
    current: CurrentState,
    lifecycle: Lifecycle,
    metrics: Metrics,
    access_log: AccessLog,
    tracer: Tracer,
    requests: AtomicU64,
    rates: RateLimiter,
    verifier: Verifier,
    pipes: PipePool,
    kernel_tls: KernelTls,
    memory: Memory,
    edge: Edge,
    resolver: Resolver,
    words: Recent<Arc<Word>>,
    subrequests: Subrequests,
    relays: Option<Relays>,
    started: Instant,
}

/// What others use as well, or `main` has to make.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) current: CurrentState,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: AccessLog,
    pub(crate) tracer: Tracer,
    pub(crate) verifier: Verifier,
    pub(crate) pipes: PipePool,
    pub(crate) kernel_tls: KernelTls,
    pub(crate) memory: Memory,
}

impl Shared {
    /// From its parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, current, lifecycle, metrics, access_log, tracer, verifier, pipes, kernel_tls, memory } =
            parts;
        let node_id = NodeId::of(&config.node);
        let relays = config.relay.clone().map(Relays::new);
        let edge = Edge::new(&config.edge, config.threads.map_or_else(processors, NonZeroUsize::get), &lifecycle);
        Self {
            config,
            node_id,
            current,
            lifecycle,
            metrics,
            access_log,
            tracer,
            requests: AtomicU64::new(0),
            rates: RateLimiter::new(),
            verifier,
            pipes,
            kernel_tls,
            memory,
            edge,
            resolver: Resolver::new(),
            words: Recent::new(EXTERNAL_ANSWERS),
            subrequests: Subrequests::new(),
            relays,
            started: Instant::now(),
        }
    }

    /// Pins the present routes, certificates and endpoints.
    pub(crate) fn state(&self) -> Arc<State> {
        self.current.load()
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// Who verifies passwords.
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The pipes that bytes are moved through.
    pub(crate) fn pipes(&self) -> &PipePool {
        &self.pipes
    }

    /// What the kernel can do of TLS.
    pub(crate) fn kernel_tls(&self) -> &KernelTls {
        &self.kernel_tls
    }

    /// How near the proxy is to the memory that it may take.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What strangers may take.
    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Who resolves the names of services that decide about requests.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// What such services said.
    pub(crate) fn words(&self) -> &Recent<Arc<Word>> {
        &self.words
    }

    /// Who makes requests of the proxy's own.
    pub(crate) fn subrequests(&self) -> &Subrequests {
        &self.subrequests
    }

    /// What is relayed; `None` where nothing may be.
    pub(crate) fn relays(&self) -> Option<&Relays> {
        self.relays.as_ref()
    }

    /// Who makes traces.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// How busy the proxy is, where the access log shows it.
    pub(crate) fn counts(
        &self,
        connection: Option<&Connection>,
        state: Option<&State>,
        route: Option<&CompiledRoute>,
        target: Option<&Target>,
    ) -> Counts {
        if !self.access_log.shows_counts() {
            return Counts::default();
        }
        let backend = state.zip(route).map_or(0, |(state, route)| state.backends.in_flight(route));
        Counts {
            process: [Scheme::Http, Scheme::Https].map(|scheme| self.metrics.open_connections(scheme)).iter().sum(),
            frontend: connection.map_or(0, |connection| self.metrics.open_connections(connection.scheme)),
            backend: backend as u64,
            server: target.map_or(0, Target::in_flight) as u64,
        }
    }

    /// Counts requests that get an id.
    pub(crate) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one more request or connection of a client for a route.
    ///
    /// # Errors
    /// The client has had as much as the route's limits give it.
    pub(crate) fn admit(&self, route: &CompiledRoute, client: IpAddr, unit: Unit) -> Result<Permit, TooMuch> {
        self.rates.admit(&route.source, &route.policy.rate, client, unit, self.started.elapsed())
    }

    /// Whether a TLS connection must name a host that is served.
    pub(crate) fn strict_sni(&self) -> bool {
        self.config.tls.strict_sni
    }

    /// How long things may take where an object says nothing else.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.config.timeouts
    }

    /// Notes that a pod could not be reached.
    pub(crate) fn connect_failed(&self, target: &Target, random: &mut Random, error: &dyn fmt::Display) {
        self.metrics.connect_failed();
        target.exchanging().into_iter().for_each(Exchanging::connect_failed);
        self.pod_failed(target, random);
        tracing::debug!(
            service = %target.service, pod = &*target.pod, address = %target.address, %error,
            "the pod cannot be reached"
        );
    }

    /// Notes that this host has no port left for a connection to a pod, which says nothing of the pod.
    pub(crate) fn no_local_port(&self, target: &Target) {
        self.metrics.no_local_port();
        tracing::debug!(
            service = %target.service, pod = &*target.pod, address = %target.address,
            "this host has no port left for a connection to the pod"
        );
    }

    /// Notes that a pod did not begin to answer.
    pub(crate) fn pod_failed(&self, target: &Target, random: &mut Random) {
        if target.health().failed(Instant::now(), random.fraction()) {
            self.metrics.ejected();
            tracing::info!(
                service = %target.service, pod = &*target.pod, address = %target.address,
                "the pod fails again and again; others are asked for a while"
            );
        }
    }
}

/// The shared parts and Pingora's HTTP on top of them.
pub(crate) struct Server {
    shared: Arc<Shared>,
    http: Arc<HttpProxy<HttpService>>,
}

impl Server {
    /// Sets Pingora's HTTP up: its pool, its limits on HTTP/2, and none of its modules.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let conf = ServerConf {
            threads: processors(),
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            max_retries: TRIES,
            ..ServerConf::default()
        };
        let mut http = http_proxy(&Arc::new(conf), HttpService::new(Arc::clone(&shared)));
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(shared.config.timeouts.keep_alive);
        // For WebSocket over HTTP/2; any other CONNECT is refused with the methods that are not served.
        options.allow_connect_method_proxying = true;
        http.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_header_list_size(H2_HEADER_LIST_BYTES).max_concurrent_streams(H2_STREAMS).enable_connect_protocol();
        h2.max_send_buffer_size(H2_SEND_BUFFER);
        http.h2_options = Some(h2);
        Self { shared, http: Arc::new(http) }
    }

    /// Serves streams.
    pub(crate) fn http(&self) -> &Arc<HttpProxy<HttpService>> {
        &self.http
    }
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
