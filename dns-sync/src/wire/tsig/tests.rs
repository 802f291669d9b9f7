//! Signatures against those of the library, which is another implementation of RFC 8945, and broken on purpose.

use super::replies::{self, ReplySigner};
use super::requests::{self, Forged, ReplyVerifier, Verdict};
use super::*;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as WireName, RecordType, TSigner};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: u64 = 1_700_000_000;
const ALL: [Algorithm; 3] = [Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512];

fn key(algorithm: Algorithm, secret: &str) -> Arc<Key> {
    Arc::new(Key::new("Key.Example".parse().unwrap(), algorithm, secret.as_bytes()).unwrap())
}

fn library(key: &Key) -> TSigner {
    let name = WireName::from_ascii("kEy.example.").unwrap();
    TSigner::new(key.secret.to_vec(), key.algorithm.library(), name, FUDGE).unwrap()
}

fn request() -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(WireName::from_ascii("example.com.").unwrap(), RecordType::AXFR));
    message
}

fn reply(id: u16) -> Vec<u8> {
    let mut message = request();
    message.metadata.id = id;
    message.metadata.message_type = MessageType::Response;
    message.to_vec().unwrap()
}

/// A signed exchange: the verifier of the side that asks, and the signer of the side that answers.
fn exchange(key: &Arc<Key>) -> (ReplyVerifier, ReplySigner) {
    let mut octets = request().to_vec().unwrap();
    let verifier = requests::sign(key, &mut octets, NOW);
    let replies::Verdict::Accepted(by, signer) = replies::verify(&octets, [key], NOW) else { panic!("not accepted") };
    assert_eq!(by, *key);
    (verifier, signer)
}

#[test]
fn what_is_signed_here_the_library_verifies_and_the_other_way_round() {
    for algorithm in ALL {
        let key = key(algorithm, "a secret");
        let plain = request().to_vec().unwrap();
        let mut ours = plain.clone();
        requests::sign(&key, &mut ours, NOW);
        assert_eq!(ours.len(), plain.len() + key.overhead() - 6, "{algorithm}");
        library(&key).verify_message_byte(&ours, None, true).unwrap();

        let mut theirs = request();
        let mut verifier = theirs.finalize(&library(&key), NOW).unwrap().unwrap();
        let verdict = replies::verify(&theirs.to_vec().unwrap(), [&key], NOW);
        let replies::Verdict::Accepted(_, mut signer) = verdict else { panic!("{algorithm}: not accepted") };
        for _ in 0..3 {
            let mut message = reply(4711);
            signer.sign(&mut message, NOW);
            verifier.verify(&message).unwrap();
        }
    }
}

#[test]
fn every_message_of_a_reply_is_signed_with_the_one_before() {
    let key = key(Algorithm::HmacSha256, "a secret");
    let (mut verifier, mut signer) = exchange(&key);
    let messages: Vec<Vec<u8>> = (0..3)
        .map(|_| {
            let mut message = reply(4711);
            signer.sign(&mut message, NOW);
            message
        })
        .collect();
    for message in &messages {
        assert!(!verifier.is_complete() || message != &messages[0]);
        let verdict = verifier.verify(message, NOW).unwrap();
        assert_eq!(verdict, Verdict::Signed { message: reply(4711), error: 0, server_time: None });
        assert!(verifier.is_complete());
    }
    let (mut verifier, _) = exchange(&key);
    verifier.verify(&messages[0], NOW).unwrap();
    assert_eq!(verifier.verify(&messages[2], NOW), Err(Forged::WrongSignature), "one was left out");
}

#[test]
fn messages_between_signed_ones_are_true_when_the_next_signed_one_comes() {
    let key = key(Algorithm::HmacSha256, "a secret");
    let (mut verifier, mut signer) = exchange(&key);
    let mut first = reply(4711);
    signer.sign(&mut first, NOW);
    verifier.verify(&first, NOW).unwrap();
    let between = reply(4711);
    assert_eq!(verifier.verify(&between, NOW), Ok(Verdict::Later(between.clone())));
    assert!(!verifier.is_complete());
    // What a server signs that leaves signatures out (RFC 8945 §5.3.1): all since the last signature, and the timers.
    let mac_of_first = record::split(&first).unwrap().unwrap().1.mac;
    let last = reply(4711);
    let mut tsig = record::split(&first).unwrap().unwrap().1;
    let mut signed = Vec::new();
    record::extend_counted(&mut signed, &mac_of_first);
    signed.extend(&between);
    signed.extend(&last);
    signed.extend(tsig.timers());
    tsig.mac = key.mac(&signed);
    let mut octets = last.clone();
    record::append(&mut octets, &tsig);
    assert_eq!(verifier.verify(&octets, NOW), Ok(Verdict::Signed { message: last, error: 0, server_time: None }));
    assert!(verifier.is_complete());
    for _ in 0..MAX_UNSIGNED {
        verifier.verify(&between, NOW).unwrap();
    }
    assert_eq!(verifier.verify(&between, NOW), Err(Forged::TooManyUnsigned));
}

