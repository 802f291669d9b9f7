//! Where objects come from: options of a program flow in, a [`Source`] that [`crate::changes`] reads flows out.

use crate::cluster::connection;
use crate::feed::Feed;
use crate::last_known::{self, SnapshotError, SnapshotSettings, Store};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::error::Error;
use std::path::PathBuf;

/// A cluster, what another process reads of one, or directories of manifests.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a program has one")]
pub enum Source {
    /// The API server of a cluster.
    Cluster(ClusterConfig),
    /// Another process of this machine that reads a cluster ([`crate::serve_objects`]).
    Feed(Feed),
    /// Directories of YAML and JSON files, or single files, in order of precedence.
    Manifests(Vec<PathBuf>),
}

impl Source {
    /// The manifests if there are any, else the cluster that `KUBECONFIG`, `~/.kube/config` or the service account of
    /// the pod name. Must run on a Tokio runtime. The API server need not answer yet.
    ///
    /// # Errors
    /// [`SourceError`] if no configuration of a cluster can be read.
    pub async fn from_options(manifests: &[PathBuf]) -> Result<Self, SourceError> {
        if manifests.is_empty() {
            return Ok(Self::Cluster(ClusterConfig::infer().await?));
        }
        Ok(Self::Manifests(manifests.to_vec()))
    }

    /// What another process offers at a Unix socket.
    pub fn at_socket(path: PathBuf) -> Self {
        Self::Feed(Feed::new(path))
    }

    /// Keeps what is known of a cluster on disk, and starts from it while its API server does not answer. Does nothing for
    /// manifests.
    ///
    /// # Errors
    /// [`SnapshotError`] if the directory cannot be used.
    pub fn with_snapshot(self, settings: Option<&SnapshotSettings>) -> Result<Self, SnapshotError> {
        match (self, settings) {
            (Self::Cluster(mut config), Some(settings)) => {
                config.store = Some(Store::open(settings, config.identity.clone())?);
                Ok(Self::Cluster(config))
            }
            (Self::Feed(mut feed), Some(settings)) => {
                feed.store = Some(Store::open(settings, feed.identity())?);
                Ok(Self::Feed(feed))
            }
            (source, _) => Ok(source),
        }
    }

    /// Writes what the snapshot on disk lacks yet, as at the end of a program.
    pub async fn save_snapshot(&self) {
        if let Self::Cluster(ClusterConfig { store: Some(store), .. }) | Self::Feed(Feed { store: Some(store), .. }) =
            self
        {
            let store = store.clone();
            // Fails only with the runtime.
            drop(tokio::task::spawn_blocking(move || store.flush()).await);
        }
    }

    /// The client of the cluster, for what the controller writes; `None` where there is none.
    pub fn client(&self) -> Option<kube::Client> {
        match self {
            Self::Cluster(cluster) => Some(cluster.client.clone()),
            Self::Feed(_) | Self::Manifests(_) => None,
        }
    }
}

/// How to reach the API server.
#[derive(Clone)]
pub struct ClusterConfig {
    pub(crate) client: kube::Client,
    /// Without retries of its own: a watch that is refused backs off by itself and says so.
    pub(crate) watcher: kube::Client,
    pub(crate) server: String,
    /// Identifies the cluster in snapshots on disk.
    identity: String,
    pub(crate) store: Option<Store>,
}

impl std::fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterConfig").field("server", &self.server).finish_non_exhaustive()
    }
}

impl ClusterConfig {
    /// The configuration from the environment; see [`Source::from_options`].
    ///
    /// # Errors
    /// [`SourceError`] if there is none or it cannot be used.
    pub async fn infer() -> Result<Self, SourceError> {
        let paths = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
        let Some(paths) = paths else {
            return Self::new(kube::Config::infer().await.map_err(|error| SourceError::NoCluster(error.into()))?);
        };
        // Whoever names a file does not mean another one.
        let unusable = |error: kube::config::KubeconfigError| SourceError::Kubeconfig {
            paths: paths.to_string_lossy().into_owned(),
            error: error.into(),
        };
        let kubeconfig = Kubeconfig::from_env().map_err(unusable)?.unwrap_or_default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Self::new(config.map_err(unusable)?)
    }

    /// A given configuration. No connection is opened yet. Must run on a Tokio runtime.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if its certificates or credentials cannot be read.
    pub fn new(config: kube::Config) -> Result<Self, SourceError> {
        let server = config.cluster_url.to_string();
        let identity = last_known::cluster(&server, config.root_cert.as_deref());
        let unusable = |error: kube::Error| SourceError::Unusable { server: server.clone(), error: error.into() };
        let watcher = connection::client(config.clone()).map_err(unusable)?;
        let client = kube::Client::try_from(config).map_err(unusable)?;
        Ok(Self { client, watcher, server, identity, store: None })
    }

    /// The address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }
}

/// Why there is nothing to read from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Neither a kubeconfig nor a service account.
    #[error(
        "no cluster is configured: {}. Check that KUBECONFIG names a readable kubeconfig with a current context; in a pod, \
         that KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are set and the service account token is mounted; or \
         give --manifests DIR",
        describe(&**.0)
    )]
    NoCluster(#[source] Box<dyn Error + Send + Sync>),
    /// A kubeconfig that is named and cannot be used.
    #[error(
        "no cluster is configured: the kubeconfig {paths} (KUBECONFIG) cannot be used: {}. Check that the file can be read and that its current context \
         names a cluster and a user that are in it", describe(&**.error)
    )]
    Kubeconfig {
        /// The value of the variable.
        paths: String,
        /// What is wrong.
        #[source]
        error: Box<dyn Error + Send + Sync>,
    },
    /// A configuration whose certificates or credentials cannot be used.
    #[error(
        "the configuration for the API server {server} cannot be used: {}. Check the certificates and the credentials in \
         the kubeconfig", describe(&**.error)
    )]
    Unusable {
        /// The address of the API server.
        server: String,
        /// What is wrong.
        #[source]
        error: Box<dyn Error + Send + Sync>,
    },
}

/// An error and its causes in one line; causes that repeat what was said are left out.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    // Parsers draw pictures of what they do not understand.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
