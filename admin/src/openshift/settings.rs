//! What each variable of the OpenShift router's environment means here: the one table that programs, the log and
//! docs/openshift-environment.md are made from.

use super::grammar::{
    Grammar, boolean, connections, haproxy, list, not, number_or_auto, probes, projects, proxy_headers, seconds,
    shared_hosts, text, time, words,
};

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub variable: &'static str,
    /// What it means here.
    pub meaning: Meaning,
    /// Whether it keeps something shut: a value that cannot be used must not leave it open, so the program does not start.
    pub guards: bool,
}

/// What a variable means.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// The same as a flag of these programs, in the grammar of the OpenShift router.
    Flag(&'static str, Program, Grammar),
    /// Together with others the same as these flags.
    Together(&'static [&'static str], Program),
    /// Nothing, for this reason.
    Ignored(&'static str),
}

/// The programs that have a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `nearside-proxy`.
    Proxy,
    /// `nearside-controller`.
    Controller,
    /// Both: they must be told the same.
    Both,
}

impl Program {
    /// Whether the program of this name has the flag.
    pub(super) fn is(self, name: &str) -> bool {
        match self {
            Self::Proxy => name == PROXY,
            Self::Controller => name == CONTROLLER,
            Self::Both => name == PROXY || name == CONTROLLER,
        }
    }

    /// For the operator.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => PROXY,
            Self::Controller => CONTROLLER,
            Self::Both => "nearside-proxy and nearside-controller",
        }
    }
}

const fn flag(variable: &'static str, flag: &'static str, program: Program, grammar: Grammar) -> Setting {
    Setting { variable, meaning: Meaning::Flag(flag, program, grammar), guards: false }
}

const fn guard(variable: &'static str, flag: &'static str, program: Program, grammar: Grammar) -> Setting {
    Setting { variable, meaning: Meaning::Flag(flag, program, grammar), guards: true }
}

