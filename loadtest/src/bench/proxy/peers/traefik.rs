//! Traefik with its file provider: a site comes in, the two files of its configuration and a command come out. Both files are JSON,
//! which is YAML.

use super::{HOST, Site, foreign};
use crate::programs::Launch;
use anyhow::Result;
use serde_json::{Map, json};
use std::path::Path;

pub(super) fn launch(program: &Path, site: &Site<'_>) -> Result<Launch> {
    let identity = &site.world.identity;
    let certificate = site.write("bench.crt", &identity.certificate)?;
    let key = site.write("bench.key", &identity.key)?;
    let (mut routers, mut services) = (Map::new(), Map::new());
    for (at, host) in std::iter::once(HOST.to_owned()).chain(site.other_hosts()).enumerate() {
        let (rule, service) = (format!("Host(`{host}`)"), format!("service-{at}"));
        routers.insert(format!("plain-{at}"), json!({ "rule": rule, "service": service, "entryPoints": ["web"] }));
        if at == 0 {
            let router = json!({ "rule": rule, "service": service, "entryPoints": ["websecure"], "tls": {} });
            routers.insert("tls".to_owned(), router);
        }
        let servers = json!([{ "url": format!("http://{}", site.world.backend) }]);
        services.insert(service, json!({ "loadBalancer": { "servers": servers } }));
    }
    let shown = json!({ "certFile": certificate.display().to_string(), "keyFile": key.display().to_string() });
    let dynamic = json!({
        "http": { "routers": routers, "services": services },
        "tls": { "certificates": [shown], "stores": { "default": { "defaultCertificate": shown } } },
    });
    let dynamic = site.write("dynamic.yaml", &dynamic.to_string())?;
    let timeouts = json!({ "respondingTimeouts": { "readTimeout": "0s", "idleTimeout": "300s" } });
    let entry = |address: std::net::SocketAddr| json!({ "address": address.to_string(), "transport": timeouts });
    let fixed = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "ERROR" },
        "entryPoints": { "web": entry(site.http), "websecure": entry(site.https) },
        "serversTransport": { "maxIdleConnsPerHost": 1024 },
        "providers": { "providersThrottleDuration": "0s", "file": { "filename": dynamic.display().to_string(), "watch": false } },
    });
    let file = site.write("traefik.yaml", &fixed.to_string())?;
    Ok(foreign("traefik", program, &[&format!("--configFile={}", file.display())]))
}
