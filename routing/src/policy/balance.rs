//! Which pod gets a request: annotations flow in, the algorithm and the limits of one pod flow out. What is left open, the
//! proxy's flags decide.

use crate::annotation::grammar::{count, time};
use crate::annotation::{Annotations, Spelling};
use std::sync::Arc;
use std::time::Duration;

/// How requests spread over pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// `None`: by turns where several Services have weight, else the router's default.
    pub algorithm: Option<Algorithm>,
    /// Requests or passed-through connections that one pod may have at a time; 0 means any number.
    pub pod_connections: Option<u32>,
    /// How long a pod that has come up is spared.
    pub slow_start: Option<Duration>,
}

/// How a pod is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest requests for its weight.
    LeastConnections,
    /// The same one for the same client address while it lasts.
    Source,
    /// The less busy of two random ones.
    Random,
    /// The same one for the same value of this key while it lasts.
    Hash(HashKey),
}

/// What a request is told apart by (`upstream-hash-by` of ingress-nginx).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashKey(Arc<[HashPart]>);

/// A piece of a [`HashKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashPart {
    /// This text.
    Literal(Box<str>),
    /// The client's address.
    ClientAddress,
    /// Path and query as the client sent them.
    PathAndQuery,
    /// The path without query.
    Path,
    /// The query without question mark.
    Query,
    /// The host without port.
    Host,
    /// The method.
    Method,
    /// The first header field of this name, lower case.
    Header(Box<str>),
    /// The first argument of this name in the query.
    Argument(Box<str>),
    /// The first cookie of this name.
    Cookie(Box<str>),
}

impl Balance {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let algorithm = annotations.first(&[
            Spelling { name: "nearside.dev/hash-by", parse: hash },
            Spelling { name: "nearside.dev/balance", parse: algorithm },
            Spelling { name: "haproxy.router.openshift.io/balance", parse: algorithm },
            Spelling { name: "nginx.ingress.kubernetes.io/upstream-hash-by", parse: hash },
            Spelling { name: "nginx.ingress.kubernetes.io/load-balance", parse: nginx_algorithm },
        ]);
        let pod_connections = annotations.first(&[
            Spelling { name: "nearside.dev/pod-concurrent-connections", parse: count },
            Spelling { name: "haproxy.router.openshift.io/pod-concurrent-connections", parse: count },
        ]);
        let slow_start = annotations.first(&[Spelling { name: "nearside.dev/slow-start", parse: time }]);
        Self { algorithm, pod_connections, slow_start }
    }
}

impl HashKey {
    /// Reads text with variables as nginx writes them, `$name` or `${name}`.
    ///
    /// # Errors
    /// For unknown variables, text without any, and more parts than a key may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        hash_key(text)
    }

    /// The parts in order; their values are joined.
    pub fn parts(&self) -> &[HashPart] {
        &self.0
    }
}

impl Algorithm {
    /// Reads the words of the OpenShift router.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Self, String> {
        algorithm(text)
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "roundrobin" => Ok(Algorithm::RoundRobin),
        "leastconn" => Ok(Algorithm::LeastConnections),
        "source" => Ok(Algorithm::Source),
        "random" => Ok(Algorithm::Random),
        _ => Err("is not one of roundrobin, leastconn, source, random".into()),
    }
}

/// `ewma` shuns slow pods; the less busy of two, which shuns them as well, stands for it.
fn nginx_algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "round_robin" => Ok(Algorithm::RoundRobin),
        "ewma" => Ok(Algorithm::Random),
        _ => Err("is not one of round_robin, ewma".into()),
    }
}

fn hash(text: &str) -> Result<Algorithm, String> {
    hash_key(text).map(Algorithm::Hash)
}

/// Text with variables as nginx writes them, `$name` or `${name}`.
fn hash_key(text: &str) -> Result<HashKey, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if parts.len() == HASH_PARTS {
            return Err(format!("has more than {HASH_PARTS} parts"));
        }
        let Some(after) = rest.strip_prefix('$') else {
            let (literal, more) = rest.split_at(rest.find('$').unwrap_or(rest.len()));
            if literal.chars().any(char::is_control) {
                return Err("has a control character".into());
            }
            parts.push(HashPart::Literal(literal.into()));
            rest = more;
            continue;
        };
        let (name, more) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("has a brace that is not closed")?,
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            }
        };
        parts.push(variable(name)?);
        rest = more;
    }
    if parts.iter().all(|part| matches!(part, HashPart::Literal(_))) {
        return Err("names no variable, so that every request would go to one pod".into());
    }
    Ok(HashKey(parts.into()))
}

fn variable(name: &str) -> Result<HashPart, String> {
    let part = match name {
        "remote_addr" | "binary_remote_addr" => HashPart::ClientAddress,
        "request_uri" => HashPart::PathAndQuery,
        "uri" | "document_uri" => HashPart::Path,
        "args" | "query_string" => HashPart::Query,
        "host" | "http_host" => HashPart::Host,
        "request_method" => HashPart::Method,
        _ => match name.split_once('_') {
            Some(("http", field)) if !field.is_empty() => {
                HashPart::Header(field.to_ascii_lowercase().replace('_', "-").into())
            }
            Some(("arg", argument)) if !argument.is_empty() => HashPart::Argument(argument.into()),
            Some(("cookie", cookie)) if !cookie.is_empty() => HashPart::Cookie(cookie.into()),
            _ => {
                return Err(format!(
                    "names ${}, which is not one of $remote_addr, $request_uri, $uri, $args, $host, $request_method, \
                     $http_NAME, $arg_NAME, $cookie_NAME",
                    crate::verdict::shown(name)
                ));
            }
        },
    };
    Ok(part)
}

/// Parts of one key.
const HASH_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn algorithms_are_those_of_the_openshift_router() {
        assert_eq!(algorithm("leastconn"), Ok(Algorithm::LeastConnections));
        for bad in ["", "RoundRobin", "roundrobin ", "first", "random(2)"] {
            assert!(algorithm(bad).is_err(), "{bad:?}");
        }
        assert_eq!(nginx_algorithm("ewma"), Ok(Algorithm::Random));
    }

    #[test]
    fn a_hash_key_is_text_with_variables() {
        let key = hash_key("a-$request_uri${arg_user}.$http_X_Tenant").unwrap();
        assert_eq!(
            key.parts(),
            [
                HashPart::Literal("a-".into()),
                HashPart::PathAndQuery,
                HashPart::Argument("user".into()),
                HashPart::Literal(".".into()),
                HashPart::Header("x-tenant".into()),
            ]
        );
        for bad in ["", "all", "$", "${host", "$nothing", "$http_", "\n$host", &"$host".repeat(HASH_PARTS + 1)] {
            assert!(hash_key(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_key_or_a_message(text in "[$a-z_{}]{0,24}|\\PC{0,24}") {
            if let Ok(key) = hash_key(&text) {
                prop_assert!((1..=HASH_PARTS).contains(&key.parts().len()));
            }
        }
    }
}
