//! Variables of the OpenShift router that say something only together: an environment flows in, values of our flags flow
//! out, with what was wrong.

use super::translation::{Environment, Found};
use std::net::SocketAddr;
use std::path::Path;

/// Reads some variables and adds what they mean together.
pub(super) type Combination = fn(&Environment, &mut Found);

/// Every combination.
pub(super) const COMBINATIONS: [Combination; 4] = [listeners, admin, default_certificate, unique_id];

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
    let (variable, certificate, key) = if let Some(pem) = environment.get("DEFAULT_CERTIFICATE") {
        ("DEFAULT_CERTIFICATE", pem.to_owned(), pem.to_owned())
    } else if let Some(path) = environment.get("DEFAULT_CERTIFICATE_PATH") {
        ("DEFAULT_CERTIFICATE_PATH", path.to_owned(), path.to_owned())
    } else if let Some(directory) = environment.get("DEFAULT_CERTIFICATE_DIR") {
        let file = |name: &str| Path::new(directory).join(name);
        // The key may stand in the certificate's file.
        let key = if environment.exists(&file("tls.key")) { "tls.key" } else { "tls.crt" };
        ("DEFAULT_CERTIFICATE_DIR", file("tls.crt").display().to_string(), file(key).display().to_string())
    } else {
        return;
    };
    found.take(&[variable], vec![("default-cert", vec![certificate]), ("default-key", vec![key])]);
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
