//! nginx with the settings that cost it least for large answers: a site comes in, a configuration and a command come out.

use super::{HOST, Site, foreign};
use crate::programs::Launch;
use anyhow::Result;
use std::fmt::Write as _;
use std::path::Path;

pub(super) fn launch(program: &Path, site: &Site<'_>) -> Result<Launch> {
    let identity = &site.world.identity;
    let certificate = site.write("bench.crt", &identity.certificate)?;
    let key = site.write("bench.key", &identity.key)?;
    let path = site.directory.display();
    let (http, https, backend) = (site.http, site.https, site.world.backend);
    let mut servers = String::new();
    for (at, host) in std::iter::once(HOST.to_owned()).chain(site.other_hosts()).enumerate() {
        let of_tls = if at == 0 { format!("    listen {https} ssl http2;\n") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = write!(
            servers,
            "  upstream {host} {{\n    server {backend};\n    keepalive 1024;\n    keepalive_requests 1000000000;\n  }}\n  \
             server {{\n    listen {http};\n{of_tls}    server_name {host};\n    \
             location / {{ proxy_pass http://{host}; }}\n    location /websocket {{\n      proxy_pass http://{host};\n      \
             proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection upgrade;\n      \
             proxy_set_header Host $host;\n    }}\n  }}\n"
        );
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {path}/{kind};\n"))
        .collect();
    let text = format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {path}/nginx.pid;\nerror_log stderr error;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 16000; }}\nhttp {{\n{temporary}  access_log off;\n  keepalive_timeout 300s;\n  \
         keepalive_requests 1000000000;\n  http2_max_concurrent_streams 256;\n  server_names_hash_max_size 262144;\n  \
         proxy_http_version 1.1;\n  proxy_set_header Connection \"\";\n  proxy_set_header Host $host;\n  \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n  proxy_buffers 16 64k;\n  proxy_buffer_size 64k;\n  \
         proxy_busy_buffers_size 128k;\n  proxy_max_temp_file_size 0;\n  proxy_read_timeout 300s;\n  send_timeout 300s;\n  \
         tcp_nodelay on;\n  ssl_certificate {};\n  ssl_certificate_key {};\n  ssl_protocols TLSv1.2 TLSv1.3;\n  \
         ssl_session_cache shared:bench:10m;\n{servers}}}\n",
        certificate.display(),
        key.display()
    );
    let file = site.write("nginx.conf", &text)?;
    Ok(foreign("nginx", program, &["-e", "stderr", "-p", &path.to_string(), "-c", &file.display().to_string()]))
}
