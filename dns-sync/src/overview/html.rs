//! The publication as a page for browsers: what a publisher knows flows in, HTML flows out. Pure; shown at `/` of the admin port.

use super::{NameState, Overview, PlaceState, ServerState, Stage};
use nearside_admin::html::Html;

/// The page; what has not come to its end stands first.
pub fn page(overview: &Overview) -> String {
    let mut html = Html::default();
    html.markup(HEAD).text(&overview.cluster).markup(
        "</h1><p><a href=\"/publication\">JSON</a> <a href=\"/sources\">Sources</a> <a href=\"/metrics\">Metrics</a></p></header>",
    );
    if !overview.synced {
        html.markup("<p class=\"warn\" role=\"status\">The objects are not all known yet: nothing is written.</p>");
    }
    html.markup("<h2>Name servers</h2>");
    table(&mut html, ["Zone", "Server", "State", "For", "In its way"], overview.servers.iter().map(server));
    html.markup("<h2>Names</h2>");
    let mut names: Vec<&NameState> = overview.names.iter().collect();
    names.sort_by_key(|name| name.stage >= Stage::Visible);
    let head = ["Name", "Object", "Generation", "Stage", "Seen on", "For", "In its way"];
    table(&mut html, head, names.iter().take(MAX_NAMES).map(|named| name(named)));
    if names.len() > MAX_NAMES {
        html.markup("<p class=\"note\">")
            .number(names.len() - MAX_NAMES)
            .markup(" more names are not shown, none of which is behind those above; the JSON page has all.</p>");
    }
    html.markup("</body></html>");
    html.finish()
}

/// What the page loads.
pub const STYLE: &str = include_str!("page.css");

/// A cell and the class of its text.
type Cell = (String, &'static str);

fn server(server: &ServerState) -> [Cell; 5] {
    let (state, class) = match server.up {
        Some(true) => ("Up", "good"),
        Some(false) => ("Down", "bad"),
        None => ("Unknown", ""),
    };
    let role = if server.updated { "" } else { " (only looked at)" };
    [
        (server.zone.clone(), ""),
        (format!("{}{role}", server.server), ""),
        (state.to_owned(), class),
        (duration(server.for_seconds), ""),
        (server.error.clone().unwrap_or_default(), "bad"),
    ]
}

fn name(name: &NameState) -> [Cell; 7] {
    let is_seen = |place: &&PlaceState| place.stage >= Stage::Visible;
    let mut way: Vec<String> = Vec::new();
    way.extend(name.reason.clone());
    way.extend(Some(name.message.clone()).filter(|message| !message.is_empty()));
    let places = name.servers.iter().filter(|place| !is_seen(place));
    way.extend(places.filter_map(|place| Some(format!("{}: {}", place.server, place.error.as_ref()?))));
    [
        (name.name.clone(), ""),
        (name.object.clone().unwrap_or_default(), ""),
        (name.generation.to_string(), ""),
        (name.stage.to_string(), if name.stage >= Stage::Visible { "good" } else { "warn" }),
        (format!("{}/{}", name.servers.iter().filter(is_seen).count(), name.servers.len()), ""),
        (duration(name.for_seconds), ""),
        (way.join("; "), "warn"),
    ]
}

fn table<const N: usize>(html: &mut Html, head: [&'static str; N], rows: impl Iterator<Item = [Cell; N]>) {
    html.markup("<table><thead><tr>");
    for title in head {
        html.markup("<th scope=\"col\">").markup(title).markup("</th>");
    }
    html.markup("</tr></thead><tbody>");
    for row in rows {
        html.markup("<tr>");
        for (text, class) in row {
            html.markup("<td class=\"").markup(class).markup("\">").text(&text).markup("</td>");
        }
        html.markup("</tr>");
    }
    html.markup("</tbody></table>");
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

const HEAD: &str = "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Publication</title>\
    <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/page.css\"></head>\
    <body><header><h1>Publication of ";

/// Names that a browser shows without effort.
const MAX_NAMES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, stage: Stage) -> NameState {
        NameState {
            name: name.into(),
            zone: "example.com".into(),
            object: Some("router/a".into()),
            generation: 7,
            stage,
            for_seconds: 200,
            reason: (stage < Stage::Visible).then(|| "ServerDown".into()),
            message: String::new(),
            servers: vec![PlaceState {
                server: "192.0.2.1:53".into(),
                stage,
                for_seconds: 7,
                error: (stage < Stage::Visible).then(|| "says <b>no</b> & \u{202e}ends".into()),
                generation: None,
            }],
        }
    }

    #[test]
    fn what_is_behind_stands_first_and_nothing_that_is_said_becomes_markup() {
        let names = vec![named("a.example.com", Stage::Settled), named("b.example.com", Stage::Applied)];
        let shown = page(&Overview { cluster: "<script>".into(), synced: true, servers: Vec::new(), names });
        assert!(shown.contains("Publication of &lt;script&gt;</h1>"), "{shown}");
        assert!(shown.contains("ServerDown; 192.0.2.1:53: says &lt;b&gt;no&lt;/b&gt; &amp; \u{fffd}ends"), "{shown}");
        assert!(shown.find("b.example.com") < shown.find("a.example.com"), "{shown}");
        assert!(shown.contains(">3 min<") && !shown.contains("not all known"), "{shown}");
    }

    #[test]
    fn of_many_names_so_many_are_shown_as_a_browser_takes() {
        let mut names: Vec<NameState> =
            (0..1500).map(|number| named(&format!("n{number}.example.com"), Stage::Settled)).collect();
        names.push(named("late.example.com", Stage::Sent));
        let shown = page(&Overview { names, ..Overview::default() });
        assert!(shown.contains("late.example.com") && shown.contains("501 more names"));
        assert!(shown.contains("not all known yet"));
    }
}
