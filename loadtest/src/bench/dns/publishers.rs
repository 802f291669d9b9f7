//! The ways from DNSEndpoints to answers: the embedded server reads and answers them; or `nearside-dns-sync publish` reads them and
//! updates a name server, through a tap. An API flows in, running programs flow out. Called by `latency`.

use super::peers::PATIENCE;
use super::tap::Tap;
use super::zone::ORIGIN;
use crate::api::ApiServer;
use crate::bench::free_addresses::free_addresses;
use crate::lab::Place;
use crate::name_servers::{NameServer, Setup, Software, TsigKey, Zone, zone_text};
use crate::programs::{Launch, Program};
use anyhow::{Context as _, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    Embedded,
    Updates(Software),
}

/// One that runs.
pub(super) struct Publishing {
    server: SocketAddr,
    tap: Option<Tap>,
    // All end with the value.
    _program: Program,
    _name_server: Option<NameServer>,
}

impl Publisher {
    pub(super) const ALL: [Self; 4] = [
        Self::Embedded,
        Self::Updates(Software::Bind),
        Self::Updates(Software::Knot),
        Self::Updates(Software::PowerDns),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Updates(Software::Bind) => "BIND",
            Self::Updates(Software::Knot) => "Knot",
            Self::Updates(Software::PowerDns) => "PowerDNS",
        }
    }

    /// Starts what is needed and waits until it is ready.
    pub(super) async fn start(self, api: &ApiServer, directory: &Path) -> Result<Publishing> {
        let directory = directory.join(format!("latency-{}", self.name()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let kubeconfig = directory.join("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig_yaml())?;
        let [admin, listen] = free_addresses()?;
        let mut arguments = vec![format!("--admin-listen={admin}")];
        let (server, tap, name_server) = match self {
            Self::Embedded => {
                arguments.splice(0..0, ["serve".to_owned(), format!("--zone={ORIGIN}"), format!("--listen={listen}")]);
                (listen, None, None)
            }
            Self::Updates(software) => {
                let key = TsigKey::new("nearside", "hmac-sha256", "bench");
                let zone = Zone::primary(ORIGIN, &zone_text(ORIGIN, ""), &key);
                let setup = Setup { zones: vec![zone], keys: vec![key.clone()] };
                let name_server = tokio::task::spawn_blocking(move || NameServer::start(software, &setup)).await??;
                let tap = Tap::start(name_server.address()).await?;
                fs::write(directory.join("key.conf"), key.clause())?;
                let config = directory.join("publish.yaml");
                fs::write(&config, configuration(tap.address(), &directory.join("key.conf")))?;
                arguments.splice(0..0, ["publish".to_owned(), format!("--config={}", config.display())]);
                (name_server.address(), Some(tap), Some(name_server))
            }
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let launch = Launch::new("nearside-dns-sync", "dns-sync", &Place::host(), &arguments)?;
        let mut program = launch.env("KUBECONFIG", &kubeconfig.display().to_string()).start(&directory)?;
        program.ready(admin, "/healthz/ready", PATIENCE).await?;
        Ok(Publishing { server, tap, _program: program, _name_server: name_server })
    }
}

impl Publishing {
    /// Where queries are answered.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// When the server acknowledged the last update of a name, if it is updated.
    pub(super) fn applied(&self, name: &str) -> Option<Instant> {
        self.tap.as_ref()?.applied(name)
    }
}

/// The file of `nearside-dns-sync publish`.
pub(crate) fn configuration(server: SocketAddr, key: &Path) -> String {
    format!(
        "cluster: lab\nzones:\n  - zone: {ORIGIN}\n    servers:\n      - address: {server}\n        keys: [{{file: {}}}]\n",
        key.display()
    )
}
