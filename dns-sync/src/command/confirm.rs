//! `confirm`: the operator's word that names of a zone may go, left where the publisher looks for it.

use super::say;
use nearside_dns_sync::config::ConfirmConfig;
use nearside_dns_sync::publish::confirmation::confirm;
use std::process::ExitCode;

/// Leaves the word.
pub(crate) fn run(config: &ConfirmConfig) -> ExitCode {
    match confirm(&config.state_dir, &config.zone, config.time) {
        Ok(()) => say(&format!("names of {} may go for {} s, however many\n", config.zone, config.time.as_secs())),
        Err(error) => {
            let file = config.state_dir.display();
            nearside_admin::unusable_flags(
                "nearside-dns-sync",
                &[format!("stateDir {file} cannot be written: {error}")],
            )
        }
    }
}
