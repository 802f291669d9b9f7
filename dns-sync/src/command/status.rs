//! `status`: asks a running publisher, shows what it says, and says by the exit code whether all is visible.

use super::say;
use nearside_dns_sync::config::{StatusConfig, StatusOutput};
use nearside_dns_sync::status::{is_visible, only, table};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Asks, again where there is time, and shows the last answer.
pub(crate) fn run(config: &StatusConfig) -> Result<ExitCode, String> {
    let until = config.wait.map(|wait| Instant::now() + wait);
    let host = config.host.as_deref();
    loop {
        let overview = config.place.overview(&config.access).map(|overview| only(overview, host));
        let is_done = overview.as_ref().is_ok_and(|overview| is_visible(overview, host));
        if !is_done && until.is_some_and(|until| Instant::now() < until) {
            std::thread::sleep(BETWEEN_QUESTIONS);
            continue;
        }
        let overview = overview.map_err(|error| error.to_string())?;
        let text = match config.output {
            StatusOutput::Table => table(&overview, false),
            StatusOutput::Wide => table(&overview, true),
            StatusOutput::Json => {
                let text = serde_json::to_string_pretty(&overview).map_err(|error| error.to_string())?;
                text + "\n"
            }
        };
        let said = say(&text);
        return Ok(if is_done { said } else { ExitCode::FAILURE });
    }
}

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(250);
