//! What nobody asks for any more, from the transfer of a real zone until it is gone: found, held for the grace, withdrawn by what was
//! read. Time is told here; the servers are real.

use crate::stage::{ZONE, connect, name, server};
use nearside_dns_sync::desired::{DesiredEndpoint, DesiredObject, ObjectKey, parse};
use nearside_dns_sync::limits::{ORPHAN_GRACE, WITHDRAWAL_LINGER};
use nearside_dns_sync::name::Name;
use nearside_dns_sync::publish::batch::Round;
use nearside_dns_sync::publish::garbage::find;
use nearside_dns_sync::publish::guard::{Guard, List, Source};
use nearside_dns_sync::publish::intent::Intent;
use nearside_dns_sync::publish::isolation::Isolation;
use nearside_dns_sync::publish::last_good::LastGood;
use nearside_dns_sync::publish::plan::{Lapsed, ZonePolicy, plan};
use nearside_loadtest::name_servers::Software;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LINES: &str = "known A 192.0.2.1\nknown._nearside TXT \"nearside1 c=prod g=7 t=A h=0123456789abcdef\"\n\
    orphan A 192.0.2.1\norphan AAAA 2001:db8::1\norphan TXT \"a note of others\"\n\
    orphan._nearside TXT \"nearside1 c=prod g=8 t=A h=0123456789abcdef\"\n\
    left._nearside TXT \"nearside1 c=prod g=9 t=A h=0123456789abcdef\"\n\
    stray A 192.0.2.9\n\
    theirs A 192.0.2.7\ntheirs._nearside TXT \"nearside1 c=other g=1 t=A h=0123456789abcdef\"\n\
    odd A 192.0.2.8\nodd._nearside TXT \"hands off\"\n\
    note TXT \"hello\"\nmail A 192.0.2.25\nmail MX 10 mail\nsub NS ns.sub\nns.sub A 192.0.2.54\n";

/// What is gone from the zone in the end, with the types at each name.
async fn collected(software: Software, dedicated: bool) -> BTreeMap<String, BTreeSet<String>> {
    let server = server(software, LINES);
    let zone = name(ZONE);
    let mut connection = connect(server.address()).await;
    let before = connection.transfer(&zone).await.unwrap();
    let policy = ZonePolicy { origin: zone.clone(), cluster: "prod".into(), dedicated, adopt: BTreeSet::new() };
    let found = find(&policy, &before, |known| *known == name("known.z.test"));

    let start = Instant::now();
    let mut guard = Guard::new([(zone.clone(), LastGood::default())]);
    guard.source(Source::Live, start);
    let endpoint = DesiredEndpoint {
        dns_name: "known.z.test".into(),
        record_type: "A".into(),
        targets: vec!["192.0.2.1".into()],
        record_ttl: Some(30),
    };
    let key = ObjectKey { namespace: "router".into(), name: "known".into() };
    let object = DesiredObject { key, generation: 7, endpoints: vec![endpoint], weights: None };
    guard.listed([&parse(&object)], List::Claimed, start);
    let mut intents: BTreeMap<Name, Intent> = BTreeMap::new();
    found.into_iter().for_each(|(name, found)| guard.found(&zone, &name, found, start));
    let mut later = |at: Duration, intents: &mut BTreeMap<Name, Intent>| {
        let changed = guard.changed(start + at).remove(&zone).unwrap_or_default();
        intents.extend(changed.into_iter().filter_map(|(name, intent)| Some((name, intent?))));
        intents.retain(|name, _| *name != self::name("known.z.test"));
    };
    later(ORPHAN_GRACE, &mut intents);
    assert!(intents.values().all(|intent| matches!(intent, Intent::Hold(_))), "{software}: {intents:?}");
    later(ORPHAN_GRACE + WITHDRAWAL_LINGER, &mut intents);
    assert!(intents.values().all(|intent| matches!(intent, Intent::Withdraw { .. })), "{software}: {intents:?}");

    let names: Vec<Name> = intents.keys().cloned().collect();
    let observation = connection.observe(&zone, &names).await.unwrap();
    let plan = plan(&policy, &intents, &observation.names, &Lapsed::new());
    let round = Round::new(plan.writes, &Isolation::default(), start);
    for batch in round {
        connection.update(&batch.update(&zone)).await.unwrap();
    }
    let after = connect(server.address()).await.transfer(&zone).await.unwrap();
    assert_eq!(after.other_types, before.other_types, "{software}");
    let types = |at: &Name, content: &BTreeMap<Name, _>| -> BTreeSet<String> {
        let sets: Option<&nearside_dns_sync::publish::observed::RecordSets> = content.get(at);
        sets.into_iter().flat_map(|sets| sets.keys().map(ToString::to_string)).collect()
    };
    let gone = |at: &Name| {
        let gone: BTreeSet<String> = types(at, &before.names).difference(&types(at, &after.names)).cloned().collect();
        (at.to_string(), gone)
    };
    before.names.keys().map(gone).filter(|(_, gone)| !gone.is_empty()).collect()
}

fn names(all: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let types = |types: &&[&str]| types.iter().map(|name| (*name).to_owned()).collect();
    all.iter().map(|(name, all)| ((*name).to_owned(), types(all))).collect()
}

#[tokio::test]
async fn what_nobody_asks_for_goes_from_a_dedicated_zone_after_the_grace_and_nothing_of_others_does() {
    for software in Software::ALL {
        let wanted = names(&[
            ("left._nearside.z.test", &["TXT"]),
            // What somebody else has put beside it goes another time, when no marker is there any more.
            ("orphan.z.test", &["A"]),
            ("orphan._nearside.z.test", &["TXT"]),
            ("stray.z.test", &["A"]),
        ]);
        assert_eq!(collected(software, true).await, wanted, "{software}");
    }
}

#[tokio::test]
async fn from_a_shared_zone_only_what_our_marker_names_goes() {
    for software in Software::ALL {
        let wanted = names(&[
            ("left._nearside.z.test", &["TXT"]),
            ("orphan.z.test", &["A"]),
            ("orphan._nearside.z.test", &["TXT"]),
        ]);
        assert_eq!(collected(software, false).await, wanted, "{software}");
    }
}
