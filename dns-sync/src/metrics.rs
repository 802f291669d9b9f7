//! What the server counts: names and labels of every series, and the handles that the hot path uses without looking
//! anything up. Registered by `main`, counted by `serve` and `zone_store`. Label values are bounded: a client cannot
//! create a series.

use crate::answer::Rcode;
use crate::record::RecordType;
use crate::serve::Protocol;
use crate::zone::Zone;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The series of this program.
#[derive(Debug)]
pub struct Metrics {
    queries: Vec<IntCounter>,
    /// `nearside_dns_truncated_total`.
    pub truncated: IntCounter,
    /// `nearside_dns_dropped_total`.
    pub dropped: IntCounter,
    /// `nearside_dns_tcp_connections`.
    pub tcp_connections: IntGauge,
    /// `nearside_dns_tcp_refused_total`.
    pub tcp_refused: IntCounter,
    /// `nearside_dns_rate_limited_total` of `action="truncated"`.
    pub slipped: IntCounter,
    /// `nearside_dns_rate_limited_total` of `action="dropped"`.
    pub silenced: IntCounter,
    /// `nearside_dns_transfers_total`.
    pub transfers: IntCounterVec,
    /// `nearside_dns_notifies_total`.
    pub notifies: IntCounterVec,
    /// `nearside_dns_rejected_endpoints`.
    pub rejected_endpoints: IntGauge,
    /// `nearside_dns_reports_total`.
    pub reports: IntCounterVec,
    zone_serial: IntGaugeVec,
    zone_names: IntGaugeVec,
    zone_wildcard_aliases: IntGaugeVec,
}

impl Metrics {
    /// Creates and registers every series, each once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let queries = IntCounterVec::new(
            Opts::new("nearside_dns_queries_total", "Answered queries by transport, query type and result."),
            &["protocol", "qtype", "rcode"],
        )?;
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let zone_gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["zone"]);
        let limited = IntCounterVec::new(
            Opts::new(
                "nearside_dns_rate_limited_total",
                "Answers over UDP beyond the rate of one kind to one network: sent empty with TC, or not at all.",
            ),
            &["action"],
        )?;
        registry.register(Box::new(limited.clone()))?;
        let metrics = Self {
            queries: Vec::new(),
            slipped: limited.with_label_values(&["truncated"]),
            silenced: limited.with_label_values(&["dropped"]),
            transfers: IntCounterVec::new(
                Opts::new("nearside_dns_transfers_total", "Transfers of whole zones to secondaries, by result."),
                &["result"],
            )?,
            notifies: IntCounterVec::new(
                Opts::new("nearside_dns_notifies_total", "Notices to secondaries that a zone has changed, by result."),
                &["result"],
            )?,
            truncated: counter(
                "nearside_dns_truncated_total",
                "Answers that were too large and were sent empty with TC.",
            )?,
            dropped: counter("nearside_dns_dropped_total", "Messages without an answer: no header, or a response.")?,
            tcp_connections: gauge("nearside_dns_tcp_connections", "Open TCP connections.")?,
            tcp_refused: counter("nearside_dns_tcp_refused_total", "TCP connections closed because of the caps.")?,
            rejected_endpoints: gauge(
                "nearside_dns_rejected_endpoints",
                "Parts of DNSEndpoint objects that are not published; the log names them.",
            )?,
            reports: IntCounterVec::new(
                Opts::new(
                    "nearside_dns_reports_total",
                    "Attempts to tell the cluster that a DNSEndpoint is published, by result.",
                ),
                &["result"],
            )?,
            zone_serial: zone_gauge("nearside_dns_zone_serial", "Serial of the zone's SOA.")?,
            zone_names: zone_gauge("nearside_dns_zone_names", "Names in the zone, empty non-terminals included.")?,
            zone_wildcard_aliases: zone_gauge(
                "nearside_dns_zone_wildcard_aliases",
                "Aliases of wildcard hosts in the zone, which secondaries cannot answer for.",
            )?,
        };
        registry.register(Box::new(queries.clone()))?;
        for counters in [&metrics.reports, &metrics.transfers, &metrics.notifies] {
            registry.register(Box::new(counters.clone()))?;
        }
        for counter in [&metrics.truncated, &metrics.dropped, &metrics.tcp_refused] {
            registry.register(Box::new(counter.clone()))?;
        }
        for gauge in [&metrics.tcp_connections, &metrics.rejected_endpoints] {
            registry.register(Box::new(gauge.clone()))?;
        }
        for gauge in [&metrics.zone_serial, &metrics.zone_names, &metrics.zone_wildcard_aliases] {
            registry.register(Box::new(gauge.clone()))?;
        }
        let mut handles = Vec::with_capacity(PROTOCOLS.len() * QTYPES.len() * RCODES.len());
        for (_, protocol) in PROTOCOLS {
            for qtype in QTYPES {
                for (_, rcode) in RCODES {
                    handles.push(queries.with_label_values(&[protocol, qtype, rcode]));
                }
            }
        }
        Ok(Self { queries: handles, ..metrics })
    }

    /// Counts an answered query.
    pub fn count_query(&self, protocol: Protocol, qtype: RecordType, rcode: Rcode) {
        let protocol = PROTOCOLS.iter().position(|(known, _)| *known == protocol).unwrap_or(0);
        let rcode = RCODES.iter().position(|(known, _)| *known == rcode).unwrap_or(0);
        let index = (protocol * QTYPES.len() + qtype_index(qtype)) * RCODES.len() + rcode;
        if let Some(counter) = self.queries.get(index) {
            counter.inc();
        }
    }

    /// Publishes what is known of a zone.
    pub fn set_zone(&self, zone: &Zone) {
        let origin = zone.origin().to_string();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.zone_serial.with_label_values(&[&origin]).set(i64::from(zone.serial()));
        self.zone_names.with_label_values(&[&origin]).set(count(zone.name_count()));
        self.zone_wildcard_aliases.with_label_values(&[&origin]).set(count(zone.wildcard_alias_count()));
    }
}

