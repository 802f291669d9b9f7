//! How a request went that failed, for whoever reads the report: its record and the logs of the routers flow in, lines of text flow out.
//! Called by `report`.

use crate::client::Record;
use std::fs;
use std::path::Path;

/// What was asked of whom and what came back, step by step.
pub(super) fn course(record: &Record) -> Vec<String> {
    let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "nobody".to_owned());
    let asked = |url: &str, node: &Option<String>, what: &str| format!("{url} at {}: {what}", name(node));
    let mut lines: Vec<String> = Vec::new();
    for hop in &record.hops {
        lines.push(asked(&hop.url, &hop.node, &hop.status.to_string()));
    }
    for retry in &record.retries {
        lines.push(format!("node {} was passed over: {}", retry.node, retry.reason));
    }
    let last = record.hops.last().map_or(&record.url, |hop| &hop.location);
    let answer = match (&record.failure, record.status) {
        (Some(failure), _) => failure.clone(),
        (None, Some(status)) => format!("{status}, the pod is on {}", name(&record.answered)),
        (None, None) => "no answer".to_owned(),
    };
    lines.push(asked(last, &record.contacted, &answer));
    let fields = SHOWN_FIELDS.iter().filter_map(|field| {
        let value = record.headers.get(*field)?.to_str().ok()?;
        Some(format!("{field}: {value}"))
    });
    lines.extend(fields);
    let body = String::from_utf8_lossy(&record.body);
    let body: Vec<&str> = body.split_whitespace().collect();
    if !body.is_empty() {
        lines.push(format!("body: {}", body.join(" ").chars().take(MOST_BODY).collect::<String>()));
    }
    lines
}

/// The lines of all logs in a directory that speak of a request, by the query of its URL.
pub(super) fn log_lines(directory: &Path, url: &str) -> Vec<String> {
    let Some((_, mark)) = url.split_once('?') else { return Vec::new() };
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    let mut lines = Vec::new();
    for log in logs {
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let program = log.file_stem().unwrap_or_default().to_string_lossy();
        let about = text.lines().filter(|line| line.contains(mark));
        lines.extend(about.take(MOST_LINES).map(|line| format!("{program}: {line}")));
    }
    lines
}

/// Fields that tell who refused, and what it would have had the client do.
const SHOWN_FIELDS: [&str; 4] = ["server", "location", "retry-after", "alt-svc"];
const MOST_BODY: usize = 300;
/// Of one request in one log.
const MOST_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Hop;

    #[test]
    fn a_failure_tells_each_node_that_was_asked_and_what_it_said() {
        let node = |name: &str| Some(name.to_owned());
        let hop = Hop {
            url: "http://web.example.com/?request=01-000001".into(),
            node: node("n1"),
            status: 307,
            location: "http://web--k3x7a.example.com/?request=01-000001".into(),
        };
        let mut record = Record {
            url: hop.url.clone(),
            status: Some(503),
            contacted: node("n2"),
            hops: vec![hop],
            body: "<h1>503 Service Unavailable</h1>\n".into(),
            ..Record::default()
        };
        record.headers.insert("retry-after", "2".parse().unwrap());
        assert_eq!(
            course(&record),
            [
                "http://web.example.com/?request=01-000001 at n1: 307",
                "http://web--k3x7a.example.com/?request=01-000001 at n2: 503, the pod is on nobody",
                "retry-after: 2",
                "body: <h1>503 Service Unavailable</h1>",
            ]
        );
    }

    #[test]
    fn the_logs_say_what_the_routers_made_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("proxy-n1-1.log", "a \"GET web/?request=01-000001\" 307 reason=miss_redirect\nb request=01-000002\n");
        write("proxy-n2-1.log", "c \"GET web/?request=01-000001\" 503 reason=no_endpoint\n");
        write("notes.txt", "request=01-000001\n");
        assert_eq!(
            log_lines(directory.path(), "http://web/?request=01-000001"),
            [
                "proxy-n1-1: a \"GET web/?request=01-000001\" 307 reason=miss_redirect",
                "proxy-n2-1: c \"GET web/?request=01-000001\" 503 reason=no_endpoint",
            ]
        );
    }
}
