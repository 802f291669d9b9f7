//! Flags on relaying: words flow in, settings flow out; none where the operator does not allow it.

use super::Mistakes;
use crate::relay::{KeyFile, RelayConfig};
use std::path::PathBuf;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct RelayArguments {
    /// Allow objects to have requests relayed that find no ready pod on this node (`nearside.dev/on-miss: relay`): the file
    /// with the keys by which the proxies of the cluster know one another, one a line, the first one used. Without it such
    /// requests are redirected.
    #[arg(long, env = "NEARSIDE_RELAY_KEY_FILE", value_name = "FILE")]
    relay_key_file: Option<PathBuf>,
    /// Of a hundred responses, the most that may be relayed; a few may in any case. What is more is redirected.
    #[arg(long, env = "NEARSIDE_RELAY_SHARE", value_name = "PERCENT", default_value = "5")]
    relay_share: String,
    /// The most bytes of relayed responses a second.
    #[arg(long, env = "NEARSIDE_RELAY_RATE", value_name = "BYTES", default_value = "33554432")]
    relay_rate: String,
    /// The most bytes of one relayed response. A longer one is redirected if it says so in time, else cut.
    #[arg(long, env = "NEARSIDE_RELAY_RESPONSE_BYTES", value_name = "BYTES", default_value = "16777216")]
    relay_response_bytes: String,
}

impl RelayArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<RelayConfig> {
        let share = number("relay-share", &self.relay_share, 100, mistakes);
        let rate = number("relay-rate", &self.relay_rate, u64::MAX, mistakes);
        let response_bytes = number("relay-response-bytes", &self.relay_response_bytes, u64::MAX, mistakes);
        let path = self.relay_key_file.as_ref().filter(|path| !path.as_os_str().is_empty())?;
        match KeyFile::read(path) {
            Ok(keys) => Some(RelayConfig { keys, share: u32::try_from(share).unwrap_or(100), rate, response_bytes }),
            Err(error) => {
                mistakes.add("relay-key-file", error.to_string());
                None
            }
        }
    }
}

fn number(flag: &'static str, text: &str, most: u64, mistakes: &mut Mistakes) -> u64 {
    let number = text.trim().parse::<u64>().ok().filter(|number| (1..=most).contains(number));
    number.unwrap_or_else(|| {
        let range =
            if most == u64::MAX { "a number from 1 on".to_owned() } else { format!("a number from 1 to {most}") };
        mistakes.add(flag, format!("{text:?} is not {range}"));
        1
    })
}
