//! What was good last comes back as it was written, and a file that is torn, foreign or newer is refused.

use super::*;
use crate::record::{RecordType, RrsetData, Ttl};
use crate::testing::name;
use proptest::prelude::*;
use std::fs;

fn head() -> Head {
    Head { nearside_last_good: VERSION, cluster: "prod".into(), zone: "example.com".into() }
}

fn known(hosts: &[String], texts: &[Vec<u8>]) -> LastGood {
    let sets = [
        RrsetData::A(vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]),
        RrsetData::Aaaa(vec!["2001:db8::1".parse().unwrap()]),
        RrsetData::Https(vec!["1 . alpn=\"h2,http/1.1\"".parse().unwrap()]),
        RrsetData::Txt(texts.iter().map(|text| vec![text.as_slice().into()]).collect()),
    ];
    let sets = sets.into_iter().filter(|data| data.count() > 0);
    let sets: RecordSets = sets.map(|data| (data.record_type(), Rrset { ttl: Ttl::constant(20), data })).collect();
    let object = ObjectKey { namespace: "router".into(), name: "video".into() };
    let remembered = Remembered { sets, generation: 7, object };
    LastGood { names: hosts.iter().map(|host| (name(&format!("{host}.example.com")), remembered.clone())).collect() }
}

#[test]
fn a_file_is_replaced_as_a_whole_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = LastGoodFile::new(directory.path(), "prod", &name("example.com"));
    assert_eq!(file.load().unwrap(), None);
    for hosts in [vec!["a".to_owned(), "b".to_owned()], vec!["*".to_owned()]] {
        file.store(&known(&hosts, &[])).unwrap();
        assert_eq!(file.load().unwrap(), Some(known(&hosts, &[])));
    }
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["example.com.last-good"]);
}

#[test]
fn what_cannot_be_used_says_why() {
    let bytes = encode(&known(&["a".into()], &[]), &head());
    let problem = |bytes: &[u8], head: &Head| decode(bytes, head).unwrap_err();
    assert_eq!(problem(b"", &head()), Problem::Truncated);
    assert_eq!(problem(&bytes[..bytes.len() - 70], &head()), Problem::Truncated);
    assert_eq!(problem(&bytes.to_ascii_uppercase(), &head()), Problem::Truncated);
    let changed: Vec<u8> = bytes.iter().map(|octet| if *octet == b'7' { b'8' } else { *octet }).collect();
    assert_eq!(problem(&changed, &head()), Problem::Damaged);
    assert_eq!(problem(&bytes, &Head { cluster: "stage".into(), ..head() }), Problem::Cluster("prod".into()));
    assert_eq!(problem(&bytes, &Head { zone: "example.net".into(), ..head() }), Problem::Zone("example.com".into()));
    let newer = encode(&LastGood::default(), &Head { nearside_last_good: 2, ..head() });
    assert_eq!(problem(&newer, &head()), Problem::Version(2));
    let directory = tempfile::tempdir().unwrap();
    let file = LastGoodFile::new(directory.path(), "prod", &name("example.com"));
    fs::write(file.path(), newer).unwrap();
    let told = file.load().unwrap_err().to_string();
    assert!(
        told.ends_with("example.com.last-good is not used: it is of version 2, this program writes version 1"),
        "{told}"
    );
    let nowhere = LastGoodFile::new(&directory.path().join("none"), "prod", &name("example.com"));
    assert!(nowhere.store(&LastGood::default()).unwrap_err().to_string().contains("stateDir"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        hosts in prop::collection::vec("[a-z]{1,8}", 0..6),
        texts in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..40), 0..3),
    ) {
        let texts: Vec<Vec<u8>> = texts.into_iter().collect();
        let known = known(&hosts, &texts);
        let read = decode(&encode(&known, &head()), &head()).unwrap();
        for (name, remembered) in &known.names {
            let sets = &read.names[name].sets;
            prop_assert_eq!(sets.keys().collect::<Vec<_>>(), remembered.sets.keys().collect::<Vec<_>>());
            for (record_type, rrset) in &remembered.sets {
                prop_assert_eq!(sets[record_type].data.sorted_texts(), rrset.data.sorted_texts(), "{}", record_type);
            }
        }
        prop_assert_eq!(read.names.len(), known.names.len());
        prop_assert!(read.names.values().all(|it| it.generation == 7 && it.sets[&RecordType::A].ttl.seconds() == 20));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_refused(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let bytes = encode(&known(&["a".into(), "b".into()], &[]), &head());
        let at = at.index(bytes.len());
        prop_assert!(decode(&bytes[..at], &head()).is_err());
        let mut changed = bytes.clone();
        changed[at] = octet;
        prop_assert!(changed == bytes || decode(&changed, &head()).is_err());
    }
}
