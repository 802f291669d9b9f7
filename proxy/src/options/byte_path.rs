//! Flags on the way that bytes take between pod and client: words flow in, which ways may be taken flows out.

use super::Mistakes;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct BytePathArguments {
    /// Serve requests over HTTP/1.1 that need nothing else on a short way from socket to socket; `false` serves all alike.
    #[arg(long, env = "NEARSIDE_FAST_PATH", value_name = "BOOLEAN", default_value = "true")]
    fast_path: String,
    /// Move large bodies and tunnels that are plain on both sides within the kernel (splice); `false` copies them.
    #[arg(long, env = "NEARSIDE_SPLICE", value_name = "BOOLEAN", default_value = "true")]
    splice: String,
}

/// Which ways may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BytePathConfig {
    /// The short way for plain requests.
    pub(crate) fast: bool,
    /// The way through the kernel.
    pub(crate) splice: bool,
}

impl BytePathArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> BytePathConfig {
        let words = [("true", true), ("false", false)];
        BytePathConfig {
            fast: mistakes.one_of("fast-path", &self.fast_path, &words),
            splice: mistakes.one_of("splice", &self.splice, &words),
        }
    }
}
