//! Requests as another implementation reads them, replies as another one writes them, and replies broken on purpose.

use super::*;
use crate::record::Soa;
use crate::testing::name;
use crate::wire::rdata::gather;
use hickory_proto::rr::RecordData as _;
use proptest::collection::vec;
use proptest::prelude::*;

fn a(addresses: &[[u8; 4]]) -> Rrset {
    Rrset { ttl: Ttl::constant(30), data: RrsetData::A(addresses.iter().map(|&octets| octets.into()).collect()) }
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(ToString::to_string).collect()
}

#[test]
fn an_update_says_what_rfc_2136_asks_for() {
    let update = Update {
        zone: name("z.test"),
        prerequisites: vec![
            Prerequisite::NameInUse(name("a.z.test")),
            Prerequisite::NameNotInUse(name("b.z.test")),
            Prerequisite::RrsetAbsent(name("c.z.test"), RecordType::Txt),
            Prerequisite::RrsetEquals(name("d.z.test"), a(&[[192, 0, 2, 1]])),
        ],
        changes: vec![
            Change::DeleteRrset(name("d.z.test"), RecordType::A),
            Change::AddRrset(name("d.z.test"), a(&[[192, 0, 2, 2], [192, 0, 2, 3]])),
        ],
    };
    let octets = Request::update(7, name("z.test")).encode_update(&update, 0).unwrap();
    let read = Message::from_vec(&octets).unwrap();
    assert_eq!((read.metadata.id, read.metadata.op_code, read.metadata.recursion_desired), (7, OpCode::Update, false));
    assert_eq!(read.queries[0].to_string(), "z.test. IN SOA");
    let classes: Vec<(DNSClass, WireType, u32)> =
        read.answers.iter().map(|record| (record.dns_class, record.record_type(), record.ttl)).collect();
    let wanted = [
        (DNSClass::ANY, WireType::ANY, 0),
        (DNSClass::NONE, WireType::ANY, 0),
        (DNSClass::NONE, WireType::TXT, 0),
        (DNSClass::IN, WireType::A, 0),
    ];
    assert_eq!(classes, wanted);
    assert!(read.answers[..3].iter().all(|record| record.data.is_update()));
    assert_eq!((read.authorities[0].dns_class, read.authorities[0].ttl), (DNSClass::ANY, 0));
    assert_eq!(lines(&read.authorities[1..]), ["d.z.test. 30 IN A 192.0.2.2", "d.z.test. 30 IN A 192.0.2.3"]);
}

#[test]
fn an_update_that_has_no_room_is_not_sent() {
    let many: Vec<[u8; 4]> = (0..2000_u16).map(|i| [10, 0, i.to_be_bytes()[0], i.to_be_bytes()[1]]).collect();
    let changes = vec![Change::AddRrset(name("d.z.test"), a(&many))];
    let mut update = Update { zone: name("z.test"), prerequisites: Vec::new(), changes };
    let request = Request::update(7, name("z.test"));
    let octets = request.encode_update(&update, 0).unwrap();
    assert_eq!(request.encode_update(&update, 65_536 - octets.len()), Err(TooLarge));
    assert!(request.encode_update(&update, 65_535 - octets.len()).is_ok());
    update.changes.extend(["e.z.test", "f.z.test"].map(|text| Change::AddRrset(name(text), a(&many))));
    assert_eq!(request.encode_update(&update, 0), Err(TooLarge));
}

fn reply_to(request: &Request, answers: Vec<Record>) -> Message {
    let mut reply = request.message();
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.authoritative = true;
    reply.answers = answers;
    reply
}

fn read(request: &Request, reply: &Message) -> Result<Reply, NotTheReply> {
    request.read_reply(&reply.to_vec().unwrap(), false)
}

#[test]
fn only_the_reply_to_the_question_is_read() {
    let request = Request::query(7, name("www.z.test"), RecordType::A);
    let good = reply_to(&request, Vec::new());
    assert_eq!(read(&request, &good).map(|reply| (reply.rcode, reply.authoritative)), Ok((0, true)));
    let mut other = good.clone();
    other.metadata.id = 8;
    assert_eq!(read(&request, &other), Err(NotTheReply::Id));
    assert_eq!(read(&request, &request.message()), Err(NotTheReply::Request));
    let question = |text: &str, record_type| {
        let mut other = good.clone();
        other.queries = vec![WireQuery::query(wire_name(&name(text)), record_type)];
        read(&request, &other)
    };
    assert!(question("WWW.z.TEST", WireType::A).is_ok(), "whatever the case");
    assert_eq!(question("www.z.test", WireType::AAAA), Err(NotTheReply::Question));
    assert_eq!(question("w.z.test", WireType::A), Err(NotTheReply::Question));
    let mut without = good.clone();
    without.queries.clear();
    assert_eq!(read(&request, &without), Err(NotTheReply::Question));
    assert!(request.read_reply(&without.to_vec().unwrap(), true).is_ok(), "later messages of a transfer");
    let mut update = good;
    update.metadata.op_code = OpCode::Update;
    assert_eq!(read(&request, &update), Err(NotTheReply::Question));
}

