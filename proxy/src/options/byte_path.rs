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
    /// Whether the kernel encrypts large answers over TLS with HTTP/1.1, so that they are moved within it as well: `auto` where it can
    /// (module tls) and does so with instructions of the processor, `always` where it can, `never`. Needs `--fast-path` and `--splice`.
    #[arg(long, env = "NEARSIDE_KERNEL_TLS", value_name = "WHEN", default_value = "auto")]
    kernel_tls: String,
}

/// Which ways may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BytePathConfig {
    /// The short way for plain requests.
    pub(crate) fast: bool,
    /// The way through the kernel.
    pub(crate) splice: bool,
    /// TLS that the kernel does, for what goes that way.
    pub(crate) kernel_tls: KernelTlsUse,
}

/// Whether the kernel is to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelTlsUse {
    /// Where it does so as fast as the proxy does.
    Auto,
    /// Where it can.
    Always,
    /// Not at all.
    Never,
}

impl BytePathArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> BytePathConfig {
        let words = [("true", true), ("false", false)];
        let fast = mistakes.one_of("fast-path", &self.fast_path, &words);
        let splice = mistakes.one_of("splice", &self.splice, &words);
        let words = [("auto", KernelTlsUse::Auto), ("always", KernelTlsUse::Always), ("never", KernelTlsUse::Never)];
        let kernel_tls = mistakes.one_of("kernel-tls", &self.kernel_tls, &words);
        let kernel_tls = if fast && splice { kernel_tls } else { KernelTlsUse::Never };
        BytePathConfig { fast, splice, kernel_tls }
    }
}
