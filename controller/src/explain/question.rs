//! The question: a URL and the flags of `explain` flow in, the parts of a request that decide flow out, or every mistake.

use crate::options::{Mistakes, Reading, ReadingArguments, Surroundings};
use crate::output::Format;
use clap::Parser;
use nearside_routing::Scheme;
use nearside_routing::hostname::canonical_host;
use nearside_routing::table::MissPolicy;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Says what happens to a request, and why: which rule answers it and which do not, its certificate, its pods, what DNS says,
/// and what each node would do. Reads a cluster, or a directory of manifests with --manifests, and writes nothing.
///
/// Ends with 0 if the request is answered by a pod or a redirect, with 1 if it is not, and with 2 for flags that cannot be
/// used. Flags that say what is served must be those of the controller and the proxies; inside their pods the environment
/// says them.
#[derive(Clone, Debug, Parser)]
#[command(name = "nearside-controller explain", version, about)]
pub(crate) struct ExplainArguments {
    /// The URL, such as https://video.example.com/live; http where it names no scheme
    #[arg(value_name = "URL")]
    url: String,
    /// The method of the request
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header field of the request, such as `X-Canary: always`; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The address that the client asks from; without it, lists of addresses are only told
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Take for granted that the client shows what it is asked for: a password, a certificate, the word of a service
    #[arg(long)]
    authenticated: bool,
    /// Only what this node would do
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// The default certificate of the proxies as a PEM file; without it, its names are not known
    #[arg(long, value_name = "FILE")]
    default_cert: Option<PathBuf>,
    /// What proxies do where a node has no ready pod and the object does not say: redirect or reject, as their --on-miss
    #[arg(long, value_name = "redirect|reject", env = "NEARSIDE_ON_MISS", default_value = "redirect")]
    on_miss: String,
    /// Ask this machine's resolver for the host, too
    #[arg(long)]
    resolve: bool,
    /// How long reading may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    timeout: String,
    /// How the answer is written
    #[arg(long, short = 'o', value_name = "text|json|yaml", default_value = "text")]
    output: String,
    #[command(flatten)]
    reading: ReadingArguments,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) url: Url,
    pub(crate) method: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) authenticated: bool,
    pub(crate) node: Option<String>,
    pub(crate) default_cert: Option<PathBuf>,
    pub(crate) on_miss: MissPolicy,
    pub(crate) resolve: bool,
    pub(crate) patience: Duration,
    pub(crate) format: Format,
    pub(crate) reading: Reading,
}

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    /// Canonical.
    pub(crate) host: String,
    pub(crate) port: Option<String>,
    /// As it is written.
    pub(crate) path: String,
    /// With its question mark.
    pub(crate) query: String,
}

impl Question {
    /// What was typed, checked.
    ///
    /// # Errors
    /// Every mistake, one line each.
    pub(crate) fn new(arguments: ExplainArguments, surroundings: Surroundings) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let url = Url::parse(&arguments.url).unwrap_or_else(|message| {
            mistakes.add("URL", format!("{:?}: {message}", arguments.url));
            Url { scheme: Scheme::Http, host: String::new(), port: None, path: String::new(), query: String::new() }
        });
        let mut headers = Vec::new();
        for header in &arguments.header {
            match header.split_once(':') {
                Some((name, value)) if !name.trim().is_empty() => {
                    headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ => mistakes.add("--header", format!("{header:?} is not of the form NAME: VALUE")),
            }
        }
        let client = arguments.client.and_then(|text| mistakes.parse("--client", &text));
        let redirect = ("redirect", MissPolicy::Redirect);
        let on_miss = mistakes.choose("--on-miss", &arguments.on_miss, &[redirect, ("reject", MissPolicy::Reject)]);
        let patience = mistakes.seconds("--timeout", &arguments.timeout);
        let format = mistakes.parse("--output", &arguments.output).unwrap_or_default();
        let reading = arguments.reading.into_settings(surroundings, &mut mistakes);
        mistakes.none()?;
        Ok(Self {
            url,
            method: arguments.method.to_ascii_uppercase(),
            headers,
            client,
            authenticated: arguments.authenticated,
            node: arguments.node,
            default_cert: arguments.default_cert,
            on_miss,
            resolve: arguments.resolve,
            patience,
            format,
            reading,
        })
    }

    /// The first value of a header field, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Whether it is gRPC by its media type. (Proxies see the version of HTTP, too.)
    pub(crate) fn is_grpc(&self) -> bool {
        let rest = self.header("content-type").and_then(|kind| kind.strip_prefix("application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ']))
    }

    /// The first value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.headers.iter().filter(|(known, _)| known == "cookie");
        let mut pairs = fields.flat_map(|(_, value)| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Url {
    /// Takes a URL apart.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, _)) => return Err(format!("{scheme:?} is not one of http, https")),
            None => (Scheme::Http, text),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let (host, port) = match authority.rfind(']') {
            Some(end) => (&authority[..=end], authority[end + 1..].strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && is_name(host),
        };
        if !is_host {
            return Err("names no host".into());
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err("the port is none".into());
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            scheme,
            host: canonical_host(host).into_owned(),
            port: port.map(ToOwned::to_owned),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    /// Path and query as they are written.
    pub(crate) fn path_and_query(&self) -> String {
        format!("{}{}", self.path, self.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = |text: &str| Url::parse(text).map(|url| (url.scheme, url.host, url.port, url.path, url.query));
        let parts = |scheme, host: &str, port: Option<&str>, path: &str, query: &str| {
            Ok((scheme, host.to_owned(), port.map(ToOwned::to_owned), path.to_owned(), query.to_owned()))
        };
        let (http, https) = (Scheme::Http, Scheme::Https);
        assert_eq!(url("https://A.Example.com/b?c#d"), parts(https, "a.example.com", None, "/b", "?c"));
        assert_eq!(url("a.example.com."), parts(http, "a.example.com", None, "/", ""));
        assert_eq!(url("HTTP://a:8080?x=/y"), parts(http, "a", Some("8080"), "/", "?x=/y"));
        assert_eq!(url("http://[2001:db8::1]:80/"), parts(http, "[2001:db8::1]", Some("80"), "/", ""));
        for wrong in ["ftp://a/", "https:///b", "http://a b/", "http://a:x/", "http://u@a/", "http://[::1/"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let arguments = ["explain", "ftp://a", "-H", "x", "--client=me", "--on-miss=relay", "--timeout=0", "-o", "xml"];
        let arguments = ExplainArguments::try_parse_from(arguments).unwrap();
        let mistakes = Question::new(arguments, Surroundings::default()).unwrap_err();
        for flag in ["URL: ", "--header: ", "--client: ", "--on-miss: ", "--timeout: ", "--output: "] {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(flag)), "{flag} not in {mistakes:?}");
        }
    }
}
