//! HAProxy, once as it comes and once with splice and pipes of 1 MiB: a site comes in, a configuration and a command come out.

use super::{Site, foreign};
use crate::programs::Launch;
use anyhow::Result;
use std::fmt::Write as _;
use std::path::Path;

pub(super) fn launch(program: &Path, site: &Site<'_>, splice: bool) -> Result<Launch> {
    let identity = &site.world.identity;
    let pem = site.write("bench.pem", &format!("{}{}", identity.certificate, identity.key))?;
    let mut map = String::new();
    let mut backends = format!("backend main\n  server pod {}\n", site.world.backend);
    for host in site.other_hosts() {
        // Writing to a String cannot fail.
        let _ = writeln!(map, "{host} {host}");
        let _ = write!(backends, "backend {host}\n  server pod {}\n", site.world.backend);
    }
    let map = site.write("hosts.map", &map)?;
    let (pipes, option) = if splice {
        ("  tune.pipesize 1048576\n", "  option splice-auto\n  option splice-response\n")
    } else {
        ("", "")
    };
    let text = format!(
        "global\n  nbthread 1\n  maxconn 6500\n{pipes}\
         defaults\n  mode http\n  option forwardfor\n{option}  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n  \
         timeout http-keep-alive 300s\n  http-reuse always\n\
         frontend all\n  bind {}\n  bind {} ssl crt {} alpn h2,http/1.1\n  \
         use_backend %[req.hdr(host),field(1,:),lower,map({},main)]\n{backends}",
        site.http,
        site.https,
        pem.display(),
        map.display()
    );
    let file = site.write("haproxy.cfg", &text)?;
    Ok(foreign("haproxy", program, &["-db", "-f", &file.display().to_string()]))
}
