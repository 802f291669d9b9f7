//! `plan`: what `publish` would change, as a diff.

use super::say;
use nearside_dns_sync::config::{PlanConfig, PlanOutput};
use nearside_dns_sync::publish::guard::List;
use nearside_dns_sync::publish::preview::{Preview, preview};
use nearside_dns_sync::source::read_all;
use nearside_watch::Source;
use std::process::ExitCode;
use tracing::error;

/// Prints the plan. The exit code is that of `diff`: 0 where nothing would change, 1 where something would, 2 where that is not known.
pub(crate) async fn run(config: PlanConfig) -> ExitCode {
    let source = match Source::from_options(&config.source.manifests).await {
        Ok(source) => source,
        Err(failed) => return unknown(&failed),
    };
    let list = if matches!(source, Source::Cluster(_)) { List::Claimed } else { List::Certain };
    let objects = match read_all(source, &config.source, config.timeout).await {
        Ok(objects) => objects,
        Err(failed) => return unknown(&failed),
    };
    let found = preview(&config.publication, &objects, list).await;
    let text = match config.output {
        PlanOutput::Text => text(&found),
        PlanOutput::Json => match serde_json::to_string_pretty(&found.places) {
            Ok(json) => json + "\n",
            Err(failed) => return unknown(&failed),
        },
    };
    // Whoever has closed the output does not read it.
    let _closed = say(&text);
    if found.places.iter().any(|place| place.error.is_some()) {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::from(u8::from(found.places.iter().any(|place| place.has_changes())))
    }
}

fn text(found: &Preview) -> String {
    let places = found.places.iter().map(ToString::to_string);
    let rejections = found.rejections.iter().map(|rejection| format!("! {rejection}\n"));
    places.chain(rejections).collect()
}

fn unknown(failed: &dyn std::fmt::Display) -> ExitCode {
    error!("{failed}");
    ExitCode::from(UNKNOWN)
}

const UNKNOWN: u8 = 2;
