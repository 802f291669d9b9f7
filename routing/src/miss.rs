//! The miss policy: a request for a host without a ready pod on this node flows in, the nodes to which its client may be
//! sent flow out. The proxy chooses one of them; the controller says what would happen.

use crate::node_id::NodeId;
use crate::published::PublishedAlias;
use crate::table::MissPolicy;

/// A request that no pod of a node can answer.
#[derive(Clone, Copy, Debug)]
pub struct Miss<'m> {
    /// What the route wants.
    pub policy: MissPolicy,
    /// Whether any Service of the route may be asked at all.
    pub has_weight: bool,
    /// Whether the client came by the alias of a node: it was redirected once already.
    pub by_alias: bool,
    /// The nodes that DNS names for the host.
    pub published: &'m [PublishedAlias],
    /// The node.
    pub own: NodeId,
}

impl<'m> Miss<'m> {
    /// Where the client may be sent; any of several is as good as the others. Empty means that it is refused. `covered`
    /// says whether a client that follows would trust the certificate it sees there.
    pub fn elsewhere(&self, covered: impl Fn(&str) -> bool) -> Vec<&'m PublishedAlias> {
        if self.policy == MissPolicy::Reject || self.by_alias || !self.has_weight {
            return Vec::new();
        }
        let elsewhere = |alias: &&PublishedAlias| alias.node != self.own && covered(alias.alias.as_str());
        self.published.iter().filter(elsewhere).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Hostname;

    fn alias(node: &str) -> PublishedAlias {
        let node = NodeId::of(node);
        let host = Hostname::parse("video.example.com").unwrap();
        PublishedAlias { node, alias: node.alias(&host).unwrap(), addresses: [].into(), is_observed: true }
    }

    #[test]
    fn a_client_is_sent_to_another_node_once_and_only_where_it_will_trust_it() {
        let published = [alias("n1"), alias("n2"), alias("n3")];
        let miss = Miss {
            policy: MissPolicy::Redirect,
            has_weight: true,
            by_alias: false,
            published: &published,
            own: NodeId::of("n1"),
        };
        let count = |miss: &Miss<'_>, covered: bool| miss.elsewhere(|_| covered).len();
        assert_eq!(miss.elsewhere(|_| true), [&published[1], &published[2]]);
        assert_eq!(miss.elsewhere(|alias| alias == published[2].alias.as_str()), [&published[2]]);
        assert_eq!(count(&miss, false), 0, "the certificate does not cover the aliases");
        assert_eq!(count(&Miss { by_alias: true, ..miss }, true), 0, "one hop only");
        assert_eq!(count(&Miss { policy: MissPolicy::Reject, ..miss }, true), 0);
        assert_eq!(count(&Miss { published: &published[..1], ..miss }, true), 0, "nobody else has it");
        assert_eq!(count(&Miss { has_weight: false, ..miss }, true), 0, "nobody may answer it");
    }
}
