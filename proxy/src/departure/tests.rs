//! Departures of one node, by what DNSEndpoints say.

use super::*;
use nearside_routing::object::{DnsEndpointSpec, DnsEndpointStatus, ObjectMeta, RecordSet};
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(30);

fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn departure(left: Option<Left>) -> Departure {
    let names = Names { id: NodeId::of("n1"), addresses: ["198.18.0.1".parse().unwrap()].into() };
    Departure::new(names, left)
}

fn endpoint(name: &str, dns_name: &str, targets: &[&str], generation: i64, observed: i64) -> Object {
    let set = RecordSet {
        dns_name: dns_name.into(),
        record_type: "A".into(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        record_ttl: Some(30),
    };
    Object::DnsEndpoint(DnsEndpoint {
        metadata: ObjectMeta { namespace: "nearside".into(), name: name.into(), generation, ..ObjectMeta::default() },
        spec: DnsEndpointSpec { endpoints: vec![set] },
        status: DnsEndpointStatus { observed_generation: observed, ..DnsEndpointStatus::default() },
    })
}

fn listed(objects: Vec<Object>) -> Change {
    Change::Reset { kind: Kind::DnsEndpoint, objects }
}

#[test]
fn a_router_stays_until_its_address_is_gone_and_forgotten() {
    let mut departure = departure(None);
    departure.take(&listed(vec![endpoint("a", "*.example.com", &["198.18.0.1", "198.18.0.2"], 4, 4)]), second(0));
    assert_eq!(departure.ends_at(), None);
    departure.take(&Change::Apply(endpoint("a", "*.example.com", &["198.18.0.2"], 5, 4)), second(10));
    assert_eq!(departure.ends_at(), Some(second(10) + DEPARTURE_UNSEEN + TTL + DEPARTURE_AIR), "nobody has taken it");
    departure.take(&Change::Apply(endpoint("a", "*.example.com", &["198.18.0.2"], 5, 5)), second(12));
    assert_eq!(departure.ends_at(), Some(second(12) + TTL + DEPARTURE_AIR));
    departure.take(&Change::Apply(endpoint("a", "*.example.com", &["198.18.0.1"], 6, 5)), second(13));
    assert_eq!(departure.ends_at(), None, "it has come back");
}

#[test]
fn an_alias_names_the_node_under_whatever_address() {
    let mut departure = departure(None);
    let alias = format!("video--{}.example.com", NodeId::of("n1"));
    departure.take(&listed(vec![endpoint("a", &alias, &["203.0.113.9"], 1, 0)]), second(0));
    assert_eq!(departure.ends_at(), None);
    let key = endpoint("a", &alias, &[], 1, 0).key();
    departure.take(&Change::Delete(key), second(5));
    assert_eq!(departure.ends_at(), Some(second(5) + TTL + DEPARTURE_AIR));
}

#[test]
fn a_router_that_nothing_names_goes_at_once_unless_something_did_shortly_before() {
    let others = || listed(vec![endpoint("a", "a.example.com", &["198.18.0.2"], 1, 1)]);
    let mut never = departure(None);
    never.take(&others(), second(0));
    assert_eq!(never.ends_at(), Some(Duration::ZERO));
    let mut before = departure(Some(Left { ttl: TTL }));
    before.take(&others(), second(0));
    assert_eq!(before.ends_at(), Some(TTL + DEPARTURE_AIR));
}

#[test]
fn where_dns_is_published_otherwise_or_cannot_be_read_a_fixed_time_holds() {
    let mut departure = departure(None);
    assert_eq!(departure.ends_at(), Some(DEPARTURE_BLIND));
    departure.take(&listed(Vec::new()), second(0));
    assert_eq!(departure.ends_at(), Some(DEPARTURE_BLIND));
}

proptest! {
    /// It never ends while a record names the node, nor before the records that did are forgotten.
    #[test]
    fn no_client_is_left_behind(steps in proptest::collection::vec((0_usize..3, any::<bool>(), any::<bool>(), 1_u64..20), 1..40)) {
        let mut departure = departure(None);
        let mut named = [false; 3];
        let mut generations = [0_i64; 3];
        let (mut now, mut last_named) = (Duration::ZERO, None);
        departure.take(&listed(vec![endpoint("x", "x.example.com", &["198.18.0.9"], 1, 1)]), now);
        for (place, names, taken, pause) in steps {
            if named.iter().any(|named| *named) {
                last_named = Some(now + Duration::from_secs(pause));
            }
            now += Duration::from_secs(pause);
            generations[place] += 1;
            named[place] = names;
            let target = if names { "198.18.0.1" } else { "198.18.0.2" };
            let observed = if taken { generations[place] } else { generations[place] - 1 };
            let object = endpoint(&place.to_string(), "a.example.com", &[target], generations[place], observed);
            departure.take(&Change::Apply(object), now);
            match departure.ends_at() {
                None => prop_assert!(named.iter().any(|named| *named)),
                Some(end) => {
                    prop_assert!(named.iter().all(|named| !named));
                    if let Some(last) = last_named {
                        prop_assert!(end >= last + TTL + DEPARTURE_AIR);
                        prop_assert!(end <= now + DEPARTURE_UNSEEN + TTL + DEPARTURE_AIR);
                    }
                }
            }
        }
    }
}
