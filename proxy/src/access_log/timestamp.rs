//! Points in time as text in UTC: as RFC 3339, as HAProxy and the Common Log Format write dates, and as syslog does.

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time that is written as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp(pub(super) SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = since_epoch(self.0);
        let (year, month, day) = date(since.as_secs() / 86_400);
        let milliseconds = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{}.{milliseconds:03}Z", Clock(since.as_secs()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `27/Nov/2026:04:48:37.123`.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptDate(pub(super) SystemTime);

impl fmt::Display for AcceptDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = since_epoch(self.0);
        write!(f, "{}.{:03}", Day(since.as_secs()), since.subsec_millis())
    }
}

/// `27/Nov/2026:04:48:37 +0000`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZonedDate(pub(super) SystemTime);

impl fmt::Display for ZonedDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +0000", Day(since_epoch(self.0).as_secs()))
    }
}

/// `Nov 27 04:48:37` (RFC 3164 §4.1.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct SyslogDate(pub(super) SystemTime);

impl fmt::Display for SyslogDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = since_epoch(self.0).as_secs();
        let (_, month, day) = date(seconds / 86_400);
        write!(f, "{} {day:>2} {}", month_name(month), Clock(seconds))
    }
}

/// Since 1970; a clock that is set before then shows 1970.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Day and time of these seconds since 1970.
struct Day(u64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / 86_400);
        write!(f, "{day:02}/{}/{year:04}:{}", month_name(month), Clock(self.0))
    }
}

/// The time of day of these seconds since 1970.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60)
    }
}

fn month_name(month: u64) -> &'static str {
    let month = usize::try_from(month).unwrap_or_default();
    month.checked_sub(1).and_then(|month| MONTHS.get(month)).copied().unwrap_or_default()
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month and day of a number of days since 1970 in the proleptic Gregorian calendar. Counts from 1 March of the
/// year 0, so that the leap day is the last day of a year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_written_right() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_795_392_000_000, "2026-11-23T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(UNIX_EPOCH + Duration::from_millis(milliseconds)).to_string(), text);
        }
    }

    #[test]
    fn a_date_is_written_as_each_reader_knows_it() {
        let time = UNIX_EPOCH + Duration::from_millis(1_709_251_199_007);
        assert_eq!(AcceptDate(time).to_string(), "29/Feb/2024:23:59:59.007");
        assert_eq!(ZonedDate(time).to_string(), "29/Feb/2024:23:59:59 +0000");
        assert_eq!(SyslogDate(time).to_string(), "Feb 29 23:59:59");
        assert_eq!(SyslogDate(UNIX_EPOCH).to_string(), "Jan  1 00:00:00");
    }
}
