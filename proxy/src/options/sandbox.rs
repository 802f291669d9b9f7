//! The flag for how far the process shuts itself in: raw text flows in, [`Sandbox`] flows out.

use super::{Mistakes, ObjectPassing};
use crate::sandbox::Sandbox;
use clap::Args;

/// The flag.
#[derive(Clone, Debug, Args)]
pub(crate) struct SandboxArguments {
    /// Whether a proxy with `--objects-from` or `--manifests` shuts itself in once it has read its flags: it opens no files but those
    /// that they name, starts no program, and makes few system calls (Landlock, seccomp). `true`: as far as the kernel can;
    /// `required`: it does not start where the kernel cannot; `false`: not at all. A proxy that reads a cluster itself never does.
    #[arg(long, env = "NEARSIDE_SANDBOX", value_name = "WHETHER", default_value = "true")]
    sandbox: String,
}

impl SandboxArguments {
    pub(crate) fn check(&self, manifests: bool, objects: &ObjectPassing, mistakes: &mut Mistakes) -> Sandbox {
        let choices = [("true", Sandbox::Possible), ("required", Sandbox::Required), ("false", Sandbox::Off)];
        let sandbox = mistakes.one_of("sandbox", &self.sandbox, &choices);
        if manifests || matches!(objects, ObjectPassing::From(_)) {
            return sandbox;
        }
        if sandbox == Sandbox::Required {
            mistakes.add("sandbox", "a process that reads a cluster cannot shut itself in; give it --objects-from");
        }
        Sandbox::Off
    }
}
