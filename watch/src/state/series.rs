//! The series `nearside_watch_*` of every program: the state of the sources flows in when somebody scrapes, families of
//! Prometheus' library flow out.

use super::{KindState, SyncState};
use crate::merge::Standing;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

/// Adds the series to a registry.
///
/// # Errors
/// When they are there already.
pub fn register(state: &SyncState, registry: &Registry) -> prometheus::Result<()> {
    if let Some(taken_in) = &state.taken_in {
        registry.register(Box::new(taken_in.clone()))?;
    }
    let descriptions = FAMILIES.iter().map(Family::description).collect::<prometheus::Result<_>>()?;
    registry.register(Box::new(Sources { state: state.clone(), descriptions }))
}

struct Sources {
    state: SyncState,
    descriptions: Vec<Desc>,
}

impl Collector for Sources {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let kinds = self.state.kinds();
        let families = FAMILIES.iter().map(|family| {
            let mut collected = MetricFamily::default();
            collected.set_name(family.name.to_owned());
            collected.set_help(family.help.to_owned());
            collected.set_field_type(if family.is_counter { MetricType::COUNTER } else { MetricType::GAUGE });
            for (kind, state) in &kinds {
                for (label, value) in (family.values)(state) {
                    let mut labels = vec![pair("kind", kind.name())];
                    labels.extend(family.label.map(|name| pair(name, &label)));
                    labels.sort_by(|one, other| one.name().cmp(other.name()));
                    collected.mut_metric().push(sample(family, labels, value));
                }
            }
            collected
        });
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

/// Samples of one kind, each with the value of the second label.
type Values = Vec<(Cow<'static, str>, f64)>;

/// A family, and how its samples of a kind are read: each with the value of its second label, if it has one.
struct Family {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    is_counter: bool,
    values: fn(&KindState) -> Values,
}

impl Family {
    fn description(&self) -> prometheus::Result<Desc> {
        let labels = ["kind"].into_iter().chain(self.label).map(str::to_owned).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

const FAMILIES: [Family; 11] = [
    Family {
        name: "nearside_watch_synced",
        help: "Whether something is known of a kind: listed, from the snapshot on disk, or that there is nothing to list.",
        label: None,
        is_counter: false,
        values: |state| one(state.synced.into()),
    },
    Family {
        name: "nearside_watch_available",
        help: "Whether what there is of a kind can be listed and watched at present.",
        label: None,
        is_counter: false,
        values: |state| {
            let is_read = state.standing == Standing::Live && state.error.is_none();
            one((is_read || state.standing == Standing::Missing).into())
        },
    },
    Family {
        name: "nearside_watch_last_contact_seconds",
        help: "For how long the source of a kind has not been heard.",
        label: None,
        is_counter: false,
        values: |state| state.last_contact.map(|at| ("".into(), at.elapsed().as_secs_f64())).into_iter().collect(),
    },
    Family {
        name: "nearside_watch_objects",
        help: "Objects of a kind that are known.",
        label: None,
        is_counter: false,
        values: |state| one(number(state.objects as u64)),
    },
    Family {
        name: "nearside_watch_held_objects",
        help: "Objects that the last list lacked and that are kept until a second list agrees.",
        label: None,
        is_counter: false,
        values: |state| one(number(state.held as u64)),
    },
    Family {
        name: "nearside_watch_snapshot_age_seconds",
        help: "How old the snapshot on disk is that is served in place of a kind; 0 where it is not.",
        label: None,
        is_counter: false,
        values: |state| {
            let at = state.snapshot.filter(|_| state.standing == Standing::Snapshot);
            one(at.map_or(0.0, |at| SystemTime::now().duration_since(at).unwrap_or_default().as_secs_f64()))
        },
    },
    Family {
        name: "nearside_watch_lists_total",
        help: "Complete lists of a kind, by how they came.",
        label: Some("how"),
        is_counter: true,
        values: |state| {
            vec![
                ("paged".into(), number(state.counts.paged_lists)),
                ("streamed".into(), number(state.counts.streamed_lists)),
            ]
        },
    },
    Family {
        name: "nearside_watch_relists_total",
        help: "Lists after the first one, by what made them necessary.",
        label: Some("reason"),
        is_counter: true,
        values: |state| state.counts.relists.iter().map(|(reason, count)| (reason.clone(), number(*count))).collect(),
    },
    Family {
        name: "nearside_watch_events_total",
        help: "Changes of a kind that its watch told.",
        label: None,
        is_counter: true,
        values: |state| one(number(state.counts.events)),
    },
    Family {
        name: "nearside_watch_undecodable_total",
        help: "Objects of a kind that could not be decoded.",
        label: None,
        is_counter: true,
        values: |state| one(number(state.counts.undecodable)),
    },
    Family {
        name: "nearside_watch_received_bytes_total",
        help: "Bytes of lists and watches of a kind.",
        label: None,
        is_counter: true,
        values: |state| one(number(state.counts.bytes)),
    },
];

fn one(value: f64) -> Values {
    vec![("".into(), value)]
}

/// Counts beyond 2^53 lose their last digits, as any counter of Prometheus does.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
fn number(value: u64) -> f64 {
    value as f64
}

fn sample(family: &Family, labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    if family.is_counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
