//! Further hosts of an object: an annotation flows in, host patterns flow out. The claims ask for each of them as for every
//! host.

use crate::annotation::Annotations;
use crate::hostname::HostPattern;
use crate::verdict::shown;
use std::sync::Arc;

/// The hosts, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerAliases(Arc<[HostPattern]>);

impl ServerAliases {
    /// Reads the first annotation that is written. A host that is none is left out.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let written = [NAME, "nginx.ingress.kubernetes.io/server-alias"].map(|name| (name, annotations.text(name)));
        let Some((name, text)) = written.into_iter().find_map(|(name, text)| Some((name, text?))) else {
            return Self::default();
        };
        let mut hosts: Vec<HostPattern> = Vec::new();
        let items = text.split([',', ' ', '\t', '\n', '\r']).filter(|item| !item.is_empty());
        for (place, item) in items.enumerate() {
            if place == HOSTS {
                annotations.problem(name, format!("names more than {HOSTS} hosts; the first are used"));
                break;
            }
            match HostPattern::parse(&item.to_ascii_lowercase()) {
                Ok(host) if !hosts.contains(&host) => hosts.push(host),
                Ok(_) => {}
                Err(error) => annotations.problem(name, format!("{:?} is left out: {error}", shown(item))),
            }
        }
        Self(hosts.into())
    }

    /// The hosts.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.0
    }
}

/// For the claims, which name their reason.
pub(crate) const NAME: &str = "nearside.dev/server-alias";
const HOSTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    const NGINX: &str = "nginx.ingress.kubernetes.io/server-alias";

    fn hosts(text: &str) -> Vec<String> {
        read(&[(NGINX, text)], ServerAliases::read).hosts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_are_listed_with_commas_or_blanks_and_each_stands_for_itself() {
        assert_eq!(hosts("a.test,B.test, *.c.test,a.test"), ["a.test", "b.test", "*.c.test"]);
        assert_eq!(hosts("a.test b_c.test,~^x$,,d.test"), ["a.test", "d.test"]);
        assert_eq!(problems(&[(NGINX, "a.test b_c.test,~^x$,,d.test")], ServerAliases::read).len(), 2);
        assert!(hosts("").is_empty() && hosts("*").is_empty());
        let many: Vec<String> = (0..100).map(|number| format!("h{number}.test")).collect();
        assert_eq!(hosts(&many.join(",")).len(), HOSTS);
    }
}
