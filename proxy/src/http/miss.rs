//! Where a client is sent whose request no pod of this node can answer: the nodes that `nearside_routing::miss` leaves flow
//! in, one of them flows out. Pure.

use crate::balance::Random;
use nearside_routing::Hostname;
use nearside_routing::miss::Miss;

/// One of the nodes where the client may go; `None` means that it is refused.
pub(crate) fn choose<'m>(miss: &Miss<'m>, covered: impl Fn(&str) -> bool, random: &mut Random) -> Option<&'m Hostname> {
    let aliases = miss.elsewhere(covered);
    (!aliases.is_empty()).then(|| &aliases[random.below(aliases.len())].alias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::NodeId;
    use nearside_routing::published::PublishedAlias;
    use nearside_routing::table::MissPolicy;

    fn alias(node: &str) -> PublishedAlias {
        let node = NodeId::of(node);
        let host = Hostname::parse("video.example.com").unwrap();
        PublishedAlias { node, alias: node.alias(&host).unwrap(), addresses: [].into(), is_observed: true }
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
        let second = (0..1000).filter(|_| choose(&miss, |_| true, &mut random) == Some(&published[1].alias));
        assert!((400..600).contains(&second.count()));
        assert_eq!(choose(&miss, |_| false, &mut random), None);
    }
}
