//! What a node would do with the request: the question, a snapshot and the node flow in, an [`Answer`] flows out. Each step
//! asks what the proxy asks, in its order: the route table, the rule, its endpoints on the node, the miss policy.

use super::explanation::{Answer, PodShare};
use super::question::Question;
use nearside_routing::certificate::CertificateNames;
use nearside_routing::endpoints::{Endpoint, EndpointTable};
use nearside_routing::miss::{Hop, Miss, Refusal, Step};
use nearside_routing::policy::authentication::Satisfy;
use nearside_routing::policy::canary::Side;
use nearside_routing::policy::client_certificate::Demand;
use nearside_routing::policy::{Instead, RequestUrl};
use nearside_routing::published::PublishedAlias;
use nearside_routing::table::{CompiledRoute, Refused};
use nearside_routing::{Decision, NodeId, NormalPath, RouteTable, Scheme, Snapshot};

/// What the nodes know.
pub(crate) struct Known<'k> {
    pub(crate) question: &'k Question,
    pub(crate) snapshot: &'k Snapshot,
    /// The nodes that DNS names for the host, or will name.
    pub(crate) published: &'k [PublishedAlias],
    /// The names of the default certificate; `None` where it is not known.
    pub(crate) default: Option<&'k CertificateNames>,
}

/// What is decided before a node's own endpoints count.
#[derive(Debug)]
pub(crate) enum Decided<'r> {
    /// The same answer on every node.
    Everywhere(Answer),
    /// A pod of the node, if it has one.
    Pods {
        route: &'r CompiledRoute,
        /// Whether the client came by the alias of a node.
        by_alias: bool,
    },
    /// The bytes go to a pod of the node, if it has one.
    Passthrough(&'r CompiledRoute),
}