#[test]
fn a_refused_request_is_told_why() {
    let known = key(Algorithm::HmacSha256, "a secret");
    let refusal = |by: &Arc<Key>, keys: &[&Arc<Key>], now: u64| {
        let mut octets = request().to_vec().unwrap();
        let mut verifier = requests::sign(by, &mut octets, NOW);
        let verdict = replies::verify(&octets, keys.iter().copied(), now);
        let replies::Verdict::Refused(error, mut signer) = verdict else { panic!("not refused") };
        let mut answer = reply(4711);
        signer.sign(&mut answer, now);
        (error, verifier.verify(&answer, NOW).unwrap())
    };
    let other = key(Algorithm::HmacSha256, "another secret");
    assert_eq!(refusal(&other, &[&known], NOW), (error::BADSIG, Verdict::NotTaken { error: error::BADSIG }));
    assert_eq!(refusal(&known, &[], NOW), (error::BADKEY, Verdict::NotTaken { error: error::BADKEY }));
    let longer = key(Algorithm::HmacSha512, "a secret");
    assert_eq!(refusal(&longer, &[&known], NOW), (error::BADKEY, Verdict::NotTaken { error: error::BADKEY }));
    let late = Verdict::Signed { message: reply(4711), error: error::BADTIME, server_time: Some(NOW + 1000) };
    assert_eq!(refusal(&known, &[&known], NOW + 1000), (error::BADTIME, late));
}

#[test]
fn a_reply_of_another_request_or_of_another_time_is_not_believed() {
    let key = key(Algorithm::HmacSha256, "a secret");
    let (_, mut signer) = exchange(&key);
    let mut octets = request().to_vec().unwrap();
    let mut verifier = requests::sign(&key, &mut octets, NOW + 1);
    let mut message = reply(4711);
    signer.sign(&mut message, NOW);
    assert_eq!(verifier.verify(&message, NOW), Err(Forged::WrongSignature));
    let (mut verifier, mut signer) = exchange(&key);
    let mut message = reply(4711);
    signer.sign(&mut message, NOW);
    assert_eq!(verifier.verify(&message, NOW + 301), Err(Forged::Stale));
}

#[test]
fn a_secret_is_never_shown() {
    let key = key(Algorithm::HmacSha256, "a secret");
    let (verifier, signer) = exchange(&key);
    for shown in [format!("{key:?}"), format!("{verifier:?}"), format!("{signer:?}")] {
        assert!(shown.contains("hmac-sha256 key.example"), "{shown}");
        assert!(!shown.contains("a secret") && !shown.contains(&format!("{:?}", b"a secret")), "{shown}");
    }
    assert!(Key::new("k".parse().unwrap(), Algorithm::HmacSha256, Vec::new()).is_none(), "no secret at all");
}

proptest! {
    #[test]
    fn a_changed_message_is_never_believed(at in 0..1000_usize, bit in 0..8_u32, cut in 0..1000_usize) {
        let key = key(Algorithm::HmacSha256, "a secret");
        let (mut verifier, mut signer) = exchange(&key);
        let mut message = reply(4711);
        signer.sign(&mut message, NOW);
        let good = message.clone();
        let at = at % message.len();
        message[at] ^= 1 << bit;
        // Upper and lower case of the names of key and algorithm are the same, and the id is compared elsewhere.
        let verdict = verifier.verify(&message, NOW);
        if let Ok(Verdict::Signed { message, error, .. }) = verdict {
            prop_assert_eq!((message, error), (reply(4711), 0));
        }
        let (mut verifier, _) = exchange(&key);
        let believed = verifier.verify(&good[..cut % good.len()], NOW);
        prop_assert!(believed.is_err());
    }

    #[test]
    fn octets_at_random_are_no_signature(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let key = key(Algorithm::HmacSha256, "a secret");
        let (mut verifier, _) = exchange(&key);
        let verdict = verifier.verify(&octets, NOW);
        let believed = matches!(verdict, Ok(Verdict::Signed { .. }));
        prop_assert!(!believed);
        let verdict = replies::verify(&octets, [&key], NOW);
        let believed = matches!(verdict, replies::Verdict::Accepted(..));
        prop_assert!(!believed);
    }
}
