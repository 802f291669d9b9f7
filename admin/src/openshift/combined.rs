//! Variables of the OpenShift router that say something only together: an environment flows in, values of our flags flow
//! out, with what was wrong.

use super::translation::{Environment, Found};
use std::net::SocketAddr;

/// Reads some variables and adds what they mean together.
pub(super) type Combination = fn(&Environment, &mut Found);

/// Every combination.
pub(super) const COMBINATIONS: [Combination; 7] =
    [listeners, admin, default_certificate, cipher_suites, unique_id, error_pages, access_log];

fn listeners(environment: &Environment, found: &mut Found) {
    let mode = environment.get("ROUTER_IP_V4_V6_MODE");
    let addresses: &[&str] = match mode {
        None | Some("v4") => &["0.0.0.0"],
        Some("v6") => &["[::]"],
        Some("v4v6") => &["0.0.0.0", "[::]"],
        Some(other) => {
            found.unusable("ROUTER_IP_V4_V6_MODE", other, "is none of v4, v6, v4v6");
            return;
        }
    };
    let ports =
        [("ROUTER_SERVICE_HTTP_PORT", "http-listen", "80"), ("ROUTER_SERVICE_HTTPS_PORT", "https-listen", "443")];
    for (variable, flag, default) in ports {
        let written = environment.get(variable);
        if written.is_none() && mode.is_none() {
            continue;
        }
        let port = written.unwrap_or(default);
        match port.parse::<u16>() {
            Ok(port) if port > 0 => {
                let values = addresses.iter().map(|address| format!("{address}:{port}")).collect();
                found.take(&[variable, "ROUTER_IP_V4_V6_MODE"], vec![(flag, values)]);
            }
            _ => found.unusable(variable, port, "is not a port"),
        }
    }
}

fn admin(environment: &Environment, found: &mut Found) {
    if let Some(address) = environment.get("ROUTER_LISTEN_ADDR") {
        // The host may be left out, as Go allows.
        let whole = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
        match whole.parse::<SocketAddr>() {
            Ok(_) => found.take(&["ROUTER_LISTEN_ADDR", "STATS_PORT"], vec![("admin-listen", vec![whole])]),
            Err(_) => found.unusable("ROUTER_LISTEN_ADDR", address, "is not an address and port such as 0.0.0.0:1936"),
        }
    } else if let Some(port) = environment.get("STATS_PORT") {
        match port.parse::<u16>() {
            Ok(number) => found.take(&["STATS_PORT"], vec![("admin-listen", vec![format!("0.0.0.0:{number}")])]),
            Err(_) => found.unusable("STATS_PORT", port, "is not a port"),
        }
    }
}

fn default_certificate(environment: &Environment, found: &mut Found) {
    let variables = ["DEFAULT_CERTIFICATE", "DEFAULT_CERTIFICATE_PATH", "DEFAULT_CERTIFICATE_DIR"];
    let first = variables.into_iter().find_map(|variable| Some((variable, environment.get(variable)?)));
    if let Some((variable, value)) = first {
        found.take(&[variable], vec![("default-cert", vec![value.to_owned()])]);
    }
}

/// One variable holds the suites of TLS 1.2 or a profile, the other those of TLS 1.3; what one says does not take away what
/// the other leaves out.
fn cipher_suites(environment: &Environment, found: &mut Found) {
    let (old, new) = ("ROUTER_CIPHERS", "ROUTER_CIPHERSUITES");
    let list = environment.get(old).filter(|text| !PROFILES.contains(text));
    let value = match (environment.get(old), list, environment.get(new)) {
        (None, _, None) => return,
        (Some(profile), None, None) => profile.to_owned(),
        (_, list, suites) => format!("{}:{}", list.unwrap_or(TLS_1_2), suites.unwrap_or(TLS_1_3)),
    };
    found.take(&[old, new], vec![("tls-cipher-suites", vec![value])]);
}

fn error_pages(environment: &Environment, found: &mut Found) {
    let variables = [("ROUTER_ERRORFILE_503", 503), ("ROUTER_ERRORFILE_404", 404)];
    let given =
        variables.iter().filter_map(|(variable, status)| Some((*variable, *status, environment.get(variable)?)));
    let given: Vec<_> = given.collect();
    if !given.is_empty() {
        let read: Vec<_> = given.iter().map(|(variable, ..)| *variable).collect();
        let pages = given.iter().map(|(_, status, file)| format!("{status}={file}")).collect();
        found.take(&read, vec![("error-page", pages)]);
    }
}

/// The OpenShift router adds an id only where both are set.
fn unique_id(environment: &Environment, found: &mut Found) {
    let (name, format) = ("ROUTER_UNIQUE_ID_HEADER_NAME", "ROUTER_UNIQUE_ID_FORMAT");
    match (environment.get(name), environment.get(format)) {
        (Some(header), Some(value)) => found.take(
            &[name, format],
            vec![("unique-id-header", vec![header.to_owned()]), ("unique-id-format", vec![value.to_owned()])],
        ),
        (Some(header), None) => found.unusable(name, header, "needs ROUTER_UNIQUE_ID_FORMAT beside it"),
        (None, Some(value)) => found.unusable(format, value, "needs ROUTER_UNIQUE_ID_HEADER_NAME beside it"),
        (None, None) => {}
    }
}

/// Only with an address of a syslog server there is an access log, in HAProxy's format. Without one, ours stays.
fn access_log(environment: &Environment, found: &mut Found) {
    let (address, format) = ("ROUTER_SYSLOG_ADDRESS", "ROUTER_SYSLOG_FORMAT");
    let written = environment.get(format);
    match environment.get(address) {
        Some(server) => {
            let flags = [("access-log", format!("syslog://{server}")), ("access-log-format", "haproxy".to_owned())];
            found.take(&[address], flags.map(|(flag, value)| (flag, vec![value])).into());
            // By itself, so that a format that cannot be used leaves the server.
            if let Some(written) = written {
                found.take(&[format], vec![("access-log-format", vec![unquoted(written)])]);
            }
        }
        None => {
            if let Some(written) = written {
                found.unusable(format, written, "needs ROUTER_SYSLOG_ADDRESS beside it");
            }
        }
    }
}

/// A word of HAProxy's configuration in double quotes, as the operator writes it, where a backslash makes quotes and
/// backslashes text.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return text.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

/// What `ROUTER_CIPHERS` may say instead of a list.
const PROFILES: [&str; 3] = ["modern", "intermediate", "old"];
/// Every suite of TLS 1.2 that is offered.
const TLS_1_2: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
                       ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305";
/// Every suite of TLS 1.3.
const TLS_1_3: &str = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
