//! Pages for the operator besides health and metrics: the state flows in, JSON flows out on the admin port. Keys of
//! certificates never appear.

mod routes;

use crate::accept::Listeners;
use crate::state::CurrentState;
use http::StatusCode;
use nearside_admin::{AdminServer, Page};
use nearside_watch::SyncState;
use serde::Serialize;
use std::sync::{Arc, OnceLock};

/// What exists once the first snapshot is there.
pub(crate) type Started = Arc<OnceLock<(CurrentState, Listeners)>>;

/// Adds `/routes` (the compiled table), `/listeners` (the bound addresses) and `/sources` (how the cluster is read).
pub(crate) fn pages(server: AdminServer, started: &Started, settings: Settings, sources: SyncState) -> AdminServer {
    let (for_routes, for_listeners) = (Arc::clone(started), Arc::clone(started));
    server
        .page("/routes", move || match for_routes.get() {
            Some((current, _)) => json(&routes::page(&current.load(), &settings)),
            None => not_yet(),
        })
        .page("/sources", move || json(&sources.page()))
        .page("/listeners", move || match for_listeners.get() {
            Some((_, listeners)) => json(listeners),
            None => not_yet(),
        })
}

pub(crate) use routes::Settings;

fn json(value: &impl Serialize) -> Page {
    match serde_json::to_vec_pretty(value) {
        Ok(body) => Page::json(body),
        Err(error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn not_yet() -> Page {
    Page::text(StatusCode::SERVICE_UNAVAILABLE, "the objects are not read completely yet\n")
}
