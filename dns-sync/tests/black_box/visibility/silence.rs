//! A source that gives nothing, or less than there is, while a publisher runs: on all three name servers nothing goes for that.

use super::{DEFINITION, Publisher, all_three, ask, cluster, condition_of, records, updated};
use crate::client::eventually;
use crate::program::Program;
use nearside_loadtest::api::{Fault, RequestMatch};
use nearside_loadtest::name_servers::TsigKey;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_refuses_hides_or_empties_what_it_has_withdraws_nothing() {
    let key = TsigKey::new("nearside", "hmac-sha256", "silence");
    let servers = all_three(&key);
    let api = cluster(DEFINITION).await;
    let names: Vec<String> = (0..3).map(|number| format!("h{number}.apps.test")).collect();
    for (number, name) in names.iter().enumerate() {
        ask(&api, &format!("h{number}"), &[(name, "A", &["192.0.2.1"])]);
    }
    let mut publisher = Publisher::start(&api, &key, &updated(&servers));
    publisher.stop();
    let program = Program::spawn(Publisher::command(publisher.directory.path(), publisher.admin));
    for number in 0..names.len() {
        eventually("visible", || condition_of(&api, &format!("h{number}"), "Visible").0 == "True Visible");
    }
    let has_all = || {
        let there =
            |name: &String| servers.iter().all(|server| records(server, name) == ["192.0.2.1".to_owned()].into());
        names.iter().all(there)
    };
    let (faults, any) = (api.faults(), RequestMatch::any().resource("dnsendpoints"));
    let counted = |text: &str| program.page("/metrics").matches(text).count();

    // Away for a while: what happens meanwhile is nothing that a watch could tell.
    faults.answer(any.clone(), 403, None, None);
    faults.cut_watches(any.clone());
    eventually("the refusal is told", || program.logged("no permission to").is_some());
    assert!(has_all());
    faults.clear();
    faults.disable_kind("dnsendpoints");
    faults.cut_watches(any.clone());
    eventually("the missing kind is told", || program.logged("does not serve").is_some());
    assert!(has_all());
    faults.refuse_connections().await;
    faults.enable_kind("dnsendpoints");
    ask(&api, "new", &[("new.apps.test", "A", &["192.0.2.1"])]);
    faults.compact();
    // Lists that are streamed are watches too; those in pages, which confirm them, are whole.
    faults.add(any.verb("watch"), Fault::EmptyList, None);
    faults.accept_connections().await.unwrap();
    eventually("an empty list is not believed", || counted("reason=\"confirm\"") > 0);
    assert!(has_all());
    faults.clear();
    eventually("it goes on", || servers.iter().all(|server| !records(server, "new.apps.test").is_empty()));
    assert!(has_all());
}
