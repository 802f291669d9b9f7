//! What updates do on each server, where a publisher relies on it.

use crate::stage::{ZONE, a, connect, name, replace, server, txt, update};
use nearside_dns_sync::publish::failure::Failure;
use nearside_dns_sync::publish::update::{Change, Prerequisite};
use nearside_dns_sync::record::{RecordType, Rrset, RrsetData, Ttl};
use nearside_loadtest::name_servers::Software;

async fn a_prerequisite_that_does_not_hold_stops_everything(software: Software) {
    let server = server(software, "www A 192.0.2.1\nwww TXT \"one\"\n*.w A 192.0.2.9\n");
    let mut connection = connect(server.address()).await;
    let www = name("www.z.test");
    for (prerequisite, word) in [
        (Prerequisite::NameNotInUse(www.clone()), "YXDOMAIN"),
        (Prerequisite::RrsetAbsent(www.clone(), RecordType::Txt), "YXRRSET"),
        (Prerequisite::RrsetEquals(www.clone(), txt("two")), "NXRRSET"),
        (Prerequisite::RrsetEquals(www.clone(), a(30, &["192.0.2.1", "192.0.2.2"])), "NXRRSET"),
        (Prerequisite::NameInUse(name("no.z.test")), "NXDOMAIN"),
        (Prerequisite::NameInUse(name("x.w.z.test")), "NXDOMAIN"),
    ] {
        if !connection.is_usable() {
            connection = connect(server.address()).await;
        }
        let change = Change::AddRrset(name("new.z.test"), a(30, &["192.0.2.7"]));
        let outcome = connection.update(&update(vec![prerequisite.clone()], vec![change])).await;
        assert_eq!(outcome, Err(Failure::Prerequisite(word)), "{software}: {prerequisite:?}");
    }
    assert_eq!(server.serial(ZONE).unwrap(), 1);
    assert!(server.ask("new.z.test", "A").unwrap().records.is_empty());

    let all = vec![
        Prerequisite::NameInUse(www.clone()),
        Prerequisite::NameNotInUse(name("x.w.z.test")),
        Prerequisite::RrsetAbsent(www.clone(), RecordType::Aaaa),
        Prerequisite::RrsetEquals(www, txt("one")),
    ];
    connection.update(&update(all.clone(), Vec::new())).await.unwrap();
    assert_eq!(server.serial(ZONE).unwrap(), 1, "{software}: asking alone changes nothing");
    connection.update(&update(all, vec![Change::AddRrset(name("new.z.test"), a(30, &["192.0.2.7"]))])).await.unwrap();
    assert_eq!(server.ask("new.z.test", "A").unwrap().records.len(), 1);
}

#[tokio::test]
async fn a_prerequisite_stops_bind() {
    a_prerequisite_that_does_not_hold_stops_everything(Software::Bind).await;
}

#[tokio::test]
async fn a_prerequisite_stops_knot() {
    a_prerequisite_that_does_not_hold_stops_everything(Software::Knot).await;
}

#[tokio::test]
async fn a_prerequisite_stops_powerdns() {
    a_prerequisite_that_does_not_hold_stops_everything(Software::PowerDns).await;
}

#[tokio::test]
async fn a_set_is_replaced_as_a_whole_with_its_ttl() {
    for software in Software::ALL {
        let server = server(software, "www A 192.0.2.1\nwww A 192.0.2.2\n");
        let mut connection = connect(server.address()).await;
        connection.update(&replace("www.z.test", a(30, &["192.0.2.1", "192.0.2.2"]))).await.unwrap();
        // PowerDNS makes a new version of the zone for nothing: whoever wants none compares first.
        let wanted = if software == Software::PowerDns { 2 } else { 1 };
        assert_eq!(server.serial(ZONE).unwrap(), wanted, "{software}: an identical set");
        let grow = update(Vec::new(), vec![Change::AddRrset(name("www.z.test"), a(20, &["192.0.2.3"]))]);
        connection.update(&grow).await.unwrap();
        let answer = server.ask("www.z.test", "A").unwrap();
        assert_eq!((answer.records.len(), answer.ttl), (3, Some(20)), "{software}: a record with another TTL");
    }
}

#[tokio::test]
async fn more_than_a_hundred_addresses_are_too_many_for_bind_alone() {
    for software in Software::ALL {
        let server = server(software, "");
        let mut connection = connect(server.address()).await;
        let addresses: Vec<String> = (0..200).map(|i| format!("198.18.0.{i}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let outcome = connection.update(&replace("www.z.test", a(30, &addresses))).await;
        if software == Software::Bind {
            assert_eq!(outcome, Err(Failure::ServerFailure));
            continue;
        }
        assert_eq!(outcome, Ok(()));
        let observation = connection.observe(&name(ZONE), &[name("www.z.test")]).await.unwrap();
        let sets = &observation.names[&name("www.z.test")].sets;
        assert_eq!(sets[&RecordType::A], a(30, &addresses), "{software}: all of them over TCP");
    }
}

#[tokio::test]
async fn an_address_beside_an_alias_is_accepted_and_not_there() {
    for software in Software::ALL {
        let server = server(software, "www CNAME ns1\n");
        let mut connection = connect(server.address()).await;
        let add = update(Vec::new(), vec![Change::AddRrset(name("www.z.test"), a(30, &["192.0.2.3"]))]);
        let outcome = connection.update(&add).await;
        let wanted = if software == Software::PowerDns { Err(Failure::Refused) } else { Ok(()) };
        assert_eq!(outcome, wanted, "{software}");
        let mut connection = connect(server.address()).await;
        let observation = connection.observe(&name(ZONE), &[name("www.z.test")]).await.unwrap();
        let alias = Rrset { ttl: Ttl::new(30).unwrap(), data: RrsetData::Cname(name("ns1.z.test")) };
        assert_eq!(observation.names[&name("www.z.test")].sets, [(RecordType::Cname, alias)].into(), "{software}");
    }
}

#[tokio::test]
async fn https_records_are_written_and_read() {
    for software in Software::ALL {
        let server = server(software, "");
        let mut connection = connect(server.address()).await;
        let record = "1 . alpn=\"h2,http/1.1\" port=8443".parse().unwrap();
        let set = Rrset { ttl: Ttl::new(30).unwrap(), data: RrsetData::Https(vec![record]) };
        let add = update(Vec::new(), vec![Change::AddRrset(name("www.z.test"), set.clone())]);
        connection.update(&add).await.unwrap();
        let observation = connection.observe(&name(ZONE), &[name("www.z.test")]).await.unwrap();
        assert_eq!(observation.names[&name("www.z.test")].sets, [(RecordType::Https, set)].into(), "{software}");
    }
}
