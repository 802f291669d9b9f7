//! The name server of the DNS lab where it is none of ours: a BIND, Knot or PowerDNS with an empty zone and a key, and the file by which
//! `nearside-dns-sync publish` updates it. Called by `stage`.

use super::Answering;
use super::objects::ZONE;
use crate::lab::Place;
use crate::name_servers::{NameServer, Setup, Software, TsigKey, Zone, zone_text};
use anyhow::{Context as _, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A name server that runs; it ends with the value.
pub(super) struct Answers {
    config: PathBuf,
    _server: NameServer,
}

impl Answers {
    /// Starts it at `address`; `None` where the embedded server is to answer.
    pub(super) async fn start(
        answering: Answering,
        place: &Place,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<Option<Self>> {
        let software = match answering {
            Answering::Embedded => return Ok(None),
            Answering::Bind => Software::Bind,
            Answering::Knot => Software::Knot,
            Answering::Powerdns => Software::PowerDns,
        };
        let directory = directory.join("name-server");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let key = TsigKey::new("nearside", "hmac-sha256", "dns-lab");
        let (secret, config) = (directory.join("key.conf"), directory.join("publish.yaml"));
        fs::write(&secret, key.clause())?;
        fs::write(&config, configuration(address, &secret))?;
        let setup = Setup { zones: vec![Zone::primary(ZONE, &zone_text(ZONE, ""), &key)], keys: vec![key] };
        let place = place.clone();
        let start = move || NameServer::start_at(software, &setup, &place, address, &directory);
        let server = tokio::task::spawn_blocking(start).await??;
        Ok(Some(Self { config, _server: server }))
    }

    /// The file of `nearside-dns-sync publish`.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }
}

fn configuration(server: SocketAddr, key: &Path) -> String {
    format!(
        "cluster: lab\nzones:\n  - zone: {ZONE}\n    servers:\n      - address: {server}\n        keys: [{{file: {}}}]\n",
        key.display()
    )
}
