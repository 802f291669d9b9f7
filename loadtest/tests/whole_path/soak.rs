//! A steady load while whatever can happen to a cluster happens, in an order that a seed decides: `make soak MINUTES=…`, and for a moment in
//! every run of the tests. Two tenants are asked at a constant rate, whatever the answers take; each answer must be its own tenant's, from
//! the node that was asked, and whole. In between a change must be served and published, and no program may grow without end.

mod event;
mod load;
mod process;

use crate::objects::{edge, route, route_in, service, service_in, with_tls};
use crate::stage::{Source, Stage, ZONE};
use event::Event;
use load::{Load, Tenant};
use process::Footprint;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The tenants: the namespace, the name of the Service, which its pods bear, and the host.
const TENANTS: [Tenant; 2] = [
    Tenant { namespace: "shop", app: "web", host: "web.apps.example.com" },
    Tenant { namespace: "rival", app: "rival", host: "rival.apps.example.com" },
];
const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_whatever_happens_in_which_order() {
    let minutes = setting("NEARSIDE_SOAK_MINUTES").map_or(MOMENT, |text| {
        Duration::from_secs_f64(text.parse::<f64>().expect("NEARSIDE_SOAK_MINUTES is a number of minutes") * 60.0)
    });
    let seed = setting("NEARSIDE_SOAK_SEED").map_or(1, |text| text.parse().expect("NEARSIDE_SOAK_SEED is a number"));
    let mut stage = laid().await;
    let load = Load::start(&stage);
    let began = Instant::now();
    let before: BTreeMap<String, Footprint> = footprints(&stage);
    let (mut dice, mut timeline, mut happened) = (Dice(seed), String::new(), 0_usize);
    while began.elapsed() < minutes {
        let event = Event::ALL[dice.below(Event::ALL.len())];
        let (node, held) = (NODES[dice.below(NODES.len())], Duration::from_millis(200 + 50 * dice.below(30) as u64));
        let at = began.elapsed();
        event.happens(&mut stage, node, held, happened).await;
        happened += 1;
        writeln!(timeline, "{:8.2} s to {:.2} s: {event:?}, {node}", at.as_secs_f64(), began.elapsed().as_secs_f64())
            .unwrap();
        if happened.is_multiple_of(CHECKED) {
            settles(&stage, happened).await;
            let now = footprints(&stage);
            for (program, now) in &now {
                now.assert_bounded(
                    &before[program],
                    &format!("{program} after {happened} events, seed {seed}\n{timeline}"),
                );
            }
        }
    }
    settles(&stage, happened).await;
    let (requests, failures) = load.stop().await;
    eprintln!("soak: seed {seed}, {happened} events, {requests} requests, {} failed", failures.len());
    assert!(
        failures.is_empty() && requests > 0,
        "seed {seed}: {} of {requests} requests failed:\n{}\nwhat happened:\n{timeline}",
        failures.len(),
        failures.join("\n")
    );
    stage.assert_nothing_crossed().await;
}

/// Both tenants on all nodes, with two pods each, so that one may go.
async fn laid() -> Stage {
    let mut stage = Stage::start(Source::Api, 3, |stage| {
        let [shop, rival] = TENANTS;
        stage.put_all(&[service(shop.app), route("web", shop.host, shop.app)]);
        stage.put_all(&[service_in("rival", rival.app, 80, 8080), route_in("rival", "rival", rival.host, rival.app)]);
        for tenant in TENANTS {
            for (number, node) in (0..).zip(NODES.into_iter().chain(NODES)) {
                stage.run_pod_in(tenant.namespace, tenant.app, number, node);
            }
        }
    })
    .await;
    stage.start_controller_as("second-controller");
    stage.ready().await;
    for tenant in TENANTS {
        stage.until_published(tenant.host, &NODES).await;
    }
    stage
}

/// All is as it was, and what is new is served with its certificate, published, and goes again.
async fn settles(stage: &Stage, number: usize) {
    for tenant in TENANTS {
        stage.until_published(tenant.host, &NODES).await;
    }
    let (name, host) = (format!("new{number}"), format!("new{number}.{ZONE}"));
    let identity = stage.ca.identity(&[&host]).unwrap();
    let new = with_tls(route(&name, &host, "web"), edge(&identity));
    stage.put(&new);
    for node in NODES {
        stage.until_served(node, &format!("https://{host}/")).await;
    }
    stage.until_published(&host, &NODES).await;
    stage.until_admitted("shop", &name, "True", "").await;
    stage.delete(&new);
    stage.until_published(&host, &[]).await;
}

fn footprints(stage: &Stage) -> BTreeMap<String, Footprint> {
    let programs = stage.programs.iter().filter_map(|(name, program)| Some((name.clone(), program.id()?)));
    programs.filter_map(|(name, id)| Some((name, Footprint::of(id)?))).collect()
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// How long it goes on where nobody says.
const MOMENT: Duration = Duration::from_secs(25);
/// Events between two looks at everything.
const CHECKED: usize = 8;
