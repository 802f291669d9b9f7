//! Durations as people write them: text such as `30s`, `500ms`, `1h30m` flows in, a [`Duration`] flows out.

use std::time::Duration;

/// Reads whole numbers with a unit (`ms`, `s`, `m`, `h`), one after the other; a bare `0` needs none.
///
/// # Errors
/// [`DurationError`] names the text.
pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let failed = || DurationError(text.to_owned());
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(failed());
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| failed())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let milliseconds = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(failed()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(failed)?;
        sum = sum.checked_add(part).filter(|sum| *sum <= LONGEST).ok_or_else(failed)?;
    }
    Ok(sum)
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 30s, 500ms or 1h30m (at most a year)")]
pub(super) struct DurationError(String);

/// Clocks add to the present, and that must not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_add_up() {
        for (text, milliseconds) in [("0", 0), ("0s", 0), ("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5s", "1d", "1s ", "10000h", "99999999999999999999s"] {
            assert_eq!(parse_duration(text).is_ok(), text == "1s ", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(duration <= LONGEST);
            }
        }

        #[test]
        fn milliseconds_come_back(number in 0_u64..1_000_000_000) {
            prop_assert_eq!(parse_duration(&format!("{number}ms")), Ok(Duration::from_millis(number)));
        }
    }
}
