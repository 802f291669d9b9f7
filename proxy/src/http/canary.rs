//! Whether a request is for the canary of its rule: what the canary says, the request and the turns so far flow in, a side
//! flows out. Pure; `selection` asks before it chooses a pod.

use super::cookies;
use crate::balance::{Candidate, Rotation};
use http::HeaderMap;
use nearside_routing::policy::canary::{CanaryRules, CanaryShare, Side};

/// Chooses. `kept` says where a client's pod is that it is to keep, if it has one.
pub(super) fn side(
    rules: &CanaryRules,
    headers: &HeaderMap,
    turns: &Rotation,
    kept: impl FnOnce() -> Option<Side>,
) -> Side {
    if let Some(side) = Some(kept).filter(|_| rules.sticky).and_then(|kept| kept()) {
        return side;
    }
    let asked = rules.asked(
        |name| headers.get(name).map(|value| value.as_bytes()),
        |name| cookies::values(headers, name.as_str()).next(),
    );
    asked.unwrap_or_else(|| turn(rules.share, turns))
}

/// Exact: of every `total` requests in a row the canary gets `weight`, spread over them.
fn turn(share: CanaryShare, turns: &Rotation) -> Side {
    if share.weight == 0 {
        return Side::Main;
    }
    let sides = [(Side::Main, share.total - share.weight.min(share.total)), (Side::Canary, share.weight)];
    let candidate = |(place, (_, weight)): (usize, &(Side, u32))| Candidate {
        endpoint: place as u64,
        service: place,
        weight: i64::from(*weight),
        in_flight: 0,
        hash: 0,
    };
    let candidates: Vec<Candidate> = sides.iter().enumerate().map(candidate).collect();
    turns.next(candidates.iter().enumerate()).map_or(Side::Main, |place| sides[place].0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::COOKIE;
    use nearside_routing::policy::affinity::CookieName;
    use nearside_routing::policy::canary::{CanaryHeader, HeaderValues};
    use proptest::prelude::*;

    fn rules(weight: u32, total: u32, sticky: bool) -> CanaryRules {
        let header = CanaryHeader { name: "x-canary".parse().unwrap(), values: HeaderValues::Words };
        CanaryRules {
            header: Some(header),
            cookie: CookieName::parse("canary").ok(),
            share: CanaryShare { weight, total },
            sticky,
        }
    }

    fn headers(header: Option<&'static str>, cookie: Option<&'static str>) -> HeaderMap {
        let header = header.map(|value| ("x-canary".parse().unwrap(), value.parse().unwrap()));
        header.into_iter().chain(cookie.map(|value| (COOKIE, value.parse().unwrap()))).collect()
    }

    #[test]
    fn who_keeps_a_pod_stays_there_unless_the_canary_says_otherwise_and_then_header_cookie_and_share_decide() {
        let (main, canary) = (Side::Main, Side::Canary);
        for (sticky, kept, header, cookie, weight, expected) in [
            (true, Some(main), Some("always"), Some("canary=always"), 100, main),
            (true, Some(canary), Some("never"), None, 0, canary),
            (false, Some(main), Some("always"), None, 0, canary),
            (false, Some(canary), Some("never"), None, 100, main),
            (true, None, Some("never"), Some("canary=always"), 100, main),
            (true, None, Some("other"), Some("a=b; canary=always"), 0, canary),
            (true, None, None, Some("canary=never"), 100, main),
            (true, None, None, Some("canary=yes"), 100, canary),
            (true, None, None, None, 0, main),
        ] {
            let found = side(&rules(weight, 100, sticky), &headers(header, cookie), &Rotation::default(), || kept);
            assert_eq!(found, expected, "{sticky} {kept:?} {header:?} {cookie:?} {weight}");
        }
    }

    proptest! {
        #[test]
        fn the_canary_gets_exactly_its_share_of_what_says_nothing(
            weight in 0_u32..60, total in 1_u32..60, rounds in 1_u32..4, others in proptest::collection::vec(any::<bool>(), 0..40),
        ) {
            let (turns, rules) = (Rotation::default(), rules(weight.min(total), total, true));
            let ask = |header| side(&rules, &headers(header, None), &turns, || None);
            let mut chosen = 0;
            for request in 0..rounds * total {
                if let Some(always) = others.get(request as usize) {
                    let (word, expected) = if *always { ("always", Side::Canary) } else { ("never", Side::Main) };
                    prop_assert_eq!(ask(Some(word)), expected);
                }
                chosen += u32::from(ask(None) == Side::Canary);
            }
            prop_assert_eq!(chosen, rounds * weight.min(total));
        }
    }
}
