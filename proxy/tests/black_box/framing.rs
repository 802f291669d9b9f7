//! Framing: what two parsers could read in two ways is refused, what is accepted reaches the pod in one normal form, and no client ever
//! gets what was meant for another. The same over every way from a client to a pod: HTTP/1 and HTTP/2 on either side, with and without TLS,
//! with and without Pingora, copied and moved by the kernel.
//!
//! `site` is the ways and what is served on them, `pods` the pods, which record what they are sent; `requests` and `http2` are tables of
//! odd requests, `responses` one of odd answers, `poisoning` all of them at once; `spoofing` is what clients say of themselves.

mod http2;
mod pods;
mod poisoning;
mod requests;
mod responses;
mod site;
mod spoofing;