impl<'k> Known<'k> {
    /// Decides as far as that is the same everywhere.
    pub(crate) fn decide(&self) -> Decided<'k> {
        let (url, routes) = (&self.question.url, &*self.snapshot.routes);
        if url.scheme == Scheme::Https
            && let Some(route) = routes.passthrough(&url.host)
        {
            return self.decide_passthrough(route);
        }
        let Ok(path) = NormalPath::parse(&url.path) else {
            return everywhere(Some(400), "the path is refused: no rule may be asked about it");
        };
        let found = routes.find(url.scheme, &url.host, &path);
        let by_alias = found.alias.is_some();
        if url.scheme == Scheme::Https
            && let Some(answer) = self.client_certificate(routes, &found.decision)
        {
            return Decided::Everywhere(answer);
        }
        match found.decision {
            Decision::NoRoute => everywhere(
                Some(404),
                "no rule answers for this host and path (503 where proxies run with --no-route-status 503)",
            ),
            Decision::RedirectToHttps(route) => {
                Decided::Everywhere(self.stated(route, Scheme::Https).unwrap_or_else(|| {
                    let location = format!("https://{}{}", url.host, url.path_and_query());
                    redirect(route.https_redirect_status(), "redirected to https", location)
                }))
            }
            Decision::Serve(route) if routes.is_ambiguous(url.scheme, &url.host, &url.path, route) => everywhere(
                Some(400),
                "the path is refused: a pod could read it as one that another rule speaks of, or none",
            ),
            Decision::Serve(route) => {
                self.without_pod(route, &path).map_or(Decided::Pods { route, by_alias }, Decided::Everywhere)
            }
        }
    }

    fn decide_passthrough(&self, route: &'k CompiledRoute) -> Decided<'k> {
        if self.question.client.is_some_and(|client| !route.policy.access.admits(client)) {
            return everywhere(None, "the connection is closed: the client's address is not let in");
        }
        if route.policy.authentication.is_demanded() || route.closed {
            return everywhere(None, "the connection is closed: what the object asks of clients cannot be seen in it");
        }
        Decided::Passthrough(route)
    }

    /// The refusal of a client that does not show the certificate that it must.
    fn client_certificate(&self, routes: &RouteTable, decision: &Decision<'_>) -> Option<Answer> {
        let route = match decision {
            Decision::Serve(route) | Decision::RedirectToHttps(route) => Some(&***route),
            Decision::NoRoute => None,
        };
        for clients in routes.guards(&self.question.url.host, route) {
            if clients.authority.is_none() {
                return Some(answer(Some(503), "nobody is let in: the CAs of client certificates cannot be used"));
            }
            if clients.guard.demand == Demand::Required && !self.question.authenticated {
                return Some(match &clients.guard.error_page {
                    Some(page) => {
                        let text = "no client certificate is shown, and one is required; sent to the error page";
                        Answer { location: Some(page.to_string()), ..answer(Some(302), text) }
                    }
                    None => {
                        answer(Some(400), "no client certificate is shown, and one is required (see --authenticated)")
                    }
                });
            }
        }
        None
    }

    /// The answer of a rule that asks no pod.
    fn without_pod(&self, route: &CompiledRoute, path: &NormalPath<'_>) -> Option<Answer> {
        let (url, policy) = (&self.question.url, &route.policy);
        match route.refuses(url.scheme) {
            Some(Refused::Closed) => {
                return Some(answer(
                    Some(503),
                    "what the object asks of clients or pods cannot be kept; see its problems",
                ));
            }
            Some(Refused::NeedsTls) => {
                return Some(answer(Some(403), "a client certificate is required, which plain HTTP cannot carry"));
            }
            None => {}
        }
        let authentication = &policy.authentication;
        let either = authentication.is_demanded() && authentication.satisfy == Satisfy::Any;
        if self.question.client.is_some_and(|client| !policy.access.admits(client)) && !either {
            return Some(answer(Some(403), "the client's address is not let in"));
        }
        if let Some(stated) = self.stated(route, url.scheme) {
            return Some(stated);
        }
        if policy.cors.is_some() && self.is_preflight() {
            return Some(Answer {
                served: true,
                ..answer(Some(204), "the proxy answers the preflight of a browser (CORS)")
            });
        }
        if let Some(root) = policy.redirects.root(path) {
            return Some(redirect(302, "the application lives below its root", root.to_owned()));
        }
        self.unauthenticated(route, either)
    }

    fn unauthenticated(&self, route: &CompiledRoute, either: bool) -> Option<Answer> {
        let authentication = &route.policy.authentication;
        if authentication.refused {
            return Some(answer(Some(503), "the object asks for a guard that is not offered or not understood"));
        }
        let listed = self.question.client.is_some_and(|client| route.policy.access.lets_in(client));
        if !authentication.is_demanded() || self.question.authenticated || either && listed {
            return None;
        }
        let by_password = authentication.basic.is_some() && !(either && authentication.external.is_some());
        if by_password && route.credentials.is_none() {
            return Some(answer(Some(503), "the Secret with the passwords cannot be used"));
        }
        Some(match &authentication.external {
            Some(_) if !by_password => answer(
                Some(401),
                "a service decides about each request; a client that it does not know is refused (see --authenticated)",
            ),
            _ => answer(Some(401), "a name and a password are asked for (see --authenticated)"),
        })
    }

    fn is_preflight(&self) -> bool {
        let asked = |name| self.question.header(name).is_some();
        self.question.method == "OPTIONS" && asked("origin") && asked("access-control-request-method")
    }

    /// The redirect of every request that the object states.
    fn stated(&self, route: &CompiledRoute, scheme: Scheme) -> Option<Answer> {
        let url = &self.question.url;
        match route.policy.redirects.instead()? {
            Instead::Host(host) => {
                let location = format!("{}://{host}{}", scheme.as_str(), url.path_and_query());
                Some(redirect(308, "sent to the host that the object names", location))
            }
            Instead::Place(fixed) => {
                let path_and_query = url.path_and_query();
                let request = RequestUrl {
                    scheme,
                    host: &url.host,
                    port: url.port.as_deref(),
                    path_and_query: path_and_query.as_bytes(),
                };
                let location = String::from_utf8_lossy(&fixed.location.expand(&request)).into_owned();
                Some(redirect(fixed.status, "sent to the place that the object states", location))
            }
        }
    }

    /// What happens on one node.
    pub(crate) fn on_node(&self, decided: &Decided<'_>, node: &str) -> Answer {
        match decided {
            Decided::Everywhere(answer) => answer.clone(),
            Decided::Passthrough(route) => {
                let pods = local(&self.snapshot.endpoints, route, node, false);
                match pods.is_empty() {
                    true => answer(None, "the connection is closed: no ready pod here, and TLS ends at the pod"),
                    false => by_pods("passed through", pods),
                }
            }
            Decided::Pods { route, by_alias } => self.pods(route, *by_alias, node),
        }
    }

    fn pods(&self, route: &CompiledRoute, by_alias: bool, node: &str) -> Answer {
        let main = local(&self.snapshot.endpoints, route, node, false);
        // A canary without pods here leaves its requests to the main rule.
        let canary =
            route.canary.as_ref().map(|beside| (beside, local(&self.snapshot.endpoints, &beside.route, node, true)));
        if let Some((beside, pods)) = canary.filter(|(_, pods)| !pods.is_empty()) {
            let asked = beside.rules.asked(
                |name| self.question.header(name.as_str()).map(str::as_bytes),
                |name| self.question.cookie(name.as_str()).map(str::as_bytes),
            );
            let share = beside.rules.share;
            match asked {
                Some(Side::Canary) => return by_pods("the request is for the canary; answered", pods),
                None if share.weight >= share.total => return by_pods("the canary gets every request; answered", pods),
                None if share.weight > 0 => {
                    let text = format!("{} of {} requests go to the canary; answered", share.weight, share.total);
                    return by_pods(&text, main.into_iter().chain(pods).collect());
                }
                Some(Side::Main) | None => {}
            }
        }
        if !main.is_empty() {
            return by_pods("answered", main);
        }
        self.missed(route, by_alias, node)
    }

    fn missed(&self, route: &CompiledRoute, by_alias: bool, node: &str) -> Answer {
        let (url, routes) = (&self.question.url, &*self.snapshot.routes);
        let covered = |alias: &str| url.scheme == Scheme::Http || self.covers(routes, alias) != Some(false);
        let policy = route.policy.on_miss.unwrap_or(self.question.on_miss);
        let miss = Miss {
            policy,
            has_weight: route.has_weight(),
            hop: Hop::of(by_alias, false),
            follows: !self.question.is_grpc(),
            // Whether a proxy relays is its operator's word and a matter of the moment.
            relays: false,
            published: self.published,
            own: NodeId::of(node),
        };
        let relayed = match (Miss { relays: true, ..miss }).step(covered) {
            Step::Relay(others) => Some(others),
            Step::Redirect(_) | Step::Refuse(_) => None,
        };
        let elsewhere = match miss.step(covered) {
            Step::Redirect(elsewhere) | Step::Relay(elsewhere) => elsewhere,
            Step::Refuse(refusal) => {
                let why = refusal_text(refusal);
                return match relayed {
                    Some(_) => answer(Some(503), &format!("{why}; {RELAYED}")),
                    None => answer(Some(503), why),
                };
            }
        };
        let first = elsewhere[0];
        let port = url.port.as_ref().map(|port| format!(":{port}")).unwrap_or_default();
        let location = format!("{}://{}{port}{}", url.scheme.as_str(), first.alias, url.path_and_query());
        let others = match elsewhere.len() {
            1 => String::new(),
            count => format!(", or one of {} other nodes", count - 1),
        };
        let unknown = url.scheme == Scheme::Https && self.covers(routes, first.alias.as_str()).is_none();
        let condition = if unknown {
            "; if the default certificate of the proxies covers it (--default-cert), else 503"
        } else {
            ""
        };
        let relay = relayed.map(|_| format!("; {RELAYED}")).unwrap_or_default();
        redirect(307, &format!("no ready pod here; sent to a node that has one{others}{condition}{relay}"), location)
    }

    /// Whether the certificate that a client sees at this name is for it; `None` where that is not known.
    fn covers(&self, routes: &RouteTable, name: &str) -> Option<bool> {
        match routes.certificate(name) {
            Some(pair) => Some(pair.chain().first().map(CertificateNames::of).unwrap_or_default().cover(name)),
            None => self.default.map(|names| names.cover(name)),
        }
    }
}

fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoWeight => "every Service of the rule has weight 0",
        Refusal::Moved => "no ready pod here, and a client is redirected only once",
        Refusal::Nowhere => "no ready pod here, and none elsewhere",
        Refusal::Policy => "no ready pod here, and nothing is redirected (on-miss: reject)",
        Refusal::CannotFollow => "no ready pod here, and clients of gRPC follow no redirect",
        Refusal::NotCovered => "no ready pod here, and the certificate does not cover the per-node aliases of the host",
    }
}

/// The endpoints of a rule on a node that take requests.
fn local(endpoints: &EndpointTable, route: &CompiledRoute, node: &str, canary: bool) -> Vec<PodShare> {
    let weighted = route.backends.iter().filter(|backend| backend.weight > 0);
    let share = |service: String| {
        move |endpoint: &Endpoint| PodShare {
            pod: endpoint.pod.to_string(),
            address: endpoint.address.to_string(),
            service: service.clone(),
            canary,
        }
    };
    let of = |backend: &nearside_routing::table::WeightedBackend| {
        let serving = endpoints.get(&backend.service).map(|all| all.serving(&backend.port, node)).unwrap_or_default();
        serving.into_iter().map(share(backend.service.to_string())).collect::<Vec<_>>()
    };
    weighted.flat_map(of).collect()
}

fn by_pods(text: &str, pods: Vec<PodShare>) -> Answer {
    let name = |pod: &PodShare| if pod.pod.is_empty() { pod.address.clone() } else { pod.pod.clone() };
    let mut names: Vec<String> = pods.iter().map(name).collect();
    names.sort();
    names.dedup();
    let shown = if names.len() > SHOWN { format!("{} pods", names.len()) } else { names.join(", ") };
    Answer { served: true, status: None, text: format!("{text} by {shown}"), location: None, pods }
}

fn everywhere<'r>(status: Option<u16>, text: &str) -> Decided<'r> {
    Decided::Everywhere(answer(status, text))
}

fn answer(status: Option<u16>, text: &str) -> Answer {
    Answer { served: false, status, text: text.to_owned(), location: None, pods: Vec::new() }
}

fn redirect(status: u16, text: &str, location: String) -> Answer {
    Answer { served: true, location: Some(location), ..answer(Some(status), text) }
}

/// What is said where the object asks for it.
const RELAYED: &str =
    "where proxies may relay (--relay-key-file) and their limits allow it, another node is asked instead";
/// Pods that a line names one by one.
const SHOWN: usize = 8;
