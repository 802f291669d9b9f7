//! Keeps the plan of checks up to date: the serving state flows in as it changes, plans flow out to the checker. A plan is made from the
//! whole table, so that it is not made of each state where these follow one another quickly: a check may begin a little later. Started
//! by `main`.

use super::plan::{Plan, plan};
use crate::limits::{PLAN_REST, PLAN_REST_MOST};
use crate::state::CurrentState;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Makes a plan of each state that comes after the present one, of which there is one. `interval` is that of routes that state none.
pub(crate) fn keep_planned(
    current: CurrentState,
    interval: Duration,
    plans: watch::Sender<Plan>,
) -> impl Future<Output = ()> + Send {
    // From now on, not from when this is first waited for.
    let mut replaced = current.replacements();
    async move {
        while replaced.changed().await.is_ok() {
            let (begin, state) = (Instant::now(), current.load());
            match spawn_blocking(move || plan(&state, interval)).await {
                Ok(plan) => drop(plans.send_replace(plan)),
                Err(error) => tracing::error!(%error, "the checks of pods stay as they were planned last"),
            }
            tokio::time::sleep((begin.elapsed() * PLAN_REST).min(PLAN_REST_MOST)).await;
        }
    }
}
