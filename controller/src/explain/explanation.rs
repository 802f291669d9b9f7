//! The answer of `explain`, as JSON and YAML show it; its parts are made in the files beside this one.

use serde::Serialize;

/// Everything that is said about one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// The request.
    pub(crate) request: Request,
    /// What a client gets that asks where DNS sends it.
    pub(crate) verdict: Verdict,
    /// Whose the host is.
    pub(crate) host: Host,
    /// The rules of the host in the order in which they are tried, and what came of each.
    pub(crate) rules: Vec<Rule>,
    /// Objects that speak of the host and are not served, or not as written.
    pub(crate) problems: Vec<ObjectProblem>,
    /// What a client sees of TLS.
    pub(crate) tls: Tls,
    /// Settings of the object that change the answer.
    pub(crate) policies: Vec<String>,
    /// Who answers.
    pub(crate) services: Vec<Service>,
    /// Where the host is placed; `None` for a host that no rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) placement: Option<Placement>,
    /// What DNS says of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns: Option<Dns>,
    /// What each node would do.
    pub(crate) nodes: Vec<NodeAnswer>,
    /// Why this may be incomplete.
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) path: String,
    /// As rules see it; `None` where the path is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) normal_path: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// Whether a pod or a redirect answers.
    pub(crate) served: bool,
    /// One line.
    pub(crate) text: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    /// The pattern whose rule answers, or that was looked into last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    /// Where the host is a per-node alias: the host that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alias_of: Option<String>,
    /// And the node that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alias_node: Option<String>,
    /// The kind that owns the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    /// The namespace with the oldest claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// The patterns that were looked into, in order.
    pub(crate) considered: Vec<String>,
    /// Whether somebody claims the host though nothing is served for it.
    pub(crate) claimed_but_not_served: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    /// The Route or Ingress.
    pub(crate) object: String,
    pub(crate) pattern: String,
    pub(crate) path: String,
    pub(crate) termination: &'static str,
    /// Since when it claims the host, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    pub(crate) answers: bool,
    /// Why it does, or why not.
    pub(crate) why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectProblem {
    pub(crate) object: String,
    /// Whether nothing of the object is served.
    pub(crate) rejected: bool,
    pub(crate) reason: String,
    pub(crate) field: String,
    pub(crate) message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tls {
    /// Where TLS ends: `none`, `edge`, `reencrypt`, `passthrough`.
    pub(crate) termination: &'static str,
    /// What plain HTTP gets.
    pub(crate) plain_http: String,
    /// `None` with passthrough, where the pod has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Certificate>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    /// Where it stands.
    pub(crate) source: String,
    /// Its DNS names; `None` where they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) names: Option<Vec<String>>,
    /// The first and the last second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<String>,
    /// Whether it is for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) covers_host: Option<bool>,
    /// Whether clients can be redirected to per-node aliases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) covers_aliases: Option<bool>,
    /// What is wrong with it.
    pub(crate) complaints: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    pub(crate) service: String,
    pub(crate) port: String,
    pub(crate) weight: u16,
    /// Of the canary beside the rule.
    pub(crate) canary: bool,
    /// Whether the Service is there.
    pub(crate) exists: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Addresses that are not dialled, with the reason.
    pub(crate) refused: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) node: String,
    pub(crate) pod: String,
    pub(crate) address: String,
    /// `ready`, or `ending`: it is used only where nothing is ready.
    pub(crate) state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placement {
    pub(crate) basis: &'static str,
    pub(crate) nodes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dns {
    /// The DNSEndpoint of the host.
    pub(crate) object: String,
    pub(crate) exists: bool,
    /// The generation of its records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<String>,
    /// Whether a publisher, such as a name server, has taken these records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observed: Option<bool>,
    /// Why a publisher does not have them found in DNS, in its words: condition, reason, message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
    /// What it says now, such as `video.example.com A 198.18.0.1`.
    pub(crate) records: Vec<String>,
    /// What it should say; empty where that is the same, or where the present records are kept.
    pub(crate) wanted: Vec<String>,
    /// Why present records are kept although the objects give none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<&'static str>,
    /// What this machine's resolver says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resolved: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeAnswer {
    pub(crate) node: String,
    pub(crate) id: String,
    /// Whether clients may be sent there.
    pub(crate) eligible: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<String>,
    /// Whether clients are sent there: the host is placed there, or its records name the node still.
    pub(crate) published: bool,
    /// Why the records name the node although the host is not placed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    /// Whether it is what the client came for: a pod's answer, or the way to one.
    pub(crate) served: bool,
    /// `None` where a pod says it, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// One line.
    pub(crate) text: String,
    /// Where a redirect leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// The pods that may be asked, with their share in percent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pods: Vec<PodShare>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodShare {
    /// The pod's name, or the address of an endpoint that is none.
    pub(crate) pod: String,
    pub(crate) address: String,
    pub(crate) service: String,
    pub(crate) canary: bool,
}
