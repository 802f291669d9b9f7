//! What must not happen: a panic flows in, a counter and a line in the log flow out. The task that it happened in has ended by then, and
//! with it a connection or a request; every other goes on.

use prometheus::{IntCounter, Registry};
use std::panic;

/// Counts panics from now on.
///
/// # Errors
/// Prometheus', if two series of the registry have one name.
pub(crate) fn count(registry: &Registry) -> prometheus::Result<IntCounter> {
    let help = "Faults of the program by each of which a connection or a request was lost.";
    let counter = IntCounter::new("nearside_panics_total", help)?;
    registry.register(Box::new(counter.clone()))?;
    let counted = counter.clone();
    panic::set_hook(Box::new(move |fault| {
        counted.inc();
        let place = fault.location().map(ToString::to_string).unwrap_or_default();
        let what = fault.payload_as_str().unwrap_or_default();
        tracing::error!(place, what, "a fault of this program, by which a connection or a request is lost");
    }));
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_others_go_on() {
        let before = panic::take_hook();
        let counter = count(&Registry::new()).unwrap();
        let task = tokio::spawn(async { panic!("on purpose") });
        let other = tokio::spawn(async { 7 });
        let (ended, seven) = (task.await, other.await);
        // Whatever other tests of this process do counts as well.
        assert!(ended.unwrap_err().is_panic() && counter.get() >= 1);
        assert_eq!(seven.unwrap(), 7);
        panic::set_hook(before);
    }
}
