//! The grammars of annotation values: text flows in, a value or what is wrong with the text flows out. Whole values are
//! matched; nothing is trimmed. Each message continues a sentence that begins with the value.

use std::time::Duration;

/// A boolean as Go's `strconv.ParseBool` reads it, which the OpenShift router and ingress-nginx use.
///
/// # Errors
/// For any other text.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("is not true or false".into()),
    }
}

/// A whole number from zero up.
///
/// # Errors
/// For signs, other characters and numbers beyond 32 bits.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".into());
    }
    text.parse().map_err(|_| "is too large a number".into())
}

/// A time as HAProxy writes it: digits without leading zero and one of `us ms s m h d`, milliseconds without. Longer than
/// 2,147,483,647 ms means that much.
///
/// # Errors
/// For any other text.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a time such as 500ms, 30s, 5m or 1h".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || number.starts_with('0') {
        return Err(wrong());
    }
    let micros: u64 = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(wrong()),
    };
    // More digits than a number holds is beyond the longest time as well.
    let time = number.parse::<u64>().ok().and_then(|number| number.checked_mul(micros));
    Ok(time.map_or(LONGEST, Duration::from_micros).min(LONGEST))
}

/// A time as ingress-nginx writes it: whole seconds, without unit.
///
/// # Errors
/// For any other text.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = count(text).map_err(|_| "is not a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds.into()).min(LONGEST))
}

/// A number of bytes as nginx writes it: digits, and `k`, `m` or `g` for powers of 1024.
///
/// # Errors
/// For any other text and for more than 64 bits.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "is not a size such as 512k, 8m or 1g".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

/// HAProxy's longest time.
const LONGEST: Duration = Duration::from_millis(2_147_483_647);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_those_of_go() {
        assert!("1 t T TRUE true True".split(' ').all(|text| boolean(text) == Ok(true)));
        assert!("0 f F FALSE false False".split(' ').all(|text| boolean(text) == Ok(false)));
        assert!(["yes", "tRUE", " true", ""].iter().all(|text| boolean(text).is_err()));
    }

    #[test]
    fn times_have_one_unit_and_no_leading_zero() {
        assert_eq!(time("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(time("1500"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("3us"), Ok(Duration::from_micros(3)));
        assert_eq!(time("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(time("99999999999999999999999d"), Ok(LONGEST));
        assert_eq!(time("9999999999ms"), Ok(LONGEST));
        for text in ["", "0", "05s", "1.5s", "1m30s", "-1s", " 1s", "1S", "s"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!((bytes("0"), bytes("8m"), bytes("1G")), (Ok(0), Ok(8 << 20), Ok(1 << 30)));
        for text in ["", "m", "1mb", "1.5m", "-1", "99999999999999999999", "18446744073709551615k"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "\\PC{0,40}|[0-9]{0,30}[a-z]{0,3}") {
            let _ = (boolean(&text), count(&text), time(&text), seconds(&text), bytes(&text));
        }

        #[test]
        fn a_count_reads_as_it_is_written(number: u32) {
            prop_assert_eq!(count(&number.to_string()), Ok(number));
        }
    }
}