#[test]
fn a_record_of_a_foreign_type_spoils_nothing() {
    let request = Request::query(7, name("z.test"), RecordType::Axfr);
    let mut octets = reply_to(&request, Vec::new()).to_vec().unwrap();
    octets[7] = 2;
    // A CAA whose data is none, then an A.
    octets.extend(b"\xc0\x0c\x01\x01\0\x01\0\0\0\x1e\0\x01\xff");
    octets.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\xc0\0\x02\x01");
    let reply = request.read_reply(&octets, false).unwrap();
    assert_eq!(reply.answers[0].record_type, RecordType::Other(257));
    assert_eq!(reply.answers[0].data, None);
    assert_eq!(gather(&reply.answers), [(RecordType::A, a(&[[192, 0, 2, 1]]))].into());
    let last = octets.len() - 5;
    octets[last] = 3;
    assert_eq!(request.read_reply(&octets, false), Err(NotTheReply::Malformed), "an A of three octets");
}

fn any_name() -> impl Strategy<Value = Name> {
    "[a-z0-9*_-]{1,12}(\\.[a-z0-9_-]{1,20}){0,4}"
        .prop_map(|text| Name::from_labels(text.split('.').map(str::as_bytes)).unwrap())
}

fn any_data() -> impl Strategy<Value = RrsetData> {
    fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
        all.sort();
        all.dedup();
        all
    }
    let text = vec(vec(any::<u8>(), 0..40).prop_map(Into::into), 1..4);
    prop_oneof![
        vec(any::<[u8; 4]>(), 1..20).prop_map(|all| RrsetData::A(sorted(all.into_iter().map(Into::into).collect()))),
        vec(any::<[u8; 16]>(), 1..20)
            .prop_map(|all| RrsetData::Aaaa(sorted(all.into_iter().map(Into::into).collect()))),
        vec(text, 1..5).prop_map(|all| RrsetData::Txt(sorted(all))),
        vec(any_name(), 1..5).prop_map(|all| RrsetData::Ns(sorted(all))),
        vec(1..1000_u16, 1..5).prop_map(|all| {
            let record = |priority| format!("{priority} . alpn=h2 port={priority}").parse().unwrap();
            RrsetData::Https(sorted(all.into_iter().map(record).collect()))
        }),
        any_name().prop_map(RrsetData::Cname),
        (any_name(), any_name(), any::<u32>(), 0..1_000_000_u32).prop_map(|(mname, rname, serial, time)| {
            RrsetData::Soa(Soa { mname, rname, serial, refresh: time, retry: time, expire: time, minimum: time })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(owner in any_name(), data in any_data(), ttl in 0..1_000_000_u32) {
        let request = Request::query(7, owner.clone(), data.record_type());
        let set = Rrset { ttl: Ttl::new(ttl).unwrap(), data };
        let mut records = Vec::new();
        add_records(&mut records, &owner, &set, ttl);
        let reply = read(&request, &reply_to(&request, records)).unwrap();
        prop_assert!(reply.answers.iter().all(|record| record.owner == owner));
        prop_assert_eq!(gather(&reply.answers), [(set.data.record_type(), set)].into());
    }

    #[test]
    fn a_broken_reply_never_panics(
        data in any_data(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        further in any::<bool>(),
    ) {
        let request = Request::query(7, name("www.z.test"), data.record_type());
        let mut records = Vec::new();
        add_records(&mut records, &name("www.z.test"), &Rrset { ttl: Ttl::constant(30), data }, 30);
        let mut octets = reply_to(&request, records).to_vec().unwrap();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        let _ = request.read_reply(&octets, further);
        octets.truncate(cut.index(octets.len()));
        prop_assert!(request.read_reply(&octets, further).is_err(), "cut short");
    }

    #[test]
    fn octets_at_random_never_panic(octets in vec(any::<u8>(), 0..300)) {
        let request = Request::query(7, name("www.z.test"), RecordType::A);
        let _ = request.read_reply(&octets, false);
        let _ = Reader::new(&octets, 0).name();
    }
}
