//! What of the status page is shown: the query of the request flows in, a [`Filter`] flows out, and back as a query for the
//! links of the page. Whatever is not understood shows everything.

use super::query::{decoded, encoded};

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Only hosts and objects of this namespace; empty for all.
    pub(super) namespace: String,
    /// Only hosts with this text in them; empty for all.
    pub(super) host: String,
    /// Which hosts.
    pub(super) show: Show,
    /// The page of hosts, from 1.
    pub(super) page: usize,
    /// The page of problems, from 1.
    pub(super) problems: usize,
    /// Whether only the part that changes is asked for.
    pub(super) live_part: bool,
}

/// Which hosts are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Show {
    /// All.
    #[default]
    All,
    /// Those that are not on nodes with pods of every Service, and those whose records are kept.
    Wanting,
}

impl Filter {
    pub(super) fn parse(query: &str) -> Self {
        let mut filter = Self { page: 1, problems: 1, ..Self::default() };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value: String = decoded(value).trim().chars().take(LONGEST).collect();
            let place = || value.parse().unwrap_or(1).max(1);
            match name {
                "namespace" => filter.namespace = value,
                "host" => filter.host = value.to_lowercase(),
                "show" => filter.show = if value == "wanting" { Show::Wanting } else { Show::All },
                "page" => filter.page = place(),
                "problems" => filter.problems = place(),
                "part" => filter.live_part = value == "live",
                _ => {}
            }
        }
        filter
    }

    /// The query that shows this.
    pub(super) fn query(&self) -> String {
        let show = if self.show == Show::Wanting { "wanting" } else { "" };
        let place = |place: usize| if place > 1 { place.to_string() } else { String::new() };
        let pairs = [
            ("namespace", self.namespace.clone()),
            ("host", self.host.clone()),
            ("show", show.to_owned()),
            ("page", place(self.page)),
            ("problems", place(self.problems)),
        ];
        let written = pairs.iter().filter(|(_, value)| !value.is_empty());
        let written: Vec<String> = written.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("?{}", written.join("&"))
    }
}

/// Characters of a value.
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_written() {
        let filter = Filter::parse("namespace=shop&host=Video%2E&show=wanting&page=3&problems=x&part=live&other");
        let wanted = Filter {
            namespace: "shop".into(),
            host: "video.".into(),
            show: Show::Wanting,
            page: 3,
            problems: 1,
            live_part: true,
        };
        assert_eq!(filter, wanted);
        assert_eq!(filter.query(), "?namespace=shop&host=video.&show=wanting&page=3");
        assert_eq!(Filter::parse(""), Filter { page: 1, problems: 1, ..Filter::default() });
    }
}
