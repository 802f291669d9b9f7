//! The client of lists and watches: a kubeconfig flows in, a `kube::Client` flows out whose connections end by themselves when
//! the network swallows them. kube's own client asks the kernel for nothing, and retries by itself, unseen. `source` calls it.

use crate::limits::{CONNECT_TIMEOUT, DEAD_PEER, IDLE_CONNECTION, KEEPALIVE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::{BoxError, ServiceExt};

/// A client without retries. Must be called on a Tokio runtime; opens no connection yet.
///
/// HTTP/1.1 only, so each watch has a connection of its own: a server's limit on streams of one connection would silently
/// hold watches back.
pub(crate) fn client(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    if config.proxy_url.is_some() {
        // Built by kube, or refused by it in its own words.
        config.default_retry = false;
        return kube::Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.connect_timeout.map_or(CONNECT_TIMEOUT, |limit| limit.min(CONNECT_TIMEOUT))));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    tcp.set_tcp_user_timeout(Some(DEAD_PEER));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .build::<_, Body>(connector);
    let builder = ClientBuilder::new(http.map_err(BoxError::from), config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?);
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&config.base_uri_layer()).build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
}
