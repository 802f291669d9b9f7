//! A plot: samples come in, an SVG of grouped bars goes out, with the spread of the rounds as a line through each bar's end. Pure, and
//! without any library: a plot is text.

use super::report::{Row, number};
use crate::bench::statistics::Samples;
use std::fmt::Write as _;

/// One group of bars for each case, in it one bar for each proxy.
pub(super) fn bars(title: &str, peers: &[String], rows: &[&Row]) -> String {
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    let most = rows.iter().flat_map(|row| row.samples.iter().copied()).fold(f64::MIN_POSITIVE, f64::max);
    let thickness = BAR * peers.len() as f64 + GAP;
    let height = TOP + thickness * cases.len() as f64 + BAR * peers.len() as f64 + GAP;
    let place = |value: f64| LEFT + value / most * WIDTH;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
        LEFT + WIDTH + RIGHT,
        escaped(title)
    );
    for (at, case) in cases.iter().enumerate() {
        let top = TOP + thickness * at as f64;
        // Writing to a String cannot fail.
        let middle = top + BAR * peers.len() as f64 / 2.0 + 4.0;
        let _ = writeln!(out, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, escaped(case));
        for (number_of_peer, peer) in peers.iter().enumerate() {
            let Some(row) = rows.iter().find(|row| row.case == *case && row.peer == *peer) else { continue };
            let samples = Samples::new(row.samples.clone());
            let y = top + BAR * number_of_peer as f64;
            let (color, end) = (COLORS[number_of_peer % COLORS.len()], place(samples.median()));
            let (least, most, center) = (place(samples.least()), place(samples.most()), y + BAR / 2.0 - 1.0);
            let _ = write!(
                out,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"/>\n\
                 <line x1=\"{least:.1}\" x2=\"{most:.1}\" y1=\"{center}\" y2=\"{center}\" stroke=\"black\"/>\n\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"10\">{}</text>\n",
                (end - LEFT).max(0.5),
                BAR - 2.0,
                most.max(end) + 4.0,
                y + BAR - 4.0,
                number(samples.median())
            );
        }
    }
    for (at, peer) in peers.iter().enumerate() {
        let y = TOP + thickness * cases.len() as f64 + BAR * at as f64;
        let _ = write!(
            out,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"12\" height=\"{}\" fill=\"{}\"/>\n<text x=\"{}\" y=\"{}\">{}</text>\n",
            BAR - 2.0,
            COLORS[at % COLORS.len()],
            LEFT + 18.0,
            y + BAR - 4.0,
            escaped(peer)
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const TOP: f64 = 40.0;
const LEFT: f64 = 260.0;
const WIDTH: f64 = 620.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;
/// Distinct also for those who see few colours.
const COLORS: [&str; 8] = ["#0072b2", "#e69f00", "#f0c878", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::super::metric::Metric;
    use super::*;

    #[test]
    fn each_proxy_has_a_bar_as_long_as_its_median() {
        let row = |peer: &str, samples: &[f64]| Row {
            group: Group::Downloads,
            case: "1 < 2".into(),
            metric: Metric::SecondsPerGigabyte,
            peer: peer.into(),
            samples: samples.to_vec(),
        };
        let (first, second) = (row("a", &[1.0, 2.0, 4.0]), row("b", &[1.0]));
        let plot = bars("a title", &["a".to_owned(), "b".to_owned()], &[&first, &second]);
        assert!(plot.contains("width=\"310.0\"") && plot.contains("width=\"155.0\""), "{plot}");
        assert!(plot.contains("1 &lt; 2"));
        assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"));
    }
}