fn qtype_index(qtype: RecordType) -> usize {
    match qtype {
        RecordType::A => 0,
        RecordType::Aaaa => 1,
        RecordType::Cname => 2,
        RecordType::Txt => 3,
        RecordType::Ns => 4,
        RecordType::Soa => 5,
        RecordType::Any => 6,
        RecordType::Axfr | RecordType::Ixfr => 7,
        RecordType::Https => 8,
        RecordType::Hinfo | RecordType::Other(_) => 9,
    }
}

const PROTOCOLS: [(Protocol, &str); 2] = [(Protocol::Udp, "udp"), (Protocol::Tcp, "tcp")];

/// In the order of [`qtype_index`].
const QTYPES: [&str; 10] = ["A", "AAAA", "CNAME", "TXT", "NS", "SOA", "ANY", "AXFR", "HTTPS", "other"];

const RCODES: [(Rcode, &str); 8] = [
    (Rcode::NoError, "NOERROR"),
    (Rcode::FormErr, "FORMERR"),
    (Rcode::ServFail, "SERVFAIL"),
    (Rcode::NxDomain, "NXDOMAIN"),
    (Rcode::NotImp, "NOTIMP"),
    (Rcode::Refused, "REFUSED"),
    (Rcode::NotAuth, "NOTAUTH"),
    (Rcode::BadVers, "BADVERS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_counted_under_its_own_labels() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.count_query(Protocol::Tcp, RecordType::Aaaa, Rcode::NxDomain);
        metrics.count_query(Protocol::Udp, RecordType::Other(64), Rcode::BadVers);
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "nearside_dns_queries_total").unwrap();
        let counted: Vec<Vec<&str>> = family
            .get_metric()
            .iter()
            .filter(|metric| metric.get_counter().get_value() > 0.0)
            .map(|metric| metric.get_label().iter().map(prometheus::proto::LabelPair::value).collect())
            .collect();
        assert_eq!(counted.len(), 2);
        assert!(counted.contains(&vec!["tcp", "AAAA", "NXDOMAIN"]));
        assert!(counted.contains(&vec!["udp", "other", "BADVERS"]));
    }
}
