//! The answer for people: an [`Explanation`] flows in, lines of text flow out.

use super::NO_ROUTER;
use super::explanation::{Certificate, Explanation, NodeAnswer, Rule, Service};
use std::fmt::Write;

/// The whole text.
pub(super) fn text(explanation: &Explanation) -> String {
    let Explanation {
        request,
        verdict,
        host,
        rules,
        problems,
        tls,
        policies,
        services,
        placement,
        dns,
        nodes,
        warnings,
    } = explanation;
    let mut out = Text(String::new());
    out.plain(&format!("{} {}://{}{}", request.method, request.scheme, request.host, request.path));
    out.plain(&format!("{}: {}", if verdict.served { "served" } else { "NOT SERVED" }, verdict.text));
    for warning in warnings {
        out.plain(&format!("warning: {warning}"));
    }
    out.section("Host");
    match (&host.pattern, host.kind, &host.namespace) {
        (Some(pattern), Some(kind), Some(namespace)) => {
            out.line(&format!("{pattern}, held by a {kind} of namespace {namespace}"));
        }
        _ => out.line("no rule names it"),
    }
    if let (Some(original), Some(node)) = (&host.alias_of, &host.alias_node) {
        out.line(&format!("it is the per-node alias of {original} on {node}"));
    }
    if host.claimed_but_not_served {
        out.line("somebody claims it, and nothing can be served for it; see below");
    }
    out.section("Rules");
    for rule in rules {
        out.line(&self::rule(rule));
    }
    if rules.is_empty() {
        out.line(&format!("none for {}", host.considered.join(", ")));
    }
    if !problems.is_empty() {
        out.section("Problems of objects that name the host");
        for problem in problems {
            let mark = if problem.rejected { "not served: " } else { "" };
            out.line(&format!("{}: {mark}{}: {} [{}]", problem.object, problem.field, problem.message, problem.reason));
        }
    }
    if rules.iter().any(|rule| rule.answers) {
        out.section("TLS");
        out.line(&format!("termination {}; plain HTTP is {}", tls.termination, tls.plain_http));
        if let Some(certificate) = &tls.certificate {
            self::certificate(&mut out, certificate);
        }
    }
    if !policies.is_empty() {
        out.section("Policies");
        policies.iter().for_each(|policy| out.line(policy));
    }
    if !services.is_empty() {
        out.section("Services");
        services.iter().for_each(|one| service(&mut out, one));
    }
    if let Some(placement) = placement {
        out.section("Placement");
        out.line(&format!("{}: {}", placement.basis, some(&placement.nodes)));
    }
    if let Some(dns) = dns {
        out.section("DNS");
        let generation = dns.generation.as_ref().map(|generation| format!(", generation {generation}"));
        let state = if dns.exists { generation.unwrap_or_default() } else { ": not there".into() };
        out.line(&format!("{}{state}", dns.object));
        match dns.observed {
            Some(true) => out.line("taken by a publisher"),
            Some(false) => out.line("no publisher has said that it has taken these records"),
            None => {}
        }
        if let Some(trouble) = &dns.trouble {
            out.line(&format!("not found in DNS, a publisher says: {trouble}"));
        }
        dns.records.iter().for_each(|record| out.line(record));
        dns.wanted.iter().for_each(|record| out.line(&format!("to be written: {record}")));
        if let Some(held) = dns.held {
            out.line(&format!("the present records are kept: {held}"));
        }
        if let Some(resolved) = &dns.resolved {
            out.line(&format!("this machine's resolver says {}", some(resolved)));
        }
    }
    out.section("Nodes");
    for (answer, names) in grouped(nodes) {
        out.line(&format!("{}: {answer}", some(&names)));
    }
    if nodes.is_empty() {
        out.line("there is none");
    }
    out.0
}

fn rule(rule: &Rule) -> String {
    let mark = if rule.answers { "* " } else { "  " };
    let since = rule.since.as_ref().map(|since| format!(" (since {since})")).unwrap_or_default();
    format!("{mark}{} {}{}{since}: {}", rule.object, rule.pattern, rule.path, rule.why)
}

fn certificate(out: &mut Text, certificate: &Certificate) {
    out.line(&format!("certificate: {}", certificate.source));
    match &certificate.names {
        Some(names) => out.line(&format!("names: {}", some(names))),
        None => out.line("its names are not known here (--default-cert)"),
    }
    if let (Some(from), Some(until)) = (&certificate.not_before, &certificate.not_after) {
        out.line(&format!("valid from {from} until {until}"));
    }
    certificate.complaints.iter().for_each(|complaint| out.line(complaint));
    if certificate.covers_aliases == Some(false) {
        out.line("it does not cover per-node aliases: clients over TLS cannot be redirected to another node");
    }
}

fn service(out: &mut Text, service: &Service) {
    let canary = if service.canary { ", canary" } else { "" };
    let absent = if service.exists { "" } else { ": there is no such Service" };
    out.line(&format!("{} {}, weight {}{canary}{absent}", service.service, service.port, service.weight));
    for endpoint in service.endpoints.iter().take(SHOWN) {
        let node = if endpoint.node.is_empty() { "(no node)" } else { &endpoint.node };
        out.line(&format!("  {} on {node} at {}: {}", endpoint.pod, endpoint.address, endpoint.state));
    }
    if let Some(more) = service.endpoints.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out.line(&format!("  and {more} more (-o json shows all)"));
    }
    service.refused.iter().take(SHOWN).for_each(|refused| out.line(&format!("  not dialled: {refused}")));
    if service.endpoints.is_empty() {
        out.line("  no pod that is ready or ends");
    }
}

/// Nodes that do the same stand together, in the order in which they come.
fn grouped(nodes: &[NodeAnswer]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for node in nodes {
        if node.why_not.as_deref() == Some(NO_ROUTER) {
            put(&mut groups, NO_ROUTER.to_owned(), &node.node);
            continue;
        }
        let status = node.answer.status.map(|status| format!("{status} ")).unwrap_or_default();
        let location = node.answer.location.as_ref().map(|location| format!(" → {location}")).unwrap_or_default();
        let published = if node.published { "[published] " } else { "" };
        let why_not = node.why_not.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let kept = node.kept.map(|why| format!(" ({why})")).unwrap_or_default();
        let text = format!("{published}{status}{}{location}{why_not}{kept}", node.answer.text);
        put(&mut groups, text, &node.node);
    }
    groups
}

fn put(groups: &mut Vec<(String, Vec<String>)>, text: String, name: &str) {
    match groups.iter_mut().find(|(known, _)| *known == text) {
        Some((_, names)) => names.push(name.to_owned()),
        None => groups.push((text, vec![name.to_owned()])),
    }
}

/// Names, and how many more there are.
fn some(names: &[String]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

struct Text(String);

impl Text {
    fn section(&mut self, title: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "\n{title}");
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "  {}", line.replace('\n', " "));
    }

    fn plain(&mut self, line: &str) {
        let _ = writeln!(self.0, "{}", line.replace('\n', " "));
    }
}

/// Of a list, in text.
const SHOWN: usize = 12;
