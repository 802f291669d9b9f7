//! How BIND is set up: a `named.conf`, and `named` in the foreground.

use super::{Setup, Source, Zone, program, zone_file};
use crate::lab::Place;
use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Writes the configuration and returns the command.
pub(super) fn command(setup: &Setup, place: &Place, address: SocketAddr, directory: &Path) -> Result<Command> {
    let file = directory.join("named.conf");
    fs::write(&file, configuration(setup, address, directory)?)?;
    let mut command = place.command(program("named")?);
    // -X none: no lock file of the machine, so that several run beside each other.
    command.args(["-g", "-n", "1", "-X", "none", "-c"]).arg(file);
    Ok(command)
}

/// The text of `named.conf`.
///
/// # Errors
/// Never, but for want of memory.
pub fn configuration(setup: &Setup, address: SocketAddr, directory: &Path) -> Result<String> {
    let (ip, port, path) = (address.ip(), address.port(), directory.display());
    let (v4, v6) = if ip.is_ipv4() { (ip.to_string(), "none".to_owned()) } else { ("none".to_owned(), ip.to_string()) };
    let mut text = format!(
        "options {{\n  directory \"{path}\";\n  pid-file none;\n  session-keyfile none;\n  listen-on port {port} {{ {v4}; }};\n  \
         listen-on-v6 port {port} {{ {v6}; }};\n  recursion no;\n  dnssec-validation no;\n  empty-zones-enable no;\n  \
         allow-transfer {{ none; }};\n  notify-delay 0;\n  notify explicit;\n}};\ncontrols {{ }};\n"
    );
    for key in &setup.keys {
        text.push_str(&key.clause());
    }
    for zone in &setup.zones {
        zone_clause(&mut text, zone, directory)?;
    }
    Ok(text)
}

fn zone_clause(text: &mut String, zone: &Zone, directory: &Path) -> Result<()> {
    let file = zone_file(directory, &zone.origin);
    writeln!(text, "zone \"{}\" {{\n  file \"{}\";", zone.origin, file.display())?;
    match &zone.source {
        Source::File(_) => writeln!(text, "  type primary;")?,
        Source::Primary { address, key } => {
            let (ip, port) = (address.ip(), address.port());
            writeln!(
                text,
                "  type secondary;\n  masterfile-format text;\n  primaries {{ {ip} port {port} key \"{key}\"; }};"
            )?;
        }
    }
    if !zone.update.is_empty() {
        let grant = |key: &String| format!("grant \"{key}\" zonesub A AAAA CNAME TXT HTTPS;");
        writeln!(text, "  update-policy {{ {} }};", zone.update.iter().map(grant).collect::<String>())?;
    }
    if !zone.transfer.is_empty() {
        let keys: String = zone.transfer.iter().map(|key| format!("key \"{key}\"; ")).collect();
        writeln!(text, "  allow-transfer {{ {keys}}};")?;
    }
    if !zone.notify.is_empty() {
        let servers = zone.notify.iter().map(|server| format!("{} port {}; ", server.ip(), server.port()));
        writeln!(text, "  also-notify {{ {}}};", servers.collect::<String>())?;
    }
    writeln!(text, "}};")?;
    Ok(())
}
