//! Flags that keep the credentials of the API server away from the process that talks to clients: raw text flows in, where objects are
//! taken from, or offered, flows out.

use super::Mistakes;
use clap::Args;
use std::path::PathBuf;

/// The flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct ObjectArguments {
    /// Take the objects from the process that offers them at this Unix socket (`--serve-objects`) instead of from a cluster, so
    /// that this one, which talks to clients, needs no credentials of the API server.
    #[arg(long, env = "NEARSIDE_OBJECTS_FROM", value_name = "PATH")]
    objects_from: Option<String>,
    /// Serve no clients: read the cluster with the permissions of this process, and offer the objects at this Unix socket to
    /// the proxy that is started with `--objects-from`. Both take the same flags; what a Secret holds is offered only if it is of the
    /// type for certificates or named by a Route or an Ingress.
    #[arg(long, env = "NEARSIDE_SERVE_OBJECTS", value_name = "PATH")]
    serve_objects: Option<String>,
}

/// Between which processes objects pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ObjectPassing {
    /// This one reads what it serves.
    #[default]
    None,
    /// Another one reads the cluster, and offers what it reads here.
    From(PathBuf),
    /// This one reads the cluster for another.
    At(PathBuf),
}

impl ObjectArguments {
    /// `manifests` says whether objects come from files.
    pub(crate) fn check(&self, manifests: bool, mistakes: &mut Mistakes) -> ObjectPassing {
        let path =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from);
        match (path(&self.objects_from), path(&self.serve_objects)) {
            (Some(_), Some(_)) => mistakes.add("serve-objects", "only one of it and --objects-from may be given"),
            (Some(_), None) if manifests => {
                mistakes.add("objects-from", "only one of it and --manifests may be given");
            }
            (None, Some(_)) if manifests => {
                mistakes.add(
                    "serve-objects",
                    "offers the objects of a cluster; whoever reads --manifests needs nobody for it",
                );
            }
            (Some(path), None) => return ObjectPassing::From(path),
            (None, Some(path)) => return ObjectPassing::At(path),
            (None, None) => {}
        }
        ObjectPassing::None
    }
}
