//! How Knot is set up: a `knot.conf`, and `knotd` in the foreground.

use super::{Setup, Source, Zone, program};
use crate::lab::Place;
use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Writes the configuration and returns the command.
pub(super) fn command(setup: &Setup, place: &Place, address: SocketAddr, directory: &Path) -> Result<Command> {
    let file = directory.join("knot.conf");
    fs::write(&file, configuration(setup, address, directory)?)?;
    let mut command = place.command(program("knotd")?);
    command.arg("-c").arg(file);
    Ok(command)
}

/// The text of `knot.conf`.
///
/// # Errors
/// Never, but for want of memory.
pub fn configuration(setup: &Setup, address: SocketAddr, directory: &Path) -> Result<String> {
    let (ip, port, path) = (address.ip(), address.port(), directory.display());
    let mut text = format!(
        "server:\n  rundir: \"{path}\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n  \
         answer-rotation: on\ndatabase:\n  storage: \"{path}\"\nlog:\n  - target: stderr\n    any: info\n"
    );
    if !setup.keys.is_empty() {
        writeln!(text, "key:")?;
    }
    for key in &setup.keys {
        writeln!(text, "  - id: {}\n    algorithm: {}\n    secret: {}", key.name, key.algorithm, key.secret)?;
    }
    remotes(&mut text, setup)?;
    access(&mut text, setup)?;
    // Changes stay in the journal; the file of the zone is as it was given.
    writeln!(
        text,
        "template:\n  - id: default\n    storage: \"{path}\"\n    file: \"%s.zone\"\n    semantic-checks: off\n    zonefile-sync: -1\nzone:"
    )?;
    for (index, zone) in setup.zones.iter().enumerate() {
        zone_item(&mut text, index, zone)?;
    }
    Ok(text)
}

fn remotes(text: &mut String, setup: &Setup) -> Result<()> {
    let mut items = String::new();
    for (index, zone) in setup.zones.iter().enumerate() {
        if let Source::Primary { address, key } = &zone.source {
            let (ip, port) = (address.ip(), address.port());
            writeln!(items, "  - id: primary{index}\n    address: {ip}@{port}\n    key: {key}")?;
        }
        for (number, server) in zone.notify.iter().enumerate() {
            writeln!(items, "  - id: notify{index}-{number}\n    address: {}@{}", server.ip(), server.port())?;
        }
    }
    if !items.is_empty() {
        writeln!(text, "remote:\n{items}")?;
    }
    Ok(())
}

/// One rule for each zone and key; and NOTIFY of a primary is taken from its address.
fn access(text: &mut String, setup: &Setup) -> Result<()> {
    let mut items = String::new();
    for (index, zone) in setup.zones.iter().enumerate() {
        for (number, (key, actions)) in rights(zone).into_iter().enumerate() {
            writeln!(items, "  - id: key{index}-{number}\n    key: {key}\n    action: [{actions}]")?;
        }
        if let Source::Primary { address, key } = &zone.source {
            let ip = address.ip();
            writeln!(items, "  - id: primary{index}\n    address: {ip}\n    action: notify")?;
            // PowerDNS signs its NOTIFY, and a rule without a key takes none that is signed.
            writeln!(items, "  - id: signed{index}\n    address: {ip}\n    key: {key}\n    action: notify")?;
        }
    }
    if !items.is_empty() {
        writeln!(text, "acl:\n{items}")?;
    }
    Ok(())
}

fn rights(zone: &Zone) -> Vec<(&String, &'static str)> {
    let transfer_only = zone.transfer.iter().filter(|key| !zone.update.contains(key)).map(|key| (key, "transfer"));
    let updates =
        zone.update.iter().map(|key| (key, if zone.transfer.contains(key) { "update, transfer" } else { "update" }));
    updates.chain(transfer_only).collect()
}

fn zone_item(text: &mut String, index: usize, zone: &Zone) -> Result<()> {
    writeln!(text, "  - domain: {}", zone.origin)?;
    let mut rules: Vec<String> = (0..rights(zone).len()).map(|number| format!("key{index}-{number}")).collect();
    if matches!(zone.source, Source::Primary { .. }) {
        rules.extend([format!("primary{index}"), format!("signed{index}")]);
        writeln!(text, "    master: primary{index}")?;
    }
    if !rules.is_empty() {
        writeln!(text, "    acl: [{}]", rules.join(", "))?;
    }
    if !zone.notify.is_empty() {
        let told: Vec<String> = (0..zone.notify.len()).map(|number| format!("notify{index}-{number}")).collect();
        writeln!(text, "    notify: [{}]", told.join(", "))?;
    }
    Ok(())
}
