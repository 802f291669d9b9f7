//! Who may ask: annotations flow in, whether a client's address is let in flows out. A list that is written and not
//! understood lets nobody in; an item that is not understood is left out and told.

mod ranges;

pub use ranges::AddressRanges;

use crate::annotation::Annotations;
use std::net::IpAddr;

/// The addresses that an object lets in and keeps out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    allowed: Option<AddressRanges>,
    denied: Option<AddressRanges>,
    nobody: bool,
}

impl Access {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let allowed = list(annotations, &ALLOW);
        let denied = list(annotations, &DENY);
        let nobody = [&allowed, &denied].into_iter().flatten().any(AddressRanges::is_empty);
        Self { allowed, denied, nobody }
    }

    /// Whether this client may ask. An IPv4 address in IPv6 form is an IPv4 address.
    pub fn admits(&self, client: IpAddr) -> bool {
        let among = |list: &AddressRanges| list.contains(client);
        !self.nobody && self.allowed.as_ref().is_none_or(among) && !self.denied.as_ref().is_some_and(among)
    }

    /// Whether this client is on a list of those that are let in, and on none of those that are kept out.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        self.allowed.is_some() && self.admits(client)
    }

    /// Whether everybody may ask.
    pub fn is_open(&self) -> bool {
        self.allowed.is_none() && self.denied.is_none()
    }
}

/// The first of these annotations that holds anything but blanks. Empty where nothing in it is understood.
pub(super) fn list(annotations: &mut Annotations<'_>, names: &[&'static str]) -> Option<AddressRanges> {
    let mut found = None;
    for name in names {
        if !annotations.is_written(name) {
            continue;
        }
        // What is too long to be read was told; here it is a list of nothing.
        let text = annotations.text(name);
        if text.is_some_and(|text| text.trim().is_empty()) || found.is_some() {
            continue;
        }
        let (ranges, wrong) = AddressRanges::parse(text.unwrap_or_default());
        if let Some(first) = wrong.first() {
            let others = if wrong.len() > 1 { format!(" and {} more", wrong.len() - 1) } else { String::new() };
            let rest = if ranges.is_empty() { "; nothing is left, so it lets nobody in" } else { "; left out" };
            annotations.problem(name, format!("{first:?}{others}: not an address or range such as 10.0.0.0/8{rest}"));
        }
        found = Some(ranges);
    }
    found
}

const ALLOW: [&str; 5] = [
    "nearside.dev/ip-allowlist",
    "haproxy.router.openshift.io/ip_allowlist",
    "haproxy.router.openshift.io/ip_whitelist",
    "nginx.ingress.kubernetes.io/allowlist-source-range",
    "nginx.ingress.kubernetes.io/whitelist-source-range",
];
const DENY: [&str; 2] = ["nearside.dev/ip-denylist", "nginx.ingress.kubernetes.io/denylist-source-range"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    const HAPROXY: &str = "haproxy.router.openshift.io/ip_allowlist";
    const OLD: &str = "haproxy.router.openshift.io/ip_whitelist";
    const NGINX: &str = "nginx.ingress.kubernetes.io/whitelist-source-range";
    const DENYLIST: &str = "nginx.ingress.kubernetes.io/denylist-source-range";

    fn admits(written: &[(&str, &str)], client: &str) -> bool {
        read(written, Access::read).admits(client.parse().unwrap())
    }

    #[test]
    fn lists_let_in_and_keep_out_in_every_spelling() {
        for (written, client, expected) in [
            (&[][..], "192.0.2.1", true),
            (&[(HAPROXY, "192.0.2.1 198.51.100.0/24 2001:db8::/32")], "198.51.100.9", true),
            (&[(HAPROXY, "192.0.2.1 198.51.100.0/24 2001:db8::/32")], "2001:db8::5", true),
            (&[(HAPROXY, "192.0.2.1 198.51.100.0/24 2001:db8::/32")], "192.0.2.2", false),
            (&[(HAPROXY, "192.0.2.1")], "::ffff:192.0.2.1", true),
            (&[(HAPROXY, "::/0")], "192.0.2.1", false),
            (&[(HAPROXY, " 192.0.2.1\n")], "192.0.2.1", true),
            (&[(HAPROXY, " 192.0.2.1\n")], "192.0.2.2", false),
            (&[(HAPROXY, "  ")], "192.0.2.2", true),
            (&[(HAPROXY, ""), (OLD, "192.0.2.1")], "192.0.2.2", false),
            (&[(HAPROXY, "192.0.2.2"), (OLD, "192.0.2.1")], "192.0.2.1", false),
            (&[(NGINX, "10.0.0.0/8, 192.0.2.0/24")], "192.0.2.9", true),
            (&[(NGINX, "10.0.0.0/8, 192.0.2.0/24")], "192.0.3.9", false),
            (&[(DENYLIST, "192.0.2.0/24")], "192.0.2.9", false),
            (&[(DENYLIST, "192.0.2.0/24")], "192.0.3.9", true),
            (&[(DENYLIST, "192.0.2.9"), (NGINX, "192.0.2.0/24")], "192.0.2.9", false),
            (&[(DENYLIST, "192.0.2.9"), (NGINX, "192.0.2.0/24")], "192.0.2.8", true),
        ] {
            assert_eq!(admits(written, client), expected, "{written:?} {client}");
        }
    }

    #[test]
    fn a_list_that_is_not_understood_lets_nobody_in_and_says_so() {
        let long = "192.0.2.1 ".repeat(10_000);
        for text in ["nonsense", "300.1.1.1 10.0.0.0/33", "1.2.3", "192.0.2.1;192.0.2.2", &long] {
            assert!(!admits(&[(HAPROXY, text)], "192.0.2.1"), "{text:.20}");
            assert_eq!(problems(&[(HAPROXY, text)], Access::read).len(), 1, "{text:.20}");
        }
        assert!(!admits(&[(DENYLIST, "nonsense")], "192.0.2.1"), "nor does a list of those to keep out");
        assert!(!admits(&[(HAPROXY, "nonsense"), (OLD, "192.0.2.1")], "192.0.2.1"), "nor is another list taken");
    }

    #[test]
    fn a_bad_item_is_left_out_and_told() {
        let written = [(HAPROXY, "192.0.2.1 nonsense more")];
        assert!(admits(&written, "192.0.2.1") && !admits(&written, "192.0.2.2"));
        assert_eq!(
            problems(&written, Access::read),
            ["\"nonsense\" and 1 more: not an address or range such as 10.0.0.0/8; left out"]
        );
        let lets_in = |written: &[(&str, &str)]| read(written, Access::read).lets_in("192.0.2.1".parse().unwrap());
        assert!(lets_in(&written) && !lets_in(&[(DENYLIST, "10.0.0.0/8")]) && !lets_in(&[]));
        assert!(read(&[], Access::read).is_open() && !read(&written, Access::read).is_open());
    }
}
