//! Black-box tests: each starts the real `nearside-proxy` on a directory of manifests, with pods that are real HTTP
//! servers, and looks at what a client or an operator sees. One file for each topic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access_log;
mod admin_port;
mod admission;
mod affinity;
mod authentication;
mod backend_protocol;
mod balance;
mod canary;
mod certificates;
mod client_certificates;
mod compression;
mod cors;
mod custom_errors;
mod departures;
mod endpoints;
mod error_pages;
mod grammar;
mod grpc;
mod headers;
mod health;
mod host_certificates;
mod hostile;
mod ingress_fields;
mod ingress_termination;
mod interim;
mod lifecycle;
mod limits;
mod matching;
mod metrics;
mod miss;
mod openshift_environment;
mod options;
mod ownership;
mod pod_limits;
mod proxy_protocol;
mod public_health;
mod redirects;
mod requests;
mod response_rewrite;
mod rewrite;
mod route_fields;
mod rules;
mod server_alias;
mod server_names;
mod support;
mod timeouts;
mod tls;
mod tls_settings;
mod traces;
mod trailers;
mod trusted_proxies;
mod upstream;
mod websocket_h2;
