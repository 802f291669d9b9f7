//! What a program says of what it reads: a stage and the name of one of its programs flow in, its page of sources flows out.

use crate::stage::Stage;
use serde_json::Value;

/// The states of the kinds and what is wrong with them, as JSON.
pub(crate) async fn page(stage: &Stage, program: &str) -> String {
    stage.admin_page(program, "/sources").await.1
}

/// The states alone.
pub(crate) async fn states(stage: &Stage, program: &str) -> Vec<String> {
    let page: Value = serde_json::from_str(&page(stage, program).await).unwrap_or_default();
    let states = page["sources"].as_array().into_iter().flatten();
    states.map(|source| source["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until every kind is live.
pub(crate) async fn until_reads_everything(stage: &Stage, program: &str) {
    let look = async || states(stage, program).await;
    let live = |states: &Vec<String>| !states.is_empty() && states.iter().all(|state| state == "live");
    stage.until(&format!("{program} reads everything"), look, live).await;
}
