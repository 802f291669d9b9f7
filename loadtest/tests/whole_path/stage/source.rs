//! Where the cluster's objects are: in the fake Kubernetes API or in a directory of manifests. The lab writes to either; the programs get
//! the flags that lead them there. Called by `stage`.

use nearside_loadtest::api::{ApiServer, ObjectRef, Options};
use nearside_loadtest::lab::Place;
use nearside_loadtest::lab::cluster::{ObjectStore, Reference};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Api,
    Manifests,
}

/// The objects of one cluster.
pub(crate) enum Objects {
    Api { server: ApiServer, kubeconfig: PathBuf },
    Manifests { directory: PathBuf, out: PathBuf },
}

impl Objects {
    pub(super) async fn new(source: Source, place: &Place, root: &Path) -> Self {
        match source {
            Source::Api => {
                let listener = place.tcp_listener(SocketAddr::new(place.address(), 6443)).unwrap();
                let options = Options { graceful_pod_deletion: true, ..Options::default() };
                let server = ApiServer::start_on(vec![listener], options).await.unwrap();
                let kubeconfig = root.join("kubeconfig.yaml");
                fs::write(&kubeconfig, server.kubeconfig_yaml()).unwrap();
                Self::Api { server, kubeconfig }
            }
            Source::Manifests => {
                let (directory, out) = (root.join("manifests"), root.join("out"));
                fs::create_dir_all(&directory).unwrap();
                fs::create_dir_all(out.join("dnsendpoints")).unwrap();
                Self::Manifests { directory, out }
            }
        }
    }

    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Api { server, .. } => Arc::new(server.clone()),
            Self::Manifests { directory, .. } => Arc::new(ManifestStore { directory: directory.clone() }),
        }
    }

    /// The API server, in tests that are about it.
    pub(crate) fn api(&self) -> &ApiServer {
        match self {
            Self::Api { server, .. } => server,
            Self::Manifests { .. } => panic!("this test's objects are files"),
        }
    }

    /// The directory of manifests, in tests that are about it.
    pub(crate) fn manifests(&self) -> &Path {
        match self {
            Self::Manifests { directory, .. } => directory,
            Self::Api { .. } => panic!("this test's objects are in an API"),
        }
    }

    /// The `status` of a Route or Ingress as the controller wrote it; null before.
    pub(crate) fn status(&self, kind: &str, namespace: &str, name: &str) -> Value {
        match self {
            Self::Api { server, .. } => {
                let version = if kind == "Route" { "route.openshift.io/v1" } else { "networking.k8s.io/v1" };
                let object = server.get(ObjectRef::new(version, kind, namespace, name)).unwrap_or_default();
                object["status"].clone()
            }
            Self::Manifests { out, .. } => {
                let plural = if kind == "Route" { "routes" } else { "ingresses" };
                let path = out.join("status").join(plural).join(format!("{namespace}.{name}.status"));
                let text = fs::read_to_string(path).unwrap_or_default();
                serde_saphyr::from_str::<Value>(&text).unwrap_or_default()["status"].clone()
            }
        }
    }

    pub(super) fn kubeconfig(&self) -> Option<&Path> {
        match self {
            Self::Api { kubeconfig, .. } => Some(kubeconfig),
            Self::Manifests { .. } => None,
        }
    }

    pub(super) fn flags_for_records(&self) -> Vec<String> {
        match self {
            Self::Api { .. } => Vec::new(),
            Self::Manifests { out, .. } => vec![format!("--manifests={}", out.join("dnsendpoints").display())],
        }
    }

    pub(super) fn flags_for_controller(&self) -> Vec<String> {
        match self {
            Self::Api { .. } => Vec::new(),
            Self::Manifests { directory, out } => {
                vec![format!("--manifests={}", directory.display()), format!("--out={}", out.display())]
            }
        }
    }

    pub(super) fn flags_for_proxy(&self) -> Vec<String> {
        match self {
            Self::Api { .. } => Vec::new(),
            Self::Manifests { directory, .. } => {
                [vec![format!("--manifests={}", directory.display())], self.flags_for_records()].concat()
            }
        }
    }
}

/// One file for each object, replaced as a whole.
struct ManifestStore {
    directory: PathBuf,
}

impl ManifestStore {
    fn path(&self, reference: &Reference) -> PathBuf {
        let Reference { kind, namespace, name, .. } = reference;
        self.directory.join(format!("{kind}.{namespace}.{name}.json"))
    }
}

impl ObjectStore for ManifestStore {
    fn put(&self, object: &Value) -> anyhow::Result<Value> {
        let path = self.path(&Reference::of(object)?);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(object)?)?;
        fs::rename(new, path)?;
        Ok(object.clone())
    }

    fn remove(&self, reference: &Reference) -> anyhow::Result<()> {
        match fs::remove_file(self.path(reference)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
