//! The status page as HTML: a view, the state of the process and the filter flow in, a page or the part of it that changes
//! flows out. Everything can be read without scripts; tables have headers, and no meaning is in a colour alone.

use super::filter::{Filter, Show};
use super::view::{DnsState, HostRow, NodeRow, Paged, ProblemRow, View};
use nearside_admin::html::Html;
use nearside_watch::{Kind, KindState};
use std::collections::BTreeMap;

/// What the process knows of itself.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) leads: bool,
    /// The state of each kind that is read.
    pub(super) sources: BTreeMap<Kind, KindState>,
    pub(super) router: String,
}

/// The whole page. `view` is `None` before the first sync.
pub(super) fn page(view: Option<&View>, process: &Process, filter: &Filter) -> String {
    let mut html = Html::default();
    html.markup(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Nearside</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"stylesheet\" href=\"/page.css\">\n<link rel=\"icon\" href=\"/page.svg\" type=\"image/svg+xml\">\n\
         <script src=\"/page.js\" defer></script>\n</head>\n<body>\n\
         <header><h1>Nearside</h1><p>router <bdi>",
    );
    html.text(&process.router);
    html.markup(
        "</bdi></p><nav aria-label=\"Pages\"><a href=\"#hosts\">Hosts</a> <a href=\"#nodes\">Nodes</a> \
         <a href=\"#problems\">Problems</a> <a href=\"#sources\">Sources</a> <a href=\"/placement\">Placement as JSON</a> \
         <a href=\"/metrics\">Metrics</a></nav><p id=\"live-state\" role=\"status\"></p></header>\n",
    );
    form(&mut html, filter);
    html.markup("<main id=\"live\">\n").append(live(view, process, filter));
    html.markup("</main>\n<noscript><p class=\"note\">Reload the page to see what has changed.</p></noscript>\n</body>\n</html>\n");
    html.finish()
}

/// The part that changes.
pub(super) fn live(view: Option<&View>, process: &Process, filter: &Filter) -> Html {
    let mut html = Html::default();
    summary(&mut html, view, process);
    match view {
        Some(view) => {
            hosts(&mut html, view, filter, process.sources.contains_key(&Kind::DnsEndpoint));
            nodes(&mut html, &view.nodes);
            problems(&mut html, &view.problems, filter);
        }
        None => {
            html.markup("<section id=\"hosts\"><p>The objects are not read completely yet.</p></section>\n");
        }
    }
    sources(&mut html, &process.sources);
    html
}

fn form(html: &mut Html, filter: &Filter) {
    html.markup("<form method=\"get\" action=\"/\" role=\"search\" aria-label=\"Filter\"><label>Namespace <input name=\"namespace\" value=\"");
    html.text(&filter.namespace);
    html.markup("\"></label> <label>Host contains <input name=\"host\" value=\"").text(&filter.host);
    html.markup(
        "\"></label> <label>Show <select name=\"show\"><option value=\"\">all hosts</option><option value=\"wanting\"",
    );
    html.markup(if filter.show == Show::Wanting { " selected" } else { "" });
    html.markup(
        ">hosts that want something</option></select></label> <button>Filter</button> <a href=\"/\">Clear</a></form>\n",
    );
}

fn summary(html: &mut Html, view: Option<&View>, process: &Process) {
    let unsynced = process.sources.values().filter(|state| !state.synced || state.error.is_some()).count();
    html.markup("<section id=\"summary\" aria-label=\"Summary\"><dl>");
    entry(
        html,
        "This process",
        process.leads,
        if process.leads { "leads: it writes" } else { "follows: another one writes" },
    );
    if let Some(view) = view {
        html.markup("<div><dt>Hosts</dt><dd>").number(view.hosts.of).markup(" shown</dd></div>");
        let wanting = format!("{} hosts", view.wanting);
        entry(html, "Wanting something", view.wanting == 0, if view.wanting == 0 { "none" } else { &wanting });
        let held = format!("{} hosts", view.held);
        entry(html, "Records kept", view.held == 0, if view.held == 0 { "none" } else { &held });
        let problems = format!("{} in objects", view.problems.of);
        entry(html, "Problems", view.problems.of == 0, if view.problems.of == 0 { "none" } else { &problems });
        html.markup("<div><dt>Generation</dt><dd>").text(&view.generation.to_string()).markup("</dd></div>");
    }
    let failing = format!("{unsynced} kinds not in sync");
    entry(html, "Sources", unsynced == 0, if unsynced == 0 { "in sync" } else { &failing });
    html.markup("</dl></section>\n");
}

