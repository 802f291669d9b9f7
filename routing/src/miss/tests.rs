//! Where requests go that miss their pods: each policy by itself, and clients that follow whatever stale tables say.

use super::*;
use crate::hostname::Hostname;
use proptest::prelude::*;

fn alias(node: &str) -> PublishedAlias {
    let node = NodeId::of(node);
    let host = Hostname::parse("video.example.com").unwrap();
    let addresses = ["198.18.0.1".parse().unwrap()].into();
    PublishedAlias { node, alias: node.alias(&host).unwrap(), addresses, is_observed: true }
}

fn miss(published: &[PublishedAlias]) -> Miss<'_> {
    Miss {
        policy: MissPolicy::Redirect,
        has_weight: true,
        hop: Hop::First,
        follows: true,
        relays: true,
        published,
        own: NodeId::of("n1"),
    }
}

#[test]
fn a_client_is_sent_to_another_node_once_and_only_where_it_will_trust_it() {
    let published = [alias("n1"), alias("n2"), alias("n3")];
    let miss = miss(&published);
    let refused = |miss: Miss<'_>, covered: bool| match miss.step(|_| covered) {
        Step::Refuse(refusal) => Some(refusal),
        Step::Redirect(_) | Step::Relay(_) => None,
    };
    assert_eq!(miss.step(|_| true), Step::Redirect(vec![&published[1], &published[2]]));
    assert_eq!(miss.step(|name| name == published[2].alias.as_str()), Step::Redirect(vec![&published[2]]));
    assert_eq!(refused(miss, false), Some(Refusal::NotCovered));
    assert_eq!(refused(Miss { hop: Hop::Moved, ..miss }, true), Some(Refusal::Moved));
    assert_eq!(refused(Miss { policy: MissPolicy::Reject, ..miss }, true), Some(Refusal::Policy));
    assert_eq!(refused(Miss { published: &published[..1], ..miss }, true), Some(Refusal::Nowhere));
    assert_eq!(refused(Miss { has_weight: false, ..miss }, true), Some(Refusal::NoWeight));
    assert_eq!(refused(Miss { follows: false, ..miss }, true), Some(Refusal::CannotFollow));
}

#[test]
fn a_request_is_relayed_only_where_route_and_node_allow_it_and_redirected_otherwise() {
    let published = [alias("n1"), alias("n2")];
    let relay = Miss { policy: MissPolicy::Relay, ..miss(&published) };
    let to = vec![&published[1]];
    assert_eq!(relay.step(|_| false), Step::Relay(to.clone()), "the host's own name is asked for");
    assert_eq!(Miss { follows: false, ..relay }.step(|_| true), Step::Relay(to.clone()));
    assert_eq!(Miss { relays: false, ..relay }.step(|_| true), Step::Redirect(to.clone()));
    assert_eq!(Miss { relays: false, ..relay }.step(|_| false), Step::Refuse(Refusal::NotCovered));
    assert_eq!(Miss { policy: MissPolicy::Redirect, ..relay }.step(|_| true), Step::Redirect(to));
    assert_eq!(Miss { hop: Hop::Moved, ..relay }.step(|_| true), Step::Refuse(Refusal::Moved));
    let unreachable = [PublishedAlias { addresses: [].into(), ..alias("n2") }];
    assert_eq!(Miss { published: &unreachable, ..relay }.step(|_| true), Step::Redirect(vec![&unreachable[0]]));
}

#[test]
fn aliases_that_dns_has_taken_go_before_others() {
    let published = [PublishedAlias { is_observed: false, ..alias("n2") }, alias("n3")];
    assert_eq!(miss(&published).step(|_| true), Step::Redirect(vec![&published[1]]));
    assert_eq!(miss(&published).alternatives(), [&published[1]]);
    assert_eq!(miss(&published[..1]).step(|_| true), Step::Redirect(vec![&published[0]]), "better than none");
}

#[test]
fn a_client_goes_back_to_the_node_of_its_pod_only_by_a_redirect_that_works() {
    let published = [alias("n1"), alias("n2"), alias("n3")];
    let miss = miss(&published);
    let home = |miss: &Miss<'_>, node: &str| miss.home(NodeId::of(node), |_| true).map(|alias| alias.node);
    assert_eq!(home(&miss, "n3"), Some(NodeId::of("n3")));
    assert_eq!(home(&miss, "n1"), None, "it is here");
    assert_eq!(home(&miss, "n4"), None, "the node is gone");
    assert_eq!(home(&Miss { hop: Hop::Moved, ..miss }, "n3"), None);
    assert_eq!(home(&Miss { policy: MissPolicy::Reject, ..miss }, "n3"), None);
    assert_eq!(home(&Miss { policy: MissPolicy::Relay, ..miss }, "n3"), None);
    assert!(miss.home(NodeId::of("n3"), |_| false).is_none());
}

