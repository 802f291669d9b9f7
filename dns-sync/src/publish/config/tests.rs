//! A file of the publisher is read whole or refused whole, every mistake with its path.

use super::*;

fn parsed(text: &str) -> Result<Publication, Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    read(file.path()).map_err(|error| {
        let file = format!("{}: ", file.path().display());
        error.lines().iter().map(|line| line.strip_prefix(&file).unwrap_or(line).to_owned()).collect()
    })
}

#[test]
fn a_file_with_everything_is_read() {
    let publication = parsed(
        "cluster: prod-1
stateDir: /var/lib/nearside-dns-sync
zones:
  - zone: Apps.Example.com.
    dedicated: true
    adopt: [www.apps.example.com, '*.apps.example.com', apps.example.com]
    servers:
      - address: 192.0.2.53:5353
        keys:
          - {name: nearside, algorithm: HMAC-SHA512, secretFile: /etc/nearside/tsig}
          - {file: /etc/nearside/old.conf}
      - address: '[2001:db8::53]'
        update: false
  - zone: example.com
    servers: [{address: '2001:db8::53', keys: [{file: key.conf}]}]
",
    )
    .unwrap();
    assert_eq!(publication.cluster, "prod-1");
    assert_eq!(publication.state_dir, Some("/var/lib/nearside-dns-sync".into()));
    let [apps, outer] = publication.zones.as_slice() else { panic!("{publication:?}") };
    assert!(apps.dedicated && !outer.dedicated);
    assert_eq!((apps.origin.to_string().as_str(), apps.adopt.len()), ("apps.example.com", 3));
    let secret = KeySource::Secret {
        name: "nearside".parse().unwrap(),
        algorithm: Algorithm::HmacSha512,
        file: "/etc/nearside/tsig".into(),
    };
    assert_eq!(apps.servers[0].keys, [secret, KeySource::File("/etc/nearside/old.conf".into())]);
    assert_eq!(apps.servers[0].address, "192.0.2.53:5353".parse().unwrap());
    let secondary = Server { address: "[2001:db8::53]:53".parse().unwrap(), keys: Vec::new(), update: false };
    assert_eq!(apps.servers[1], secondary);
    assert_eq!(outer.servers[0].address, secondary.address);
}

#[test]
fn every_mistake_is_told_at_once_with_its_path() {
    let mistakes = parsed(
        "cluster: 'prod 1'
state_dir: /tmp
zones:
  - zone: '*.example.com'
    dedicated: perhaps
    servers:
      - address: ns1.example.com
        keys: [{name: nearside, algorithm: hmac-md5, secretFile: ''}]
      - address: 0.0.0.0
        keys: [{file: a, name: b}, {file: 7}]
      - {keys: nearside, update: true}
      - {address: 192.0.2.1}
  - zone: example.com
    adopt: [www.example.net, a.example.com, A.example.com]
    servers:
      - {address: 192.0.2.1, update: false}
      - {address: '192.0.2.1:53', update: false}
  - zone: EXAMPLE.com
    servers: [{address: 192.0.2.1, keys: [{file: a}]}]
  - 7
  - {}
",
    )
    .unwrap_err();
    for wanted in [
        "state_dir: no such field; there are cluster, stateDir, zones",
        "cluster: \"prod 1\" is not one to 63 letters, digits, '.', '-' and '_'",
        "zones[0].zone: \"*.example.com\" is a wildcard",
        "zones[0].dedicated: must be true or false",
        "zones[0].servers[0].address: \"ns1.example.com\" is no IP address, with or without a port: IP, IP:PORT or [IPV6]:PORT",
        "zones[0].servers[0].keys[0].algorithm: \"hmac-md5\" is not one of hmac-sha256, hmac-sha384, hmac-sha512",
        "zones[0].servers[0].keys[0].secretFile: is empty",
        "zones[0].servers[1].address: \"0.0.0.0\" is no address at which a server can be reached",
        "zones[0].servers[1].keys[0].name: is said by the file; give either `file` or the three others",
        "zones[0].servers[1].keys[1].file: must be a text; put it into quotes",
        "zones[0].servers[2].address: is missing",
        "zones[0].servers[2].keys: must be a list",
        "zones[0].servers[3].keys: needs at least one entry",
        "zones[1].adopt[0]: \"www.example.net\" is outside of the zone example.com; write the whole name",
        "zones[1].adopt[2]: this name is listed twice",
        "zones[1].servers[1].address: this server is listed twice",
        "zones[1].servers: none of them takes updates (update: false); nothing could be published",
        "zones[2].zone: this zone is listed twice; list all its servers in one entry",
        "zones[3]: must have the fields zone, dedicated, adopt, servers",
        "zones[4].zone: is missing",
        "zones[4].servers: needs at least one entry",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake == wanted), "{wanted} is not in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 21, "{mistakes:#?}");
}

#[test]
fn what_is_no_document_says_so() {
    for (text, wanted) in
        [("", "must have the fields"), ("cluster: [", "line 1"), ("cluster: a\ncluster: b\nzones: []", "cluster")]
    {
        let mistakes = parsed(text).unwrap_err();
        assert!(mistakes[0].contains(wanted), "{text:?}: {mistakes:?}");
    }
    let error = read(Path::new("/nowhere/publish.yaml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/publish.yaml cannot be read"), "{error}");
}

/// Names are compared label by label, so neither is taken for a part of the other.
#[test]
fn zones_that_end_alike_are_two_zones() {
    let servers = "servers: [{address: 192.0.2.1, keys: [{file: a}]}]";
    let publication = parsed(&format!(
        "cluster: a\nzones:\n- {{zone: example.com, {servers}}}\n- {{zone: notexample.com, {servers}}}\n"
    ));
    assert_eq!(publication.unwrap().zones.len(), 2);
}
