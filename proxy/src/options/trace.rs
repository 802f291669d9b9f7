//! Flags for traces: raw text flows in, a valid [`TraceConfig`] flows out.

use super::Mistakes;
use crate::trace::{Sampling, TraceConfig};

/// Flags for traces.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArguments {
    /// Send a trace of requests to this OpenTelemetry collector (OTLP over HTTP), such as `http://collector:4318`; and tell
    /// pods of it. [default: no traces]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The part of traces that is recorded, from 0 to 1, where the client does not say whether its trace is.
    #[arg(long, env = "NEARSIDE_TRACE_SAMPLING", value_name = "RATIO", default_value = "1")]
    trace_sampling: String,
    /// The name of this service in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", default_value = "nearside")]
    trace_service_name: String,
}

impl TraceArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> TraceConfig {
        let endpoint = self.otlp_endpoint.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let endpoint =
            endpoint.and_then(|text| text.parse().map_err(|error: String| mistakes.add("otlp-endpoint", error)).ok());
        let sampling = self.trace_sampling.trim().parse().ok().and_then(Sampling::of);
        if sampling.is_none() {
            mistakes.add("trace-sampling", format!("{:?} is not a number from 0 to 1", self.trace_sampling));
        }
        TraceConfig { endpoint, sampling: sampling.unwrap_or_default(), service: self.trace_service_name.trim().into() }
    }
}
