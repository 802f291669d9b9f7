//! Where a collector is: a URL flows in, host, port and path flow out. Pure.

use std::str::FromStr;

/// An OTLP endpoint over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) tls: bool,
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// Of traces.
    pub(super) path: Box<str>,
}

impl FromStr for Endpoint {
    type Err = String;

    /// A base URL (OTLP, "Endpoint URLs for OTLP/HTTP"): traces go to `v1/traces` below it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a URL such as http://collector:4318");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = format!("{}/v1/traces", uri.path().trim_end_matches('/'));
        Ok(Self { tls, host: host.into(), port, path: path.into() })
    }
}

impl Endpoint {
    /// `Host` of requests to it.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_have_a_path_below_the_base() {
        for (text, expected) in [
            ("http://collector:4318", Some("false collector:4318 /v1/traces")),
            ("https://otel.example.com/base/", Some("true otel.example.com:443 /base/v1/traces")),
            ("http://[fd00::1]:4318/", Some("false [fd00::1]:4318 /v1/traces")),
            ("collector:4318", None),
            ("grpc://collector:4317", None),
            ("http://", None),
            ("http://user:secret@collector", None),
            ("http://collector?x=1", None),
            ("http://a b", None),
        ] {
            let found = text.parse::<Endpoint>().ok();
            let found = found.map(|found| format!("{} {} {}", found.tls, found.authority(), found.path));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
