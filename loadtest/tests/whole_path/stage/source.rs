//! Where the cluster's objects are: in a Kubernetes API or in a directory of manifests. The lab writes to either; the programs get
//! the flags that lead them there. Called by `stage`.

use super::installation::{Api, Installation};
use nearside_loadtest::api::ObjectRef;
use nearside_loadtest::lab::Network;
use nearside_loadtest::lab::cluster::{Names, ObjectStore, ROUTER_NAMESPACE, RUN_LABEL, Reference};
use serde_json::Value;
use std::fs;
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
    Api(Box<Installation>),
    Manifests { directory: PathBuf, out: PathBuf },
}

impl Objects {
    pub(super) async fn new(source: Source, network: &Network, root: &Path) -> Self {
        match source {
            Source::Api => Self::Api(Box::new(Installation::new(network, root).await)),
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
            Self::Api(installation) => Arc::new(installation.api().store()),
            Self::Manifests { directory, .. } => Arc::new(ManifestStore { directory: directory.clone() }),
        }
    }

    /// The API, in tests that are about it.
    pub(crate) fn api(&self) -> &Api {
        match self {
            Self::Api(installation) => installation.api(),
            Self::Manifests { .. } => panic!("this test's objects are files"),
        }
    }

    /// The directory of manifests, in tests that are about it.
    pub(crate) fn manifests(&self) -> &Path {
        match self {
            Self::Manifests { directory, .. } => directory,
            Self::Api(_) => panic!("this test's objects are in an API"),
        }
    }

    /// The `status` of a Route or Ingress as the controller wrote it; null before.
    pub(crate) fn status(&self, kind: &str, namespace: &str, name: &str) -> Value {
        match self {
            Self::Api(installation) => {
                let version = if kind == "Route" { "route.openshift.io/v1" } else { "networking.k8s.io/v1" };
                let object = installation.api().get(ObjectRef::new(version, kind, namespace, name)).unwrap_or_default();
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

    /// How the lab's names look to the programs.
    pub(crate) fn names(&self) -> Names {
        match self {
            Self::Api(installation) => installation.api().names().clone(),
            Self::Manifests { .. } => Names::plain(),
        }
    }

    pub(super) fn kubeconfig(&self, program: &str) -> Option<&Path> {
        match self {
            Self::Api(installation) => installation.kubeconfig(program),
            Self::Manifests { .. } => None,
        }
    }

    /// What proxy and controller need to see no more of a cluster than what is this run's own.
    fn flags_for_scope(&self) -> Vec<String> {
        let names = self.names();
        let Some(run) = names.run() else { return Vec::new() };
        vec![format!("--namespace-labels={RUN_LABEL}={run}"), format!("--ingress-class={}", names.global("nearside"))]
    }

    pub(super) fn flags_for_records(&self) -> Vec<String> {
        match self {
            // The role of the name server is one of its own namespace.
            Self::Api(_) => vec![format!("--namespace={}", self.names().global(ROUTER_NAMESPACE))],
            Self::Manifests { out, .. } => vec![format!("--manifests={}", out.join("dnsendpoints").display())],
        }
    }

    pub(super) fn flags_for_controller(&self) -> Vec<String> {
        match self {
            Self::Api(_) => {
                let namespace = self.names().global(ROUTER_NAMESPACE);
                let mut flags = self.flags_for_scope();
                flags.push(format!("--router-namespace={namespace}"));
                flags
            }
            Self::Manifests { directory, out } => {
                vec![format!("--manifests={}", directory.display()), format!("--out={}", out.display())]
            }
        }
    }

    pub(super) fn flags_for_proxy(&self) -> Vec<String> {
        match self {
            Self::Api(_) => self.flags_for_scope(),
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
