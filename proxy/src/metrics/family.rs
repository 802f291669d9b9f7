//! Series as Prometheus' library takes them: names, labels and values flow in, families in order of their names flow out.
//! The collectors of `metrics` fill them when somebody scrapes.

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Summary};
use std::collections::{BTreeMap, HashMap};

/// What a family is called, says and counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

impl Named {
    pub(super) fn desc(&self) -> prometheus::Result<Desc> {
        let labels = self.labels.iter().map(|&label| label.to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

/// The families of one scrape.
#[derive(Default)]
pub(super) struct Families(BTreeMap<&'static str, MetricFamily>);

impl Families {
    /// Adds a counter with these values of its labels.
    pub(super) fn counter(&mut self, named: &Named, labels: &[&str], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(number(value));
        self.add(named, MetricType::COUNTER, labels).set_counter(counter);
    }

    /// Adds a gauge.
    pub(super) fn gauge(&mut self, named: &Named, labels: &[&str], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.add(named, MetricType::GAUGE, labels).set_gauge(gauge);
    }

    /// Adds a histogram: upper bounds with the observations up to each, how many there were in all, and their sum.
    pub(super) fn histogram(&mut self, named: &Named, labels: &[&str], buckets: &[(f64, u64)], count: u64, sum: f64) {
        let bucket = |(bound, count): &(f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.iter().map(bucket).collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        self.add(named, MetricType::HISTOGRAM, labels).set_histogram(histogram);
    }

    /// Adds a summary of nothing.
    pub(super) fn empty_summary(&mut self, named: &Named) {
        self.add(named, MetricType::SUMMARY, &[]).set_summary(Summary::default());
    }

    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.0.into_values().collect()
    }

    fn add(&mut self, named: &Named, kind: MetricType, labels: &[&str]) -> &mut Metric {
        let family = self.0.entry(named.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(named.name.to_owned());
            family.set_help(named.help.to_owned());
            family.set_field_type(kind);
            family
        });
        let mut pairs: Vec<LabelPair> =
            named.labels.iter().zip(labels).map(|(name, value)| pair(name, value)).collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let all = family.mut_metric();
        all.push(Metric::from_label(pairs));
        let last = all.len() - 1;
        &mut all[last]
    }
}

/// Counts beyond 2^53 lose their last digits, as any counter of Prometheus does.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
