//! What a process that talks to strangers gives up before it does: the paths that its configuration names flow in, a thread that can open
//! no others, start no program and use few system calls is left; so are all threads that it makes. Called by `main` before there are any
//! others, and only where no credentials of a cluster are read here, which may take plugins and files that nobody can foresee.

mod files;
mod system_calls;

pub(crate) use files::Reach;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use std::fmt;

/// Whether the process shuts itself in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// As far as the kernel can.
    #[default]
    Possible,
    /// Completely, or it does not start.
    Required,
    /// Not at all.
    Off,
}

/// What the kernel does not enforce.
#[derive(Debug, thiserror::Error)]
#[error("the kernel does not enforce the sandbox (--sandbox): {}", .0.join("; "))]
pub(crate) struct Unenforced(Vec<String>);

impl Sandbox {
    /// Shuts this thread in, and those that it makes from now on. What the kernel cannot enforce is logged.
    ///
    /// # Errors
    /// [`Unenforced`] where that is required.
    pub(crate) fn enter(self, reach: &Reach) -> Result<(), Unenforced> {
        if self == Self::Off {
            return Ok(());
        }
        let mut missing = Vec::new();
        let mut note =
            |what: &str, done: Result<(), String>| missing.extend(done.err().map(|why| format!("{what}: {why}")));
        note("no_new_privs", told(set_no_new_privs(true)));
        // Keys are in memory.
        note("no core dumps", told(set_dumpable_behavior(DumpableBehavior::NotDumpable)));
        note("no core dumps", told(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })));
        note("Landlock", files::confine(reach));
        note("seccomp", system_calls::confine());
        match (missing.is_empty(), self) {
            (true, _) => tracing::info!("the process is shut in: Landlock, seccomp, no_new_privs"),
            (false, Self::Required) => return Err(Unenforced(missing)),
            (false, _) => tracing::warn!("{}", Unenforced(missing)),
        }
        Ok(())
    }
}

fn told<E: fmt::Display>(done: Result<(), E>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}
