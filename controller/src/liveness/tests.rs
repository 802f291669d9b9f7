//! Nodes that are called not Ready, step by step and in random histories.

use super::*;
use nearside_routing::NodeId;
use proptest::prelude::*;

fn node(ready: bool) -> NodeState {
    NodeState {
        id: NodeId::of("n"),
        addresses: Vec::new(),
        ready,
        withdrawn: false,
        router: Some(ready),
        router_ends: false,
        router_lost: false,
    }
}

/// Nodes `n0` and so on, of which the first are not Ready.
struct Stage {
    liveness: Liveness,
    nodes: NodeStates,
    probes: Probes,
    now: Duration,
}

impl Stage {
    fn new(nodes: usize, not_ready: usize) -> Self {
        let nodes = (0..nodes).map(|at| (format!("n{at}").into(), node(at >= not_ready))).collect();
        Self { liveness: Liveness::default(), nodes, probes: Probes::new(), now: Duration::from_secs(1000) }
    }

    fn probe(&mut self, at: usize, probe: Probe) {
        self.probes.insert(format!("n{at}").into(), (probe, self.now));
    }

    fn step(&mut self) -> usize {
        self.liveness.step(&self.nodes, &self.probes, self.now);
        self.liveness.kept().count()
    }

    fn wait(&mut self, time: Duration) -> usize {
        self.now += time;
        self.step()
    }
}

#[test]
fn a_node_that_does_not_answer_goes_at_once_and_one_that_does_a_while_later() {
    let mut stage = Stage::new(10, 2);
    assert_eq!(stage.step(), 2, "until a probe has ended");
    stage.probe(0, Probe::Red);
    stage.probe(1, Probe::Green);
    assert_eq!(stage.step(), 1);
    assert!(stage.liveness.keeps("n1") && !stage.liveness.keeps("n0") && !stage.liveness.keeps("n5"));
    assert_eq!(stage.liveness.next_due(), Some(stage.now + NOT_READY_BUT_ANSWERS));
    assert_eq!(stage.wait(NOT_READY_BUT_ANSWERS - Duration::from_secs(1)), 1);
    assert_eq!(stage.wait(Duration::from_secs(1)), 0);
    stage.probe(0, Probe::Green);
    assert_eq!(stage.step(), 0, "who has gone stays away until it is Ready");
    stage.nodes.insert("n0".into(), node(true));
    assert_eq!(stage.step(), 0);
    stage.nodes.insert("n0".into(), node(false));
    stage.now += Duration::from_secs(1);
    assert_eq!(stage.step(), 1, "and what an earlier probe found does not count");
    assert_eq!(stage.wait(PROBE_PATIENCE), 0, "without any probe the API server is believed");
}

#[test]
fn many_nodes_that_all_answer_are_held_for_as_long_as_they_do() {
    let mut stage = Stage::new(9, 3);
    stage.step();
    (0..3).for_each(|at| stage.probe(at, Probe::Green));
    assert_eq!((stage.step(), stage.liveness.keeping()), (3, Keeping::Held));
    assert_eq!(stage.liveness.next_due(), None);
    assert_eq!(stage.wait(Duration::from_secs(86_400)), 3);
    // One recovers: the two that are left are few, and have their time from here.
    stage.nodes.insert("n2".into(), node(true));
    assert_eq!((stage.step(), stage.liveness.keeping()), (3, Keeping::Bounded), "its pods follow in a moment");
    assert_eq!(stage.wait(RECOVERY), 2);
    stage.probe(0, Probe::Red);
    assert_eq!(stage.step(), 1, "a probe that fails takes it out at once");
    assert_eq!(stage.wait(NOT_READY_BUT_ANSWERS), 0);
}

