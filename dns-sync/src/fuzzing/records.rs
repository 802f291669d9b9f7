//! Targets of records as text and as octets: what is read, written and read again is the same, and what one object asks for keeps no
//! other object's records out.

use crate::answer::{Question, Rcode, Room, answer};
use crate::desired::{Desired, DesiredEndpoint, DesiredObject, ObjectKey, parse};
use crate::name::Name;
use crate::publish::marker::{Marker, is_in_side_tree, marked_name, marker_name};
use crate::record::{Https, RecordType};
use crate::zone::Zones;
use crate::zone::build::{NameServer, ZoneSettings, assemble};

/// The octets of an HTTPS record, and the text of one.
pub fn https_record(bytes: &[u8]) {
    let from_text: Option<Https> = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    for record in Https::from_wire(bytes).iter().chain(&from_text) {
        let wire = record.to_wire();
        assert_eq!(wire.len(), record.octets());
        assert_eq!(Https::from_wire(&wire).as_ref(), Ok(record));
    }
    // Names of others may hold octets that no name of ours does.
    if let Some(record) = from_text {
        assert_eq!(record.to_string().parse::<Https>().as_ref(), Ok(&record), "{record}");
    }
    if let Ok(record) = Https::from_wire(bytes) {
        assert!(record.to_wire().eq_ignore_ascii_case(bytes), "only the case of the target may differ");
    }
}

/// The text of a marker, and a name, on two lines.
pub fn marker(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (marker, name) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(marker) = marker.parse::<Marker>() {
        assert_eq!(marker.to_string().parse::<Marker>(), Ok(marker));
    }
    let zone = name_of("z.test");
    let Ok(name) = name.parse::<Name>() else { return };
    assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
    assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Some(&name));
    if let Some(place) = marker_name(&name, &zone) {
        assert!(is_in_side_tree(&place, &zone) && place.is_within(&zone));
        // A name may itself be spelled like what stands for a wildcard or the apex; no other name has the same marker by chance.
        let spelled = name.labels().any(|label| label == b"_wildcard" || label == b"_apex");
        assert!(spelled || marked_name(&place, &zone).as_ref() == Some(&name), "{name} has {place}");
    }
}

/// What an object asks for, a record a line: name, type, TTL and target, with blanks between them; a line `weights` and JSON.
pub fn desired(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = ObjectKey { namespace: "ns".into(), name: "any".into() };
    let mut object = DesiredObject { key, ..DesiredObject::default() };
    for line in text.split('\n').take(64) {
        if let Some(weights) = line.strip_prefix("weights ") {
            object.weights = Some(weights.to_owned());
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (dns_name, record_type, ttl, target) = (word(), word(), word(), word());
        object.endpoints.push(DesiredEndpoint {
            dns_name,
            record_type,
            targets: vec![target],
            record_ttl: ttl.parse().ok(),
        });
    }
    let wanted = parse(&object);
    for rejection in &wanted.rejections {
        assert!(rejection.problem.to_string().len() <= 2048, "{rejection:?}");
    }
    let zones = zones(&[wanted.clone(), neighbour()]);
    for (_, name, rrset) in &wanted.records {
        asked(&zones, name, rrset.data.record_type());
    }
    let good = asked(&zones, &name_of("good.z.test"), RecordType::A);
    let claimed = wanted.records.iter().any(|(_, name, _)| *name == name_of("good.z.test"));
    assert!(claimed || good == (Rcode::NoError, 1), "{good:?}");
}

/// The result, and how many sets are in the answer.
fn asked(zones: &Zones, name: &Name, record_type: RecordType) -> (Rcode, usize) {
    let question = Question { name: name.clone(), record_type, class: 1 };
    let answer = answer(zones, &question, &Room { octets: 1200, addresses: 100, rotation: 0 });
    (answer.rcode, answer.answers.len())
}

fn neighbour() -> Desired {
    let endpoint = DesiredEndpoint {
        dns_name: "good.z.test".into(),
        record_type: "A".into(),
        targets: vec!["192.0.2.1".into()],
        record_ttl: None,
    };
    let key = ObjectKey { namespace: "other".into(), name: "good".into() };
    parse(&DesiredObject { key, endpoints: vec![endpoint], ..DesiredObject::default() })
}

/// The zone `z.test` with what these objects, in the order of their keys, ask for.
pub(crate) fn zones(desired: &[Desired]) -> Zones {
    let server = NameServer { name: name_of("ns1.z.test"), addresses: vec!["192.0.2.53".parse().expect("an address")] };
    let settings = [ZoneSettings { origin: name_of("z.test"), name_servers: vec![server] }];
    let (drafts, _) = assemble(&settings, desired.iter());
    Zones::new(drafts.into_iter().map(|draft| draft.finish(7)))
}

fn name_of(text: &str) -> Name {
    text.parse().expect("a name")
}
