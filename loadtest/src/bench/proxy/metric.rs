//! What a figure is: the name, the unit and the direction of each flow out, to `report` and to plots. Pure.

/// What a sample says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    SecondsPerGigabyte,
    MegabytesPerSecond,
    /// Clients to which nothing came while it was measured.
    Unserved,
    /// What the pod sent to what came to clients.
    Sent,
    AnswersPerProcessorSecond,
    AnswersPerSecond,
    Median,
    P99,
    P999,
    ConnectionsPerProcessorSecond,
    ConnectionsPerSecond,
    Bytes,
    Milliseconds,
    LongestMilliseconds,
    Megabytes,
    Seconds,
    MicrosecondsOfProcessor,
    P99Milliseconds,
    /// Until changes are in a snapshot.
    SnapshotMicroseconds,
    /// Until requests are served from a snapshot.
    SwapMicroseconds,
    Ratio,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SecondsPerGigabyte => "processor seconds per GB",
            Self::MegabytesPerSecond => "MB a second",
            Self::Unserved => "clients to which nothing came",
            Self::Sent => "bytes that the pod sent to those that came",
            Self::AnswersPerProcessorSecond => "answers per processor second",
            Self::AnswersPerSecond => "answers a second",
            Self::Median => "median latency, µs",
            Self::P99 => "99th percentile, µs",
            Self::P999 => "99.9th percentile, µs",
            Self::ConnectionsPerProcessorSecond => "connections per processor second",
            Self::ConnectionsPerSecond => "connections a second",
            Self::Bytes => "bytes of memory each",
            Self::Milliseconds => "median time, ms",
            Self::LongestMilliseconds => "longest time, ms",
            Self::Megabytes => "MB of memory",
            Self::Seconds => "s",
            Self::MicrosecondsOfProcessor => "µs of processor time",
            Self::P99Milliseconds => "99th percentile, ms",
            Self::SnapshotMicroseconds => "µs to take changes in",
            Self::SwapMicroseconds => "µs to swap the table",
            Self::Ratio => "ratio",
        }
    }

    /// Whether less of it is better.
    pub(super) fn is_cost(self) -> bool {
        !matches!(
            self,
            Self::MegabytesPerSecond
                | Self::AnswersPerProcessorSecond
                | Self::AnswersPerSecond
                | Self::ConnectionsPerProcessorSecond
                | Self::ConnectionsPerSecond
        )
    }

    /// What a figure is about, and not merely how fast the machine was while it was taken.
    pub(super) fn is_plotted(self) -> bool {
        !matches!(self, Self::MegabytesPerSecond | Self::AnswersPerSecond | Self::ConnectionsPerSecond)
            && !self.is_remark()
    }

    /// What is said beside another figure, and only where it is out of the ordinary.
    pub(super) fn is_remark(self) -> bool {
        matches!(self, Self::Unserved | Self::Sent)
    }

    /// Its name in that of a file.
    pub(super) fn file(self) -> String {
        let words = self.name().replace('µ', "u").replace(['.', ','], "");
        words.to_lowercase().replace(' ', "-")
    }
}