#[test]
fn neither_few_nodes_nor_a_small_share_are_held() {
    for (nodes, not_ready) in [(2, 2), (10, 3), (100, 30)] {
        let mut stage = Stage::new(nodes, not_ready);
        stage.step();
        (0..not_ready).for_each(|at| stage.probe(at, Probe::Green));
        assert_eq!((stage.step(), stage.liveness.keeping()), (not_ready, Keeping::Bounded), "{not_ready} of {nodes}");
        assert_eq!(stage.wait(NOT_READY_BUT_ANSWERS), 0);
    }
}

#[test]
fn a_node_that_recovers_is_kept_while_its_router_and_its_pods_follow() {
    let mut stage = Stage::new(5, 1);
    stage.step();
    stage.probe(0, Probe::Green);
    stage.step();
    // The node is Ready first; the readiness of its router was taken back and is given again later.
    let lost = NodeState { router: Some(false), router_lost: true, ..node(true) };
    stage.nodes.insert("n0".into(), lost.clone());
    assert_eq!(stage.step(), 1);
    stage.nodes.insert("n0".into(), node(true));
    assert_eq!(stage.step(), 1);
    assert_eq!(stage.liveness.next_due(), Some(stage.now + RECOVERY));
    stage.nodes.insert("n0".into(), lost);
    assert_eq!((stage.wait(RECOVERY), stage.liveness.next_due().is_some()), (1, true), "and is lost again");
    stage.nodes.insert("n0".into(), NodeState { router: Some(false), ..node(true) });
    assert_eq!(stage.step(), 0, "a router that itself says that it is not ready is believed at once");
}

#[test]
fn an_operator_takes_nodes_out_of_a_hold() {
    let mut stage = Stage::new(4, 4);
    stage.step();
    (0..4).for_each(|at| stage.probe(at, Probe::Green));
    assert_eq!(stage.step(), 4);
    for (name, change) in [
        ("n0", NodeState { withdrawn: true, ..node(false) }),
        ("n1", NodeState { router: None, ..node(false) }),
        ("n2", NodeState { router_ends: true, ..node(false) }),
    ] {
        stage.nodes.insert(name.into(), change);
        stage.step();
        assert!(!stage.liveness.keeps(name), "{name}");
    }
    stage.nodes.remove("n3");
    assert_eq!(stage.step(), 0);
}

proptest! {
    #[test]
    fn only_nodes_that_are_not_ready_are_kept_and_few_of_them_not_for_long(
        steps in proptest::collection::vec((0_usize..8, any::<bool>(), any::<bool>(), 0_u64..40), 1..60),
    ) {
        let mut stage = Stage::new(8, 0);
        for (at, ready, green, pause) in steps {
            stage.nodes.insert(format!("n{at}").into(), node(ready));
            let before: BTreeSet<Node> = stage.liveness.kept().cloned().collect();
            let was = stage.liveness.keeping();
            stage.now += Duration::from_secs(pause);
            let suspects: Vec<Node> = before.iter().cloned().collect();
            for name in suspects {
                let probe = if green { Probe::Green } else { Probe::Red };
                stage.probes.insert(name, (probe, stage.now));
            }
            let changed = stage.liveness.step(&stage.nodes, &stage.probes, stage.now);
            let after: BTreeSet<Node> = stage.liveness.kept().cloned().collect();
            for name in &after {
                prop_assert!(stage.nodes[name].is_suspect() || before.contains(name), "Ready, and never kept");
                prop_assert!(before.contains(name) || changed.contains(name));
            }
            prop_assert!(before.iter().all(|name| after.contains(name) || changed.contains(name)));
            prop_assert!(was == stage.liveness.keeping() || after.is_subset(&changed), "a change of the reason is told");
            match (stage.liveness.keeping(), stage.liveness.next_due()) {
                (Keeping::Bounded, due) => prop_assert_eq!(due.is_none(), after.is_empty()),
                (Keeping::Held, _) => prop_assert!(after.len() >= MANY_NODES),
            }
            if let Some(due) = stage.liveness.next_due() {
                prop_assert!(due > stage.now && due <= stage.now + NOT_READY_BUT_ANSWERS.max(PROBE_PATIENCE).max(RECOVERY));
            }
        }
    }
}
