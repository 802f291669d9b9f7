//! The starter of programs: logs are kept, an early end is told with the log's tail, signals reach the program itself.
#![expect(clippy::unwrap_used, reason = "tests")]

use nearside_loadtest::lab::Place;
use nearside_loadtest::programs::Launch;
use std::path::PathBuf;
use std::time::Duration;

fn shell(name: &str, script: &str) -> Launch {
    Launch {
        name: name.into(),
        path: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("GREETING".into(), "hello".into())],
        place: Place::host(),
    }
}

#[tokio::test]
async fn a_program_that_ends_early_is_told_with_the_tail_of_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut program =
        shell("early", "echo $GREETING; echo cannot bind port 80 >&2; exit 3").start(directory.path()).unwrap();
    let admin = "127.0.0.1:9".parse().unwrap();
    let error = program.ready(admin, "/healthz/ready", Duration::from_secs(60)).await.unwrap_err().to_string();
    assert!(error.contains("early") && error.contains("exit status: 3"), "{error}");
    assert!(error.contains("hello") && error.contains("cannot bind port 80"), "{error}");
    assert!(error.contains("early.log"), "{error}");
}

#[tokio::test]
async fn sigterm_reaches_the_program_and_its_status_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let program =
        shell("polite", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done").start(directory.path()).unwrap();
    while program.tail(1) != "up" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(program.terminate(Duration::from_secs(30)).await.unwrap().code(), Some(7));
}

#[tokio::test]
async fn a_dropped_program_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let program = shell("dropped", "exec sleep 600").start(directory.path()).unwrap();
    let process = format!("/proc/{}/stat", program.id().unwrap());
    drop(program);
    // Gone, or dead and waiting to be reaped.
    while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_missing_binary_names_the_command_that_builds_it() {
    let error = Launch::new("nearside-nothing", "nothing", &Place::host(), &[]).unwrap_err().to_string();
    assert!(error.contains("cargo build -p nearside-nothing"), "{error}");
}
