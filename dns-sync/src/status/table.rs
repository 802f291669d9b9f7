//! A publication as a table, as `kubectl get` shows one. Pure.

use crate::overview::{Overview, Stage};
use std::fmt::Write as _;

/// The servers that have something in their way, then a line for each name. `wide` adds a line for each name and server.
pub fn table(overview: &Overview, wide: bool) -> String {
    let mut text = String::new();
    if !overview.synced {
        text.push_str("The objects are not all known yet.\n\n");
    }
    let servers = overview.servers.iter().filter(|server| wide || server.error.is_some() || server.up == Some(false));
    let servers: Vec<[String; 5]> = servers
        .map(|server| {
            let state = match server.up {
                Some(true) => "Up",
                Some(false) => "Down",
                None => "Unknown",
            };
            let error = server.error.clone().unwrap_or_default();
            [server.zone.clone(), server.server.clone(), state.to_owned(), age(server.for_seconds), error]
        })
        .collect();
    if !servers.is_empty() {
        columns(&mut text, ["ZONE", "SERVER", "STATE", "FOR", "ERROR"], &servers);
        text.push('\n');
    }
    let mut names: Vec<[String; 7]> = Vec::new();
    for name in &overview.names {
        let there = name.servers.iter().filter(|place| place.stage >= Stage::Visible).count();
        names.push([
            name.name.clone(),
            name.object.clone().unwrap_or_else(|| "-".to_owned()),
            name.generation.to_string(),
            name.stage.to_string(),
            format!("{there}/{}", name.servers.len()),
            age(name.for_seconds),
            match &name.reason {
                Some(reason) if name.message.is_empty() => reason.clone(),
                Some(reason) => format!("{reason}: {}", name.message),
                None => String::new(),
            },
        ]);
        for place in name.servers.iter().filter(|_| wide) {
            let generation = place.generation.map(|generation| generation.to_string()).unwrap_or_default();
            let (server, stage) = (format!("  {}", place.server), place.stage.to_string());
            let error = place.error.clone().unwrap_or_default();
            names.push([server, String::new(), generation, stage, String::new(), age(place.for_seconds), error]);
        }
    }
    if names.is_empty() {
        text.push_str("No names.\n");
    } else {
        columns(&mut text, ["NAME", "OBJECT", "GENERATION", "STAGE", "SERVERS", "FOR", "REASON"], &names);
    }
    text
}

/// As `kubectl` shows ages.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn columns<const N: usize>(text: &mut String, head: [&str; N], lines: &[[String; N]]) {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].len())
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let head = head.map(str::to_owned);
    for line in std::iter::once(&head).chain(lines) {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(row, "{cell:<width$}   ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::{NameState, PlaceState, ServerState};
    use crate::status::{is_visible, only};

    fn overview() -> Overview {
        let place = |server: &str, stage| PlaceState {
            server: server.into(),
            stage,
            for_seconds: 7,
            error: (stage < Stage::Visible).then(|| "A lacks 1".into()),
            generation: Some(7),
        };
        let name = |name: &str, stage, reason: Option<&str>| NameState {
            name: name.into(),
            zone: "example.com".into(),
            object: Some(format!("router/{}", name.split('.').next().unwrap_or_default())),
            generation: 7,
            stage,
            for_seconds: 200,
            reason: reason.map(str::to_owned),
            message: String::new(),
            servers: vec![place("192.0.2.1:53", Stage::Visible), place("192.0.2.2:53", stage)],
        };
        let server = |server: &str, up| ServerState {
            zone: "example.com".into(),
            server: server.into(),
            updated: true,
            up: Some(up),
            for_seconds: 90_000,
            error: (!up).then(|| "no answer within 2 s".into()),
        };
        Overview {
            cluster: "prod-1".into(),
            synced: true,
            servers: vec![server("192.0.2.1:53", true), server("192.0.2.2:53", false)],
            names: vec![
                name("a.example.com", Stage::Visible, None),
                name("longer.example.com", Stage::Applied, Some("ServerDown")),
            ],
        }
    }

    #[test]
    fn names_and_servers_in_trouble_are_shown_in_columns() {
        let expected = "\
ZONE          SERVER         STATE   FOR   ERROR
example.com   192.0.2.2:53   Down    25h   no answer within 2 s

NAME                 OBJECT          GENERATION   STAGE     SERVERS   FOR   REASON
a.example.com        router/a        7            Visible   2/2       3m
longer.example.com   router/longer   7            Applied   1/2       3m    ServerDown
";
        assert_eq!(table(&overview(), false), expected);
        let wide = table(&only(overview(), Some("LONGER.example.com.")), true);
        assert!(wide.contains("  192.0.2.2:53"), "{wide}");
        assert!(!wide.contains("router/a"), "{wide}");
    }

    #[test]
    fn all_is_visible_where_every_name_is_and_the_one_that_is_asked_for_exists() {
        let all = overview();
        assert!(!is_visible(&all, None));
        assert!(is_visible(&only(all.clone(), Some("a.example.com")), Some("a.example.com")));
        assert!(!is_visible(&only(all.clone(), Some("b.example.com")), Some("b.example.com")));
        assert!(!is_visible(&Overview { synced: false, names: Vec::new(), ..all }, None));
    }

    #[test]
    fn what_the_page_shows_is_read_again() {
        let all = overview();
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Overview>(&text).unwrap(), all);
    }
}
