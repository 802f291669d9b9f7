//! The flag on memory: a word flows in, a limit flows out.

use super::Mistakes;
use crate::memory::MemoryLimit;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct MemoryArguments {
    /// Memory near which the proxy serves less instead of ending: bytes that the process may take, `auto` for what its container
    /// may (cgroup v2), or `off`.
    #[arg(long, env = "NEARSIDE_MEMORY_LIMIT", value_name = "BYTES", default_value = "off")]
    memory_limit: String,
}

impl MemoryArguments {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> MemoryLimit {
        match self.memory_limit.trim() {
            "auto" => MemoryLimit::OfContainer,
            "off" => MemoryLimit::None,
            text => match text.parse() {
                Ok(bytes) if bytes > 0 => MemoryLimit::Bytes(bytes),
                _ => {
                    mistakes.add("memory-limit", format!("{text:?} is not a number of bytes, nor auto or off"));
                    MemoryLimit::None
                }
            },
        }
    }
}
