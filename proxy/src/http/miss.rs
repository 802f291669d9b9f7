//! The miss policy: a request for a host without a ready pod on this node flows in, where the client is sent, or that it
//! is refused, flows out. Pure.

use crate::balance::Random;
use nearside_routing::published::PublishedAlias;
use nearside_routing::table::MissPolicy;
use nearside_routing::{Hostname, NodeId};

/// A request that no pod of this node can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Miss<'m> {
    /// What the route wants.
    pub(crate) policy: MissPolicy,
    /// Whether any Service of the route may be asked at all.
    pub(crate) has_weight: bool,
    /// Whether the client came by the alias of a node: it was redirected once already.
    pub(crate) by_alias: bool,
    /// The nodes that DNS names for the host.
    pub(crate) published: &'m [PublishedAlias],
    /// This node.
    pub(crate) own: NodeId,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided<'m> {
    /// 307 to this alias.
    Redirect(&'m Hostname),
    /// 503.
    Reject,
}

impl<'m> Miss<'m> {
    /// Decides. `covered` says whether a client that follows would trust the certificate it sees there. Any of several
    /// nodes is as good as the others.
    pub(crate) fn decide(&self, covered: impl Fn(&str) -> bool, random: &mut Random) -> Decided<'m> {
        if self.policy == MissPolicy::Reject || self.by_alias || !self.has_weight {
            return Decided::Reject;
        }
        let elsewhere = |alias: &&PublishedAlias| alias.node != self.own && covered(alias.alias.as_str());
        let aliases: Vec<&PublishedAlias> = self.published.iter().filter(elsewhere).collect();
        match aliases.len() {
            0 => Decided::Reject,
            count => Decided::Redirect(&aliases[random.below(count)].alias),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(node: &str) -> PublishedAlias {
        let node = NodeId::of(node);
        let host = Hostname::parse("video.example.com").unwrap();
        PublishedAlias { node, alias: node.alias(&host).unwrap() }
    }

    #[test]
    fn a_client_is_sent_to_another_node_once_and_only_where_it_will_trust_it() {
        let published = [alias("n1"), alias("n2")];
        let miss = Miss {
            policy: MissPolicy::Redirect,
            has_weight: true,
            by_alias: false,
            published: &published,
            own: NodeId::of("n1"),
        };
        let decide = |miss: &Miss<'_>, covered: bool| {
            let mut random = Random::seeded(7);
            format!("{:?}", miss.decide(|_| covered, &mut random))
        };
        let redirect = format!("{:?}", Decided::Redirect(&published[1].alias));
        assert_eq!(decide(&miss, true), redirect);
        assert_eq!(decide(&miss, false), "Reject", "the certificate does not cover the alias");
        assert_eq!(decide(&Miss { by_alias: true, ..miss }, true), "Reject", "one hop only");
        assert_eq!(decide(&Miss { policy: MissPolicy::Reject, ..miss }, true), "Reject");
        assert_eq!(decide(&Miss { published: &published[..1], ..miss }, true), "Reject", "nobody else has it");
        assert_eq!(decide(&Miss { has_weight: false, ..miss }, true), "Reject", "nobody may answer it");
    }

    #[test]
    fn several_nodes_share_the_misses() {
        let published = [alias("n1"), alias("n2"), alias("n3")];
        let miss = Miss {
            policy: MissPolicy::Redirect,
            has_weight: true,
            by_alias: false,
            published: &published,
            own: NodeId::of("n1"),
        };
        let mut random = Random::seeded(1);
        let second = (0..1000).filter(|_| miss.decide(|_| true, &mut random) == Decided::Redirect(&published[1].alias));
        assert!((400..600).contains(&second.count()));
    }
}
