//! The store against real directories: what one process records the next one reads, unless it is damaged, foreign or a secret.

use super::*;
use crate::Kind;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

fn pod(name: &str) -> Object {
    Object::decode(Kind::Pod, json!({"metadata": {"namespace": "shop", "name": name}})).unwrap()
}

fn secret(name: &str) -> Object {
    let value = json!({"metadata": {"namespace": "shop", "name": name}, "type": "Opaque", "data": {"tls.key": "a2V5"}});
    Object::decode(Kind::Secret, value).unwrap()
}

fn store(directory: &Path, cluster: &str, keys_on_disk: bool) -> Store {
    Store::open(&SnapshotSettings { directory: directory.to_owned(), keys_on_disk, at_once: false }, cluster.into())
        .unwrap()
}

fn names(store: &Store, selection: &Selection) -> Option<Vec<String>> {
    let known = store.load(selection)?;
    Some(known.objects.iter().map(|object| object.metadata().name.clone()).collect())
}

fn recorder(store: &Store, selection: &Selection) -> Recorder {
    Recorder::new(Some(store.clone()), std::slice::from_ref(selection))
}

#[test]
fn what_is_recorded_is_read_by_the_next_process_with_its_changes() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("kept");
    let pods = Selection::all(Kind::Pod).fields("spec.nodeName=n1");
    let first = store(&place, "here", false);
    assert!(first.load(&pods).is_none());
    let record = recorder(&first, &pods);
    record.apply(0, &pod("early"));
    first.flush();
    assert!(first.load(&pods).is_none(), "nothing is whole before a list");
    record.whole(0, &[pod("a"), pod("b")]);
    record.apply(0, &pod("c"));
    first.flush();
    record.delete(0, &pod("a").key());
    record.apply(0, &pod("d"));
    first.flush();
    let second = store(&place, "here", false);
    assert_eq!(names(&second, &pods).unwrap(), ["b", "c", "d"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&second.path(&pods))), (0o700, 0o600));
    assert!(second.load(&Selection::all(Kind::Pod)).is_none(), "another selection");
    assert!(store(&place, "there", false).load(&pods).is_none(), "another cluster");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "nothing is left over");
    recorder(&second, &pods).remove(0);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nor of what is followed no longer");
}

#[test]
fn keys_are_written_only_where_they_may_be() {
    // Not in memory on every machine; what is told apart is what the store thinks of it.
    let directory = tempfile::tempdir().unwrap();
    let secrets = Selection::all(Kind::Secret);
    for keys_on_disk in [false, true] {
        let place = directory.path().join(keys_on_disk.to_string());
        let store = store(&place, "here", keys_on_disk);
        recorder(&store, &secrets).whole(0, &[secret("a")]);
        store.flush();
        let in_memory = volume::is_in_memory(&place).unwrap();
        let kept = names(&store, &secrets).unwrap().len();
        assert_eq!(kept, usize::from(keys_on_disk || in_memory));
        let text = fs::read_to_string(store.path(&secrets)).unwrap();
        assert_eq!(text.contains("a2V5"), keys_on_disk || in_memory);
    }
}

#[test]
fn what_is_damaged_or_gone_is_not_used_and_written_anew_with_the_next_list() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Selection::all(Kind::Pod);
    let store = store(directory.path(), "here", false);
    let record = recorder(&store, &pods);
    record.whole(0, &[pod("a")]);
    store.flush();
    let path = store.path(&pods);
    let text = fs::read_to_string(&path).unwrap();
    for broken in [text.replace("shop", "stop"), text[..text.len() / 2].to_owned(), String::new()] {
        fs::write(&path, broken).unwrap();
        assert!(store.load(&pods).is_none());
        record.apply(0, &pod("b"));
        store.flush();
        assert!(store.load(&pods).is_none(), "half of it must not pass for the whole");
        record.whole(0, &[pod("a")]);
        store.flush();
        assert_eq!(names(&store, &pods).unwrap(), ["a"]);
    }
    fs::remove_file(&path).unwrap();
    record.apply(0, &pod("b"));
    store.flush();
    assert!(store.load(&pods).is_none());
}

#[test]
fn a_disk_that_takes_nothing_costs_only_the_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("kept");
    let pods = Selection::all(Kind::Pod);
    let store = store(&place, "here", false);
    let record = recorder(&store, &pods);
    record.whole(0, &[pod("a")]);
    // Stands for any failure to write: the directory is a file.
    fs::remove_dir(&place).unwrap();
    fs::write(&place, "").unwrap();
    store.flush();
    record.apply(0, &pod("b"));
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    store.flush();
    assert_eq!(names(&store, &pods).unwrap(), ["a", "b"], "what could not be written is written later");
}

#[test]
fn the_age_is_that_of_the_last_sign_of_life() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Selection::all(Kind::Pod);
    let store = store(directory.path(), "here", false);
    recorder(&store, &pods).whole(0, &[]);
    store.flush();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(store.path(&pods)).unwrap().set_modified(long_ago).unwrap();
    assert!(store.load(&pods).unwrap().at.elapsed().unwrap() > Duration::from_secs(3000));
    store.touch(&pods);
    assert!(store.load(&pods).unwrap().at.elapsed().unwrap() < Duration::from_secs(3000));
}

#[test]
fn a_program_that_serves_goes_on_at_once_from_what_it_knew_a_moment_ago() {
    let directory = tempfile::tempdir().unwrap();
    let settings = SnapshotSettings { directory: directory.path().to_owned(), keys_on_disk: true, at_once: false };
    let open = |settings: SnapshotSettings| Store::open(&settings, "here".into()).unwrap();
    let (careful, serving) = (open(settings.clone()), open(settings.used_at_once()));
    let now = SystemTime::now();
    let ages = [Duration::ZERO, SNAPSHOT_RECENT, SNAPSHOT_RECENT + Duration::from_secs(1)];
    assert_eq!(ages.map(|age| careful.patience(now - age, now)), [SNAPSHOT_PATIENCE; 3]);
    let expected = [SNAPSHOT_RECENT_PATIENCE, SNAPSHOT_RECENT_PATIENCE, SNAPSHOT_PATIENCE];
    assert_eq!(ages.map(|age| serving.patience(now - age, now)), expected);
    assert_eq!(serving.patience(now + Duration::from_secs(3600), now), SNAPSHOT_PATIENCE, "a clock that was set back");
}
