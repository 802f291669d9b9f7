//! `nearside-controller check -f FILES`: manifests flow in, everything that would go wrong with them flows out, before they
//! are applied: what an API server refuses, what is not served and why, what is named and not there. Read only; the verdicts
//! are those of the running controller. With a cluster, its objects count besides.

mod api;
mod arguments;
mod files;
mod finding;
mod lines;
mod manifest;
mod schema;
mod serving;

pub(crate) use arguments::{CheckArguments, CheckOptions};

use crate::clock;
use crate::output::{complain, render, say};
use crate::placement::{index_config, selections};
use finding::{Finding, Remark, Severity};
use manifest::{Checked, manifests};
use nearside_admin::printable;
use nearside_routing::admission::AdmissionRules;
use nearside_routing::claim::{ingress_claims, route_claims};
use nearside_routing::object::ObjectMeta;
use nearside_routing::{Change, EndpointSource, Index, IndexConfig, Instance, Kind, Object, ObjectKey};
use nearside_watch::{Source, read_once};
use serde::Serialize;
use serde_json::json;
use serving::Known;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    objects: usize,
    errors: usize,
    warnings: usize,
}

/// Checks, and gives the exit code: 0 for no error, 1 for one.
pub(crate) async fn run(options: CheckOptions) -> ExitCode {
    let texts = match files::read(&options.files, options.recursive) {
        Ok(texts) => texts,
        Err(error) => {
            complain(COMMAND, format!("--filename: {error}"));
            return ExitCode::from(UNUSABLE_FLAGS);
        }
    };
    let source = if options.cluster {
        match Source::from_options(&[]).await {
            Ok(source) => source,
            Err(error) => return complain(COMMAND, error),
        }
    } else {
        Source::Manifests(Vec::new())
    };
    let mut config = index_config(&source, &options.reading);
    // What a namespace is labelled with, files need not say.
    config.admission.selected_namespaces &= options.cluster;
    let mut objects = BTreeMap::new();
    if options.cluster {
        let selections = selections(&source, &options.reading, &Instance::of(&options.reading.router_name));
        match read_once(source, selections, config.clone(), options.patience).await {
            Ok(reading) => {
                for (kind, why) in &reading.incomplete {
                    complain(COMMAND, format!("{} may be incomplete: {why}", kind.plural()));
                }
                objects = reading.objects;
            }
            Err(error) => return complain(COMMAND, error),
        }
    }
    let mut findings = Vec::new();
    let mut checked = manifests(&texts, &mut findings);
    findings.extend(judge(&mut checked, objects, config, options.cluster, clock::timestamp().as_second()));
    if options.strict {
        findings
            .iter_mut()
            .filter(|one| one.severity == Severity::Warning)
            .for_each(|one| one.severity = Severity::Error);
    }
    findings.sort();
    findings.dedup();
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let report = Report { objects: checked.len(), errors, warnings, findings };
    say(&printable(&render(&report, options.format, text)));
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What would come of the objects of files, beside those that are there already.
fn judge(
    checked: &mut [Checked],
    mut objects: BTreeMap<ObjectKey, Object>,
    config: IndexConfig,
    cluster: bool,
    now: i64,
) -> Vec<Finding> {
    let rules = config.admission.clone();
    for one in checked.iter_mut() {
        // Who was there before keeps its place in the order of claims.
        if let (Some(known), Some(metadata)) = (objects.get(&one.key), metadata_of(&mut one.object)) {
            let mut known = known.clone();
            if let Some(known) = metadata_of(&mut known) {
                metadata.creation_timestamp.clone_from(&known.creation_timestamp);
                metadata.uid.clone_from(&known.uid);
            }
        }
        objects.insert(one.key.clone(), one.object.clone());
    }
    if !cluster && !objects.keys().any(|key| key.kind == Kind::IngressClass) {
        let class = our_class(&rules);
        objects.insert(class.key(), class);
    }
    // Where endpoints come from does not matter for verdicts.
    let mut index = Index::new(IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..config });
    for object in objects.values() {
        index.apply(Change::Apply(object.clone()));
    }
    let snapshot = index.publish();
    let known = Known { objects: &objects, cluster, now };
    let mut findings = Vec::new();
    for one in checked.iter() {
        let claims = match &one.object {
            Object::Route(route) => route_claims(route, &rules),
            Object::Ingress(ingress) => ingress_claims(ingress, &rules.hosts),
            _ => continue,
        };
        let remarks = match snapshot.verdicts.get(&one.key) {
            Some(verdict) => known.remarks(&claims, verdict),
            None => vec![Remark::new(
                Severity::Info,
                if one.key.kind == Kind::Ingress { "spec.ingressClassName" } else { "metadata" },
                "NotOurs",
                "is not of our class, or its labels, fields or namespace are not selected: another router serves it, or none",
            )],
        };
        // What the API server refuses was told; that it is not served either says nothing new.
        let told = |remark: &Remark| one.refused.iter().any(|field| remark.field.starts_with(field.as_str()));
        findings.extend(remarks.into_iter().filter(|remark| !told(remark)).map(|remark| one.finding(remark)));
    }
    findings
}

/// The class that a cluster with Nearside has.
fn our_class(rules: &AdmissionRules) -> Object {
    let class = json!({
        "metadata": {"name": rules.classes.name}, "spec": {"controller": nearside_routing::index::CONTROLLER},
    });
    Object::decode(Kind::IngressClass, class).expect("it has every field of its kind")
}

fn metadata_of(object: &mut Object) -> Option<&mut ObjectMeta> {
    match object {
        Object::Route(route) => Some(&mut route.metadata),
        Object::Ingress(ingress) => Some(&mut ingress.metadata),
        Object::IngressClass(class) => Some(&mut class.metadata),
        _ => None,
    }
}

fn text(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    text.push_str(&format!(
        "{} checked: {}, {}\n",
        counted(report.objects, "object"),
        counted(report.errors, "error"),
        counted(report.warnings, "warning")
    ));
    text
}

const COMMAND: &str = "nearside-controller check";
const UNUSABLE_FLAGS: u8 = 2;
