//! Files of keys as they are written, replaced and spoiled.

use super::*;
use crate::wire::tsig::Algorithm;
use proptest::prelude::*;

const SECRET: &str = "c2VjcmV0IG9mIHRoZSBrZXk=";

fn clause(name: &str, algorithm: &str, secret: &str) -> String {
    format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n")
}

fn key(name: &str, algorithm: Algorithm, secret: &str) -> Key {
    Key::new(name.parse().unwrap(), algorithm, secret.as_bytes()).unwrap()
}

fn written(directory: &Path, name: &str, text: &str) -> KeySource {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    KeySource::File(file)
}

#[test]
fn keys_are_read_as_bind_reads_them() {
    let wanted = key("nearside", Algorithm::HmacSha256, "secret of the key");
    let spelled =
        format!("# the key\n/* of {{ us */ key nearside {{ // all\nsecret {SECRET}; algorithm HMAC-SHA256;\n}};");
    for text in [clause("nearside", "hmac-sha256", SECRET), clause("Nearside.", "hmac-sha256", SECRET), spelled] {
        assert_eq!(syntax::clauses(&text), Ok(vec![wanted.clone()]), "{text}");
    }
    let two = clause("nearside", "hmac-sha256", SECRET) + &clause("older", "hmac-sha512", SECRET);
    let older = key("older", Algorithm::HmacSha512, "secret of the key");
    assert_eq!(syntax::clauses(&two), Ok(vec![wanted, older]));
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_without_the_secret() {
    let good = clause("nearside", "hmac-sha256", SECRET);
    for (text, said) in [
        (String::new(), "has 0 keys"),
        (SECRET.to_owned(), "line 1: key was expected"),
        (good.replace("hmac-sha256", "hmac-md5"), "line 2: hmac-sha256, hmac-sha384 or hmac-sha512 was expected"),
        (good.replace("algorithm hmac-sha256;", ""), "algorithm was expected"),
        (good.replace("\tsecret", "\tsecrets"), "line 3: algorithm, secret or } was expected"),
        (good.replace("==", "=").replace("=\"", "\""), "the secret is not base64"),
        (good.replace(SECRET, ""), "the secret is not base64, or empty"),
        (good.replace(";\n}", "\n}"), "line 4: ; behind the value was expected"),
        (good.replace("};", ""), "} was expected"),
        (good.replace("nearside", "near side"), "line 1: the name of the key has the character ' '"),
        (good.repeat(5), "has 5 keys"),
    ] {
        let error = syntax::clauses(&text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.contains("c2Vj"), "{error}");
    }
}

#[test]
fn a_secret_can_stand_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let name = "nearside".parse().unwrap();
    let source = KeySource::Secret { name, algorithm: Algorithm::HmacSha384, file: file.clone() };
    let mut keys = Keys::read(std::slice::from_ref(&source));
    assert_eq!(keys.current().as_deref(), Some(&key("nearside", Algorithm::HmacSha384, "secret of the key")));
    assert!(!keys.refresh(), "nothing has changed");
    fs::write(&file, "no secret!").unwrap();
    let keys = Keys::read(&[source]);
    assert_eq!(keys.current(), None);
    let problem = UnusableKey { file, problem: KeyProblem::Secret };
    assert_eq!(keys.problems(), std::slice::from_ref(&problem));
    assert!(!problem.to_string().contains("no secret!"));
}

#[test]
fn a_file_is_read_again_when_it_is_written_replaced_or_comes_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let text = |secret: &str| clause("nearside", "hmac-sha256", secret);
    let source = written(directory.path(), "key", &text("b25l"));
    let late = KeySource::File(directory.path().join("late"));
    let mut keys = Keys::read(&[source, late]);
    let secret_of =
        |keys: &Keys| keys.current().map(|current| *current == key("nearside", Algorithm::HmacSha256, "one"));
    assert_eq!(secret_of(&keys), Some(true));
    assert_eq!(keys.problems().len(), 1);

    // As Kubernetes does: the path stays, and a link on the way leads elsewhere.
    for (version, secret) in [("v1", "b25l"), ("v2", "dHdv")] {
        let folder = directory.path().join(version);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("key"), text(secret)).unwrap();
    }
    let link = directory.path().join("data");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    let mut linked = Keys::read(&[KeySource::File(link.join("key"))]);
    assert!(!linked.refresh());
    std::os::unix::fs::symlink("v2", directory.path().join("next")).unwrap();
    fs::rename(directory.path().join("next"), &link).unwrap();
    assert!(linked.refresh());
    assert_eq!(secret_of(&linked), Some(false));

    fs::write(directory.path().join("late"), text("dHdv")).unwrap();
    assert!(keys.refresh());
    assert_eq!(keys.problems(), []);
    assert_eq!(secret_of(&keys), Some(true), "the first that is named comes first");
}

#[test]
fn a_file_that_is_of_no_use_any_more_keeps_its_last_key_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let source = written(directory.path(), "key", &clause("nearside", "hmac-sha256", SECRET));
    let file = directory.path().join("key");
    let mut keys = Keys::read(&[source]);
    let before = keys.current().unwrap();
    fs::write(&file, "key nearside {").unwrap();
    assert!(!keys.refresh(), "the key is the same");
    assert_eq!((keys.current(), keys.problems().len()), (Some(Arc::clone(&before)), 1));
    fs::remove_file(&file).unwrap();
    assert!(!keys.refresh());
    assert_eq!(keys.current(), Some(before));
    assert!(keys.problems()[0].to_string().contains("cannot be read"));
    fs::write(&file, clause("nearside", "hmac-sha256", "dHdv")).unwrap();
    assert!(keys.refresh());
    assert_eq!(keys.current().as_deref(), Some(&key("nearside", Algorithm::HmacSha256, "two")));
    assert_eq!(keys.problems(), []);
}

#[test]
fn the_key_that_the_server_takes_stays() {
    let directory = tempfile::tempdir().unwrap();
    let newer = written(directory.path(), "newer", &clause("newer", "hmac-sha256", SECRET));
    let older = written(directory.path(), "older", &clause("older", "hmac-sha256", SECRET));
    let mut keys = Keys::read(&[newer, older]);
    let name = |keys: &Keys| keys.current().unwrap().name().to_string();
    assert_eq!(name(&keys), "newer");
    assert!(keys.advance(), "there is another");
    assert_eq!(name(&keys), "older");
    keys.taken();
    assert_eq!(name(&keys), "older", "it stays");
    assert!(keys.advance(), "the newer may have come to the server by now");
    assert_eq!(name(&keys), "newer");
    assert!(!keys.advance(), "all were refused");
    assert_eq!(name(&keys), "older");
    let mut none = Keys::read(&[]);
    assert!(!none.advance() && none.current().is_none() && !none.are_wanted());
}

proptest! {
    #[test]
    fn text_at_random_never_panics(text in "(key|secret|algorithm|[{};\"#/*\n a]|hmac-sha256|c2Vj|\\PC){0,40}") {
        let _ = syntax::clauses(&text);
    }
}