const fn together(variable: &'static str, flags: &'static [&'static str], program: Program) -> Setting {
    Setting { variable, meaning: Meaning::Together(flags, program), guards: false }
}

const fn ignored(variable: &'static str, reason: &'static str) -> Setting {
    Setting { variable, meaning: Meaning::Ignored(reason), guards: false }
}

use Program::{Both, Controller, Proxy};

/// Every variable that the OpenShift router knows, in the order of its documentation.
pub const SETTINGS: &[Setting] = &[
    // Selection, identity, admission.
    flag("ROUTER_SERVICE_NAME", "router-name", Both, text),
    ignored("ROUTER_SERVICE_NAMESPACE", "the namespace is that of the pod"),
    flag("ROUTER_CANONICAL_HOSTNAME", "router-canonical-hostname", Controller, text),
    flag("ROUTER_UPDATE_STATUS", "update-status", Controller, boolean),
    flag("ROUTER_DOMAIN", "router-domain", Both, text),
    flag("ROUTER_SUBDOMAIN", "hostname-template", Both, text),
    flag("ROUTER_OVERRIDE_HOSTNAME", "override-hostname", Both, boolean),
    flag("ROUTER_OVERRIDE_DOMAINS", "override-domains", Both, list),
    guard("ROUTER_DENIED_DOMAINS", "denied-domains", Both, list),
    guard("ROUTER_ALLOWED_DOMAINS", "allowed-domains", Both, list),
    flag("ROUTER_ALLOW_WILDCARD_ROUTES", "allow-wildcard-routes", Both, boolean),
    flag("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", "namespace-ownership", Both, shared_hosts),
    flag("EXTENDED_VALIDATION", "extended-validation", Both, boolean),
    ignored("UPGRADE_VALIDATION", "no rule of a future version is known"),
    ignored("DEBUG_UPGRADE_VALIDATION_FORCE_ADD_CONDITION", TEST_SWITCH),
    ignored("DEBUG_UPGRADE_VALIDATION_FORCE_REMOVE_CONDITION", TEST_SWITCH),
    flag("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", "external-certificates", Both, boolean),
    guard("ROUTE_LABELS", "route-labels", Both, text),
    guard("ROUTE_FIELDS", "route-fields", Both, text),
    guard("NAMESPACE_LABELS", "namespace-labels", Both, text),
    guard("PROJECT_LABELS", "namespace-labels", Both, projects),
    ignored("ROUTER_WATCH_ENDPOINTS", "pods and EndpointSlices say more than Endpoints"),
    ignored("KUBERNETES_MASTER", "the cluster is that of KUBECONFIG, or the one the program runs in"),
    // Listeners, TLS, certificates.
    together("ROUTER_SERVICE_HTTP_PORT", &["http-listen"], Proxy),
    together("ROUTER_SERVICE_HTTPS_PORT", &["https-listen"], Proxy),
    together("ROUTER_IP_V4_V6_MODE", &["http-listen", "https-listen"], Proxy),
    flag("ROUTER_USE_PROXY_PROTOCOL", "proxy-protocol", Proxy, proxy_headers),
    ignored("ROUTER_BIND_PORTS_AFTER_SYNC", AFTER_SYNC),
    ignored("ROUTER_BIND_PORTS_BEFORE_SYNC", AFTER_SYNC),
    together("DEFAULT_CERTIFICATE", &["default-cert"], Proxy),
    together("DEFAULT_CERTIFICATE_PATH", &["default-cert"], Proxy),
    together("DEFAULT_CERTIFICATE_DIR", &["default-cert"], Proxy),
    flag("ROUTER_STRICT_SNI", "strict-sni", Proxy, boolean),
    flag("DEFAULT_DESTINATION_CA_PATH", "destination-ca", Proxy, text),
    together("ROUTER_CIPHERS", &["tls-cipher-suites"], Proxy),
    together("ROUTER_CIPHERSUITES", &["tls-cipher-suites"], Proxy),
    flag("ROUTER_CURVES", "tls-curves", Proxy, text),
    flag("SSL_MIN_VERSION", "tls-min-version", Proxy, text),
    flag("SSL_MAX_VERSION", "tls-max-version", Proxy, text),
    flag("ROUTER_DISABLE_HTTP2", "disable-http2", Proxy, boolean),
    guard("ROUTER_MUTUAL_TLS_AUTH", "client-tls", Proxy, text),
    guard("ROUTER_MUTUAL_TLS_AUTH_CA", "client-tls-ca", Proxy, text),
    guard("ROUTER_MUTUAL_TLS_AUTH_CRL", "client-tls-crl", Proxy, text),
    guard("ROUTER_MUTUAL_TLS_AUTH_FILTER", "client-tls-filter", Proxy, text),
    flag("ROUTER_MUTUAL_TLS_HEADER_FILTER", "client-tls-header-filter", Proxy, boolean),
    flag("ROUTER_INSPECT_DELAY", "client-hello-timeout", Proxy, time),
    // Timeouts, limits, load balancing.
    flag("ROUTER_DEFAULT_CONNECT_TIMEOUT", "connect-timeout", Proxy, time),
    flag("ROUTER_DEFAULT_CLIENT_TIMEOUT", "client-timeout", Proxy, time),
    flag("ROUTER_DEFAULT_SERVER_TIMEOUT", "read-timeout", Proxy, time),
    flag("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "tunnel-timeout", Proxy, time),
    flag("ROUTER_CLIENT_FIN_TIMEOUT", "client-fin-timeout", Proxy, time),
    flag("ROUTER_DEFAULT_SERVER_FIN_TIMEOUT", "server-fin-timeout", Proxy, time),
    flag("ROUTER_SLOWLORIS_TIMEOUT", "header-timeout", Proxy, time),
    flag("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", "keep-alive-timeout", Proxy, time),
    flag("ROUTER_MAX_CONNECTIONS", "max-connections", Proxy, connections),
    ignored("ROUTER_BUF_SIZE", HEAD_SIZE),
    ignored("ROUTER_MAX_REWRITE_SIZE", HEAD_SIZE),
    flag("ROUTER_THREADS", "threads", Proxy, number_or_auto),
    flag("ROUTER_LOAD_BALANCE_ALGORITHM", "balance", Proxy, text),
    flag("ROUTER_TCP_BALANCE_SCHEME", "tcp-balance", Proxy, text),
    flag("ROUTER_BACKEND_CHECK_INTERVAL", "check-interval", Proxy, time),
    flag("ROUTER_COOKIE_NAME", "cookie-name", Proxy, text),
    ignored("ROUTER_BACKEND_PROCESS_ENDPOINTS", "the order of endpoints decides nothing"),
    flag("ROUTER_HTTP_IGNORE_PROBES", "empty-requests", Proxy, probes),
    flag("ROUTER_DONT_LOG_NULL", "log-empty-requests", Proxy, not),
    flag("ROUTER_ABORT_ON_CLOSE", "abort-on-close", Proxy, boolean),
    ignored("ROUTER_IDLE_CLOSE_ON_RESPONSE", RELOAD),
    ignored("ROUTER_HARD_STOP_AFTER", RELOAD),
    // Headers, logging, errors, compression.
    flag("ROUTER_SET_FORWARDED_HEADERS", "forwarded-headers", Proxy, text),
    flag("ROUTER_HTTP_REQUEST_HEADERS", "request-header", Proxy, list),
    flag("ROUTER_HTTP_RESPONSE_HEADERS", "response-header", Proxy, list),
    flag("ROUTER_H1_CASE_ADJUST", "h1-case-adjust", Proxy, list),
    together("ROUTER_UNIQUE_ID_HEADER_NAME", &["unique-id-header"], Proxy),
    together("ROUTER_UNIQUE_ID_FORMAT", &["unique-id-format"], Proxy),
    together("ROUTER_SYSLOG_ADDRESS", &["access-log", "access-log-format"], Proxy),
    flag("ROUTER_LOG_FACILITY", "syslog-facility", Proxy, text),
    flag("ROUTER_LOG_LEVEL", "syslog-level", Proxy, text),
    flag("ROUTER_LOG_MAX_LENGTH", "syslog-max-length", Proxy, text),
    together("ROUTER_SYSLOG_FORMAT", &["access-log-format"], Proxy),
    flag("ROUTER_CAPTURE_HTTP_REQUEST_HEADERS", "capture-request-headers", Proxy, list),
    flag("ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS", "capture-response-headers", Proxy, list),
    flag("ROUTER_CAPTURE_HTTP_COOKIE", "capture-cookie", Proxy, text),
    together("ROUTER_ERRORFILE_503", &["error-page"], Proxy),
    together("ROUTER_ERRORFILE_404", &["error-page"], Proxy),
    flag("ROUTER_ENABLE_COMPRESSION", "compression", Proxy, boolean),
    flag("ROUTER_COMPRESSION_MIME", "compression-types", Proxy, words),
    // Operation.
    together("STATS_PORT", &["admin-listen"], Proxy),
    together("ROUTER_LISTEN_ADDR", &["admin-listen"], Proxy),
    guard("STATS_USERNAME", "admin-username", Proxy, text),
    guard("STATS_PASSWORD", "admin-password", Proxy, text),
    guard("STATS_USERNAME_FILE", "admin-username-file", Proxy, text),
    guard("STATS_PASSWORD_FILE", "admin-password-file", Proxy, text),
    flag("ROUTER_METRICS_TYPE", "openshift-metrics", Proxy, haproxy),
    flag("ROUTER_METRICS_TLS_CERT_FILE", "admin-tls-cert", Proxy, text),
    flag("ROUTER_METRICS_TLS_KEY_FILE", "admin-tls-key", Proxy, text),
    ignored("ROUTER_METRICS_TLS_CIPHERS", ADMIN_TLS),
    ignored("ROUTER_METRICS_TLS_CIPHERSUITES", ADMIN_TLS),
    flag("ROUTER_METRICS_TLS_MIN_VERSION", "admin-tls-min-version", Proxy, text),
    ignored("ROUTER_METRICS_TLS_CURVES", ADMIN_TLS),
    ignored("ROUTER_METRICS_HAPROXY_TIMEOUT", SCRAPE),
    ignored("ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL", SCRAPE),
    flag("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "pod-series", Proxy, text),
    ignored("ROUTER_METRICS_HAPROXY_EXPORTED", SCRAPE),
    ignored("ROUTER_METRICS_HAPROXY_SCRAPE_URI", SCRAPE),
    ignored("ROUTER_METRICS_HAPROXY_PID_FILE", SCRAPE),
    ignored("ROUTER_METRICS_READY_HTTP_URL", "readiness asks nobody else"),
    flag("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "shutdown-delay", Proxy, super::grammar::go_duration),
    flag("ROUTER_MAX_SHUTDOWN_TIMEOUT", "drain-timeout", Proxy, seconds),
    ignored("MAX_RELOAD_WAIT_TIME", RELOAD),
    ignored("RELOAD_INTERVAL", RELOAD),
    ignored("RELOAD_SCRIPT", RELOAD),
    ignored("TEMPLATE_FILE", "there are no templates"),
    ignored("ROUTER_HAPROXY_CONFIG_MANAGER", DYNAMIC),
    ignored("COMMIT_INTERVAL", DYNAMIC),
    ignored("ROUTER_BLUEPRINT_ROUTE_NAMESPACE", DYNAMIC),
    ignored("ROUTER_BLUEPRINT_ROUTE_LABELS", DYNAMIC),
    ignored("ROUTER_BLUEPRINT_ROUTE_POOL_SIZE", DYNAMIC),
    ignored("ROUTER_MAX_DYNAMIC_SERVERS", DYNAMIC),
    ignored("ROUTER_HAPROXY_CONTSTATS", SCRAPE),
    ignored("ROUTER_HAPROXY_ADMIN_UNIX_SOCKET", "there is no HAProxy"),
    ignored("HAPROXY_MAX_SHUTDOWN_TIMEOUT", RELOAD),
    ignored("ROUTER_USE_HTTP2", "only the unused nginx template of the OpenShift router read it"),
];

const PROXY: &str = "nearside-proxy";
const CONTROLLER: &str = "nearside-controller";
const ADMIN_TLS: &str = "the admin port offers every suite and group that has no known weakness";
const TEST_SWITCH: &str = "a switch for tests of the OpenShift router";
const AFTER_SYNC: &str = "ports are always bound after the first full sync";
const HEAD_SIZE: &str = "the size of a request's head is bounded by the program, 32 KiB";
const RELOAD: &str = "nothing is reloaded";
const SCRAPE: &str = "metrics are counted here and not scraped from HAProxy";
const DYNAMIC: &str = "every change is dynamic";
