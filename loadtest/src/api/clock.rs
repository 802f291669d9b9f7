//! Time as objects spell it: RFC 3339 in whole seconds, and ages as `kubectl` prints them.

use jiff::Timestamp;
use std::time::Duration;

/// `creationTimestamp` and friends: now, in whole seconds.
pub(crate) fn now() -> String {
    text(Timestamp::now())
}

/// Now and `later`, for the deletion time of a pod that gets a grace period.
pub(crate) fn now_plus(later: Duration) -> String {
    let at = Timestamp::now();
    text(at.checked_add(later).unwrap_or(at))
}

fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time since `timestamp` in the words of `kubectl get`; `<unknown>` when it is no time.
pub(crate) fn age(timestamp: &str) -> String {
    timestamp
        .parse::<Timestamp>()
        .map_or_else(|_| "<unknown>".to_owned(), |at| human(Timestamp::now().as_second() - at.as_second()))
}

fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: &str, rest: i64, rest_unit: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{rest_unit}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, "y", days % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (700, "11m"),
            (11_100, "3h5m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
        ] {
            assert_eq!(human(seconds), text);
        }
        assert_eq!(age("yesterday"), "<unknown>");
    }

    #[test]
    fn timestamps_are_rfc3339_in_whole_seconds() {
        let now = now();
        assert_eq!(now.len(), "2026-01-01T00:00:00Z".len());
        assert!(now.ends_with('Z') && now.parse::<Timestamp>().is_ok());
    }
}