#[test]
fn only_a_node_that_is_not_published_names_alternatives() {
    let published = [alias("n1"), alias("n2")];
    assert!(miss(&published).alternatives().is_empty());
    assert_eq!(miss(&published[1..]).alternatives(), [&published[1]]);
    assert!(Miss { hop: Hop::Moved, ..miss(&published[1..]) }.alternatives().is_empty());
    assert!(Miss { policy: MissPolicy::Reject, ..miss(&published[1..]) }.alternatives().is_empty());
}

/// One node of a cluster in which every table is stale in a way of its own.
#[derive(Clone, Debug)]
struct Node {
    /// Whether it has a pod.
    pod: bool,
    /// What it believes that DNS says.
    published: Vec<usize>,
    policy: MissPolicy,
    relays: bool,
    covered: bool,
}

fn node(count: usize) -> impl Strategy<Value = Node> {
    let policy = prop_oneof![Just(MissPolicy::Redirect), Just(MissPolicy::Reject), Just(MissPolicy::Relay)];
    (any::<bool>(), proptest::collection::vec(0..count, 0..count), policy, any::<bool>(), any::<bool>())
        .prop_map(|(pod, published, policy, relays, covered)| Node { pod, published, policy, relays, covered })
}

fn name(node: usize) -> String {
    format!("n{node}")
}

/// How one request ends.
#[derive(Debug, PartialEq)]
enum End {
    Answered { hops: usize },
    Refused { hops: usize },
}

/// Follows one request of a client that does whatever it is told, as long as it is told something. `cookie` is the node that
/// its cookie names, and `pick` chooses where there is a choice.
fn follow(nodes: &[Node], first: usize, cookie: Option<usize>, follows: bool, pick: usize) -> End {
    let (mut at, mut hop, mut hops) = (first, Hop::First, 0);
    // A loop would pass every node again and again.
    while hops <= nodes.len() {
        let node = &nodes[at];
        let published: Vec<PublishedAlias> = node.published.iter().map(|other| alias(&name(*other))).collect();
        let miss = Miss {
            policy: node.policy,
            has_weight: true,
            hop,
            follows,
            relays: node.relays,
            published: &published,
            own: NodeId::of(&name(at)),
        };
        let home = cookie.and_then(|cookie| miss.home(NodeId::of(&name(cookie)), |_| node.covered));
        let to = match home {
            Some(home) => home,
            None if node.pod => return End::Answered { hops },
            None => match miss.step(|_| node.covered) {
                Step::Redirect(all) | Step::Relay(all) => all[pick % all.len()],
                Step::Refuse(_) => return End::Refused { hops },
            },
        };
        // What the next node sees: its own alias in the host, or the mark of the relay.
        at = (0..nodes.len()).find(|other| NodeId::of(&name(*other)) == to.node).unwrap();
        hop = Hop::of(true, false);
        hops += 1;
    }
    panic!("{hops} hops through {nodes:?}");
}

fn cluster() -> impl Strategy<Value = Vec<Node>> {
    (2_usize..7).prop_flat_map(|count| proptest::collection::vec(node(count), count))
}

proptest! {
    /// Whatever each node believes and does, and wherever a client begins, whatever cookie it has: the request ends after
    /// one hop at most, and without any where the first node has the pod and nothing calls it back.
    #[test]
    fn no_request_moves_twice_through_any_tables(
        nodes in cluster(), first in 0_usize..6, cookie in proptest::option::of(0_usize..6), follows in any::<bool>(), pick in 0_usize..6,
    ) {
        let first = first % nodes.len();
        let end = follow(&nodes, first, cookie.map(|node| node % nodes.len()), follows, pick);
        let (End::Answered { hops } | End::Refused { hops }) = end;
        prop_assert!(hops <= 1, "{end:?}");
        if nodes[first].pod && cookie.is_none() {
            prop_assert_eq!(end, End::Answered { hops: 0 });
        }
    }

    /// Where every table is true and a pod is somewhere, nobody who can be moved is refused.
    #[test]
    fn true_tables_lose_no_request(pods in proptest::collection::vec(any::<bool>(), 2..7), first in 0_usize..6, pick in 0_usize..6) {
        prop_assume!(pods.iter().any(|pod| *pod));
        let published: Vec<usize> = (0..pods.len()).filter(|node| pods[*node]).collect();
        let node = |pod: &bool| Node {
            pod: *pod, published: published.clone(), policy: MissPolicy::Redirect, relays: false, covered: true,
        };
        let nodes: Vec<Node> = pods.iter().map(node).collect();
        let answered = matches!(follow(&nodes, first % nodes.len(), None, true, pick), End::Answered { hops: 0..=1 });
        prop_assert!(answered, "{nodes:?}");
    }
}
