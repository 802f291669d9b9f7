//! What is said of objects of which a part cannot be published, and of those that ask for a name together: on all three name servers.

use super::{Publisher, all_three, ask, cluster, condition_of, records, updated};
use crate::client::eventually;
use nearside_loadtest::name_servers::TsigKey;

const DEFINITION: &str = super::DEFINITION;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_only_our_own_server_understands_is_noted_and_costs_the_others_nothing() {
    let key = TsigKey::new("nearside", "hmac-sha256", "wild");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    let wild: [(&str, &str, &[&str]); 2] =
        [("*.apps.test", "A", &["192.0.2.1"]), ("*--k3x7a.apps.test", "A", &["192.0.2.1"])];
    ask(&api, "wild", &wild);
    let _publisher = Publisher::start(&api, &key, &updated(&servers));
    eventually("it is visible", || condition_of(&api, "wild", "Visible").0 == "True Visible");
    let message = condition_of(&api, "wild", "Visible").1;
    assert!(message.contains("spec.endpoints[1].dnsName: \"*--k3x7a.apps.test\""), "{message}");
    for server in &servers {
        assert_eq!(records(server, "x.apps.test"), ["192.0.2.1".to_owned()].into(), "{}", server.software());
    }
    ask(&api, "wild", &wild[..1]);
    eventually("it is noted no more", || {
        condition_of(&api, "wild", "Visible") == ("True Visible".into(), String::new())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_cannot_be_published_is_told_and_the_rest_is_published() {
    let key = TsigKey::new("nearside", "hmac-sha256", "part");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    ask(&api, "part", &[("part.apps.test", "A", &["192.0.2.1"]), ("six.apps.test", "AAAA", &["192.0.2.1"])]);
    let _publisher = Publisher::start(&api, &key, &updated(&servers));
    eventually("it is told", || condition_of(&api, "part", "Visible").0 == "False Rejected");
    let message = condition_of(&api, "part", "Visible").1;
    assert!(message.starts_with("spec.endpoints[1].targets"), "{message}");
    for server in &servers {
        eventually("the rest is there", || records(server, "part.apps.test") == ["192.0.2.1".to_owned()].into());
    }
    ask(&api, "part", &[("part.apps.test", "A", &["192.0.2.1"])]);
    eventually("it is mended", || condition_of(&api, "part", "Visible").0 == "True Visible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_objects_that_ask_for_one_name_the_second_is_told_which_is_the_first() {
    let key = TsigKey::new("nearside", "hmac-sha256", "both");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    ask(&api, "first", &[("both.apps.test", "A", &["192.0.2.1"])]);
    ask(&api, "second", &[("both.apps.test", "A", &["192.0.2.2"])]);
    let _publisher = Publisher::start(&api, &key, &updated(&servers));
    eventually("the first is visible", || condition_of(&api, "first", "Visible").0 == "True Visible");
    eventually("the second is told", || condition_of(&api, "second", "Visible").0 == "True Conflict");
    let message = condition_of(&api, "second", "Applied").1;
    assert!(message.contains("both.apps.test: DNSEndpoint router/first asks for it, too"), "{message}");
    for server in &servers {
        assert_eq!(records(server, "both.apps.test").len(), 2, "{}", server.software());
    }
    assert!(api.delete(nearside_loadtest::api::ObjectRef { name: "first", ..super::OBJECT }).unwrap());
    eventually("the second has it alone", || condition_of(&api, "second", "Visible").0 == "True Visible");
    for server in &servers {
        assert_eq!(records(server, "both.apps.test"), ["192.0.2.2".to_owned()].into(), "{}", server.software());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_server_says_to_a_wrong_key_is_told_and_what_stood_there_stays() {
    let key = TsigKey::new("nearside", "hmac-sha256", "right");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    ask(&api, "a", &[("a.apps.test", "A", &["192.0.2.1"])]);
    let mut publisher = Publisher::start(&api, &key, &updated(&servers));
    eventually("it is visible", || condition_of(&api, "a", "Visible").0 == "True Visible");
    publisher.stop();
    for (wrong, said) in [
        (TsigKey::new("nearside", "hmac-sha256", "wrong"), "BADSIG"),
        (TsigKey::new("nobody", "hmac-sha256", "right"), "BADKEY"),
    ] {
        std::fs::write(publisher.directory.path().join("key"), wrong.clause()).unwrap();
        ask(&api, "a", &[("a.apps.test", "A", &["192.0.2.2"])]);
        publisher.start_again();
        let message = || condition_of(&api, "a", "Applied").1;
        eventually(said, || condition_of(&api, "a", "Applied").0 == "False AuthFailed" && message().contains(said));
        // PowerDNS does not say what is wrong.
        for (server, said) in servers.iter().zip([said, said, "NOTAUTH"]) {
            let of_server = || {
                message().split("; ").any(|part| part.contains(&server.address().to_string()) && part.contains(said))
            };
            eventually(&format!("{} says {said}", server.software()), of_server);
            assert_eq!(records(server, "a.apps.test"), ["192.0.2.1".to_owned()].into(), "{}", server.software());
        }
        publisher.stop();
    }
    std::fs::write(publisher.directory.path().join("key"), key.clause()).unwrap();
    publisher.start_again();
    eventually("it goes on", || {
        servers.iter().all(|server| records(server, "a.apps.test") == ["192.0.2.2".to_owned()].into())
    });
}