fn entry(html: &mut Html, name: &'static str, good: bool, text: &str) {
    html.markup("<div><dt>").markup(name).markup("</dt><dd class=\"").markup(tone(good)).markup("\">").text(text);
    html.markup("</dd></div>");
}

fn tone(good: bool) -> &'static str {
    if good { "good" } else { "warn" }
}

fn hosts(html: &mut Html, view: &View, filter: &Filter, reads_dns: bool) {
    html.markup("<section id=\"hosts\"><h2>Hosts</h2>\n");
    if view.hosts.rows.is_empty() {
        html.markup("<p>None that the filter lets through.</p>");
    } else {
        html.markup("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Hosts and nodes\"><table>\n<thead><tr><th scope=\"col\">Host</th><th scope=\"col\">Owner</th><th scope=\"col\">Placed by</th><th scope=\"col\">DNS</th>");
        if view.matrix {
            view.nodes.rows.iter().for_each(|node| node_head(html, node));
        } else {
            html.markup("<th scope=\"col\">Nodes</th>");
        }
        html.markup("</tr></thead>\n<tbody>\n");
        view.hosts.rows.iter().for_each(|host| host_row(html, host, view, reads_dns));
        html.markup("</tbody></table></div>\n");
        if view.matrix && !view.nodes.rows.is_empty() {
            html.markup("<p class=\"note\">● clients are sent to this node &nbsp; · it could serve, and holds no pod that counts &nbsp; × it cannot serve; why stands below</p>\n");
        }
    }
    pages(html, "Pages of hosts", &view.hosts, |page| Filter { page, ..filter.clone() });
    html.markup("</section>\n");
}

fn node_head(html: &mut Html, node: &NodeRow) {
    html.markup("<th scope=\"col\" class=\"node ").markup(tone(node.why_not.is_none())).markup("\" title=\"");
    html.text(node.why_not.as_deref().unwrap_or("clients may be sent there")).markup("\"><bdi>").text(&node.name);
    html.markup("</bdi></th>");
}

/// `reads_dns` says whether what is published is read back.
fn host_row(html: &mut Html, host: &HostRow, view: &View, reads_dns: bool) {
    html.markup("<tr><th scope=\"row\"><bdi>").text(&host.host).markup("</bdi></th><td><bdi>").text(&host.owner);
    html.markup("</bdi></td><td class=\"").markup(tone(host.fine)).markup("\">").markup(host.basis).markup("</td><td>");
    match host.dns {
        DnsState::Published => html.markup("<span class=\"good\">published</span>"),
        DnsState::Unconfirmed => {
            html.markup("<span title=\"no publisher tells what it has taken\">published, unconfirmed</span>")
        }
        DnsState::Untaken => html.markup("<span class=\"warn\">not taken by DNS yet</span>"),
        DnsState::Wanted if reads_dns => html.markup("<span>to be published</span>"),
        DnsState::Wanted => html.markup("<span>written</span>"),
        DnsState::Held(reason) => html.markup("<span class=\"warn\">kept: ").markup(reason).markup("</span>"),
        DnsState::Nothing => html.markup("<span class=\"warn\">nothing</span>"),
    };
    for record in &host.records {
        html.markup(" <code>").text(&shortened(record)).markup("</code>");
    }
    html.markup("</td>");
    if view.matrix {
        for node in &view.nodes.rows {
            let (class, mark, word) = match (host.nodes.contains(&node.name), &node.why_not) {
                (true, _) => ("node good", "●", "clients are sent there"),
                (false, None) => ("node", "·", "holds no pod that counts"),
                (false, Some(_)) => ("node warn", "×", "cannot serve"),
            };
            html.markup("<td class=\"").markup(class).markup("\"><span aria-hidden=\"true\">").markup(mark);
            html.markup("</span><span class=\"hidden\">").markup(word).markup("</span></td>");
        }
    } else {
        html.markup("<td>").text(&some(&host.nodes)).markup("</td>");
    }
    html.markup("</tr>\n");
}

