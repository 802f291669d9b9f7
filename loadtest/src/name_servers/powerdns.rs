//! How PowerDNS is set up: a `pdns.conf`, a database made by `pdnsutil`, and `pdns_server` in the foreground.

use super::{Setup, Source, Zone, program, zone_file};
use crate::lab::Place;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Writes configuration and database, where there is none yet, and returns the command.
pub(super) fn command(setup: &Setup, place: &Place, address: SocketAddr, directory: &Path) -> Result<Command> {
    fs::write(directory.join("pdns.conf"), configuration(setup, address, directory))?;
    let database = directory.join(DATABASE);
    if !database.exists() {
        fill(setup, directory)?;
    }
    let mut command = place.command(program("pdns_server")?);
    command.arg(format!("--config-dir={}", directory.display()));
    Ok(command)
}

/// The text of `pdns.conf`.
#[must_use]
pub fn configuration(setup: &Setup, address: SocketAddr, directory: &Path) -> String {
    let (ip, port, path) = (address.ip(), address.port(), directory.display());
    let is_secondary = setup.zones.iter().any(|zone| matches!(zone.source, Source::Primary { .. }));
    let notify: Vec<String> = setup
        .zones
        .iter()
        .flat_map(|zone| &zone.notify)
        .map(|server| format!("{}:{}", server.ip(), server.port()))
        .collect();
    let roles = format!(
        "primary={}\nsecondary={}\nalso-notify={}\n",
        if notify.is_empty() { "no" } else { "yes" },
        if is_secondary { "yes" } else { "no" },
        notify.join(",")
    );
    // Without its caches: a query that meets an update may put the old answer back, which is then given for 20 seconds after others have
    // seen the new one.
    // Who may update and transfer is told by keys alone; PowerDNS 4.7 closes connections where the list of addresses is empty.
    format!(
        "launch=gsqlite3\ngsqlite3-database={path}/{DATABASE}\ngsqlite3-pragma-synchronous=0\nlocal-address={ip}\nlocal-port={port}\n\
         socket-dir={path}\ndaemon=no\nguardian=no\nsecurity-poll-suffix=\nzone-cache-refresh-interval=0\n\
         cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\ndnsupdate=yes\n\
         allow-dnsupdate-from=0.0.0.0/0,::/0\nallow-axfr-ips=\nxfr-cycle-interval=1\n{roles}"
    )
}

fn fill(setup: &Setup, directory: &Path) -> Result<()> {
    // An empty file is an empty database.
    fs::write(directory.join(DATABASE), "")?;
    let schema =
        fs::read_to_string(SCHEMA).with_context(|| format!("cannot read {SCHEMA}: pdns-backend-sqlite3 has it"))?;
    let statements = schema.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let mut arguments = vec!["backend-cmd".to_owned(), "gsqlite3".to_owned()];
    arguments.extend(statements.map(ToOwned::to_owned));
    tool(directory, &arguments)?;
    let run = |words: &[&str]| tool(directory, &words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    for key in &setup.keys {
        run(&["import-tsig-key", &key.name, &key.algorithm, &key.secret])?;
    }
    for zone in &setup.zones {
        let origin = zone.origin.as_str();
        match &zone.source {
            Source::File(_) => {
                run(&["load-zone", origin, &zone_file(directory, origin).display().to_string()])?;
                run(&["set-kind", origin, "primary"])?;
            }
            Source::Primary { address, key } => {
                run(&["create-secondary-zone", origin, &address.to_string()])?;
                run(&["set-meta", origin, "AXFR-MASTER-TSIG", key])?;
            }
        }
        rights(zone, &run)?;
    }
    Ok(())
}

fn rights(zone: &Zone, run: &impl Fn(&[&str]) -> Result<()>) -> Result<()> {
    for (kind, keys) in [("TSIG-ALLOW-DNSUPDATE", &zone.update), ("TSIG-ALLOW-AXFR", &zone.transfer)] {
        if !keys.is_empty() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            run(&[&["set-meta", &zone.origin, kind], &keys[..]].concat())?;
        }
    }
    run(&["set-meta", &zone.origin, "SOA-EDIT-DNSUPDATE", "INCREASE"])
}

/// Runs `pdnsutil` on the database.
fn tool(directory: &Path, arguments: &[String]) -> Result<()> {
    let mut command = Command::new(program("pdnsutil")?);
    let output = command.arg(format!("--config-dir={}", directory.display())).args(arguments).output()?;
    if !output.status.success() {
        bail!(
            "pdnsutil {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

const DATABASE: &str = "pdns.sqlite3";
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