fn nodes(html: &mut Html, nodes: &Paged<NodeRow>) {
    html.markup("<section id=\"nodes\"><h2>Nodes</h2>\n");
    if nodes.rows.is_empty() {
        html.markup("<p>There is none.</p></section>\n");
        return;
    }
    html.markup("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Nodes\"><table>\n<thead><tr><th scope=\"col\">Node</th><th scope=\"col\">Id in aliases</th><th scope=\"col\">Clients</th><th scope=\"col\">Hosts</th><th scope=\"col\">Addresses</th></tr></thead>\n<tbody>\n");
    for node in &nodes.rows {
        html.markup("<tr><th scope=\"row\"><bdi>").text(&node.name).markup("</bdi></th><td><code>").text(&node.id);
        html.markup("</code></td><td class=\"").markup(tone(node.why_not.is_none())).markup("\">");
        html.text(node.why_not.as_deref().unwrap_or("may be sent there")).markup("</td><td class=\"number\">");
        html.number(node.hosts).markup("</td><td>").text(&some(&node.addresses)).markup("</td></tr>\n");
    }
    html.markup("</tbody></table></div>");
    if nodes.of > nodes.rows.len() {
        html.markup("<p class=\"note\">Of ").number(nodes.of);
        html.markup(" nodes these are shown, those that cannot serve first; /placement names all.</p>");
    }
    html.markup("</section>\n");
}

fn problems(html: &mut Html, problems: &Paged<ProblemRow>, filter: &Filter) {
    html.markup("<section id=\"problems\"><h2>Routes and Ingresses that are not served, or not as written</h2>\n");
    if problems.rows.is_empty() {
        html.markup("<p>None.</p>");
    } else {
        html.markup("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Problems\"><table>\n<thead><tr><th scope=\"col\">Object</th><th scope=\"col\">Host</th><th scope=\"col\">State</th><th scope=\"col\">Reason</th><th scope=\"col\">Field</th><th scope=\"col\">What is wrong</th></tr></thead>\n<tbody>\n");
        for problem in &problems.rows {
            html.markup("<tr><th scope=\"row\"><bdi>").text(&problem.object).markup("</bdi></th><td><bdi>");
            html.text(&problem.host).markup("</bdi></td>");
            html.markup(if problem.rejected {
                "<td class=\"bad\">not served</td>"
            } else {
                "<td class=\"warn\">not as written</td>"
            });
            html.markup("<td>").markup(problem.reason).markup("</td><td><code>").text(&problem.field);
            html.markup("</code></td><td><bdi>").text(&problem.message).markup("</bdi></td></tr>\n");
        }
        html.markup("</tbody></table></div>");
    }
    pages(html, "Pages of problems", problems, |problems| Filter { problems, ..filter.clone() });
    html.markup("</section>\n");
}

fn sources(html: &mut Html, sources: &BTreeMap<Kind, KindState>) {
    html.markup("<section id=\"sources\"><h2>Sources</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Sources\"><table>\n<thead><tr><th scope=\"col\">Kind</th><th scope=\"col\">Listed</th><th scope=\"col\">What is wrong</th></tr></thead>\n<tbody>\n");
    for (kind, state) in sources {
        html.markup("<tr><th scope=\"row\">")
            .markup(kind.name())
            .markup("</th><td class=\"")
            .markup(tone(state.synced));
        html.markup(if state.synced { "\">completely</td>" } else { "\">not yet</td>" });
        match &state.error {
            Some(error) => html.markup("<td class=\"bad\"><bdi>").text(error).markup("</bdi></td></tr>\n"),
            None => html.markup("<td>nothing</td></tr>\n"),
        };
    }
    html.markup("</tbody></table></div></section>\n");
}

fn pages<T>(html: &mut Html, label: &'static str, paged: &Paged<T>, at: impl Fn(usize) -> Filter) {
    if paged.pages < 2 {
        return;
    }
    html.markup("<nav class=\"pages\" aria-label=\"").markup(label).markup("\">");
    if paged.page > 1 {
        html.markup("<a rel=\"prev\" href=\"").text(&at(paged.page - 1).query()).markup("\">Previous</a> ");
    }
    html.markup("<span>page ").number(paged.page).markup(" of ").number(paged.pages).markup(", ").number(paged.of);
    html.markup(" in all</span>");
    if paged.page < paged.pages {
        html.markup(" <a rel=\"next\" href=\"").text(&at(paged.page + 1).query()).markup("\">Next</a>");
    }
    html.markup("</nav>");
}

fn some(all: &[String]) -> String {
    match all.len() {
        count if count > SHOWN => format!("{} and {} more", all[..SHOWN].join(", "), count - SHOWN),
        _ => all.join(", "),
    }
}

fn shortened(record: &str) -> String {
    let words: Vec<&str> = record.split(' ').collect();
    match words.len() {
        count if count > SHOWN => format!("{} and {} more", words[..SHOWN].join(" "), count - SHOWN),
        _ => record.to_owned(),
    }
}

/// Items that a cell names one by one.
const SHOWN: usize = 6;
