//! The grammars of the OpenShift router's variables: text flows in, the values of one of our flags flow out, or what is wrong
//! with the text. Each message continues a sentence that begins with the value.

/// From the text of a variable to the values of a flag; no values leave the flag's default.
pub type Grammar = fn(&str) -> Result<Vec<String>, String>;

/// Any text, as it is.
pub(super) fn text(text: &str) -> Result<Vec<String>, String> {
    one(text)
}

/// Several values, separated by commas.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
    Ok(values.map(ToOwned::to_owned).collect())
}

/// A boolean of Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<Vec<String>, String> {
    one(if truth(text)? { "true" } else { "false" })
}

/// The opposite of a boolean.
pub(super) fn not(text: &str) -> Result<Vec<String>, String> {
    one(if truth(text)? { "false" } else { "true" })
}

/// Whether connections that send nothing are ignored, as the value of `--empty-requests`.
pub(super) fn probes(text: &str) -> Result<Vec<String>, String> {
    one(if truth(text)? { "ignore" } else { "respond" })
}

/// Several values, separated by blanks.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split_whitespace().map(ToOwned::to_owned).collect())
}

/// A selector of projects, which are namespaces; `*` selects all of them.
pub(super) fn projects(text: &str) -> Result<Vec<String>, String> {
    if text == "*" { Ok(Vec::new()) } else { one(text) }
}

/// Whether namespaces may share a host, as the value of `--namespace-ownership`.
pub(super) fn shared_hosts(text: &str) -> Result<Vec<String>, String> {
    one(if truth(text)? { "inter" } else { "strict" })
}

/// Who must send PROXY headers, as the value of `--proxy-protocol`.
pub(super) fn proxy_headers(text: &str) -> Result<Vec<String>, String> {
    one(if truth(text)? { "required" } else { "trusted" })
}

/// A time of HAProxy: digits without leading zero, and a unit; milliseconds without one.
pub(super) fn time(text: &str) -> Result<Vec<String>, String> {
    let wrong = || "is not a time of HAProxy such as 500ms, 30s or 1h".to_owned();
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
    // More digits than a number holds is beyond HAProxy's longest time as well.
    let micros = number.parse::<u64>().ok().and_then(|number| number.checked_mul(micros)).unwrap_or(u64::MAX);
    // Below our unit it rounds up: zero would mean something else.
    milliseconds(micros.div_ceil(1_000))
}

/// A duration of Go: `1m30s`, `1.5h`, `500ms`.
pub(super) fn go_duration(text: &str) -> Result<Vec<String>, String> {
    let wrong = || "is not a duration such as 45s or 1m30s".to_owned();
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
        sum += number
            * match &rest[..letters] {
                "ns" => 1e-6,
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3600e3,
                _ => return Err(wrong()),
            };
        rest = &rest[letters..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    // A float saturates at the largest number.
    milliseconds(sum as u64)
}

/// Whole seconds, without unit.
pub(super) fn seconds(text: &str) -> Result<Vec<String>, String> {
    let seconds: u64 = text.parse().map_err(|_| "is not a whole number of seconds".to_owned())?;
    milliseconds(seconds.saturating_mul(1_000))
}

/// A whole number; what is none, such as `auto`, leaves the choice to the program.
pub(super) fn number_or_auto(text: &str) -> Result<Vec<String>, String> {
    match text.parse::<u32>() {
        Ok(number) => one(&number.to_string()),
        Err(_) => Ok(Vec::new()),
    }
}

/// A number of connections; any other word, such as `auto`, means as many as possible.
pub(super) fn connections(text: &str) -> Result<Vec<String>, String> {
    one(if text.bytes().all(|byte| byte.is_ascii_digit()) { text } else { "auto" })
}

/// The only kind of metrics that the OpenShift router knows.
pub(super) fn haproxy(text: &str) -> Result<Vec<String>, String> {
    if text == "haproxy" { one("true") } else { Err("is not haproxy".to_owned()) }
}

/// A boolean of Go.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("is not true or false".to_owned()),
    }
}

/// As our flags write durations; at most what HAProxy can wait, 24.8 days.
fn milliseconds(milliseconds: u64) -> Result<Vec<String>, String> {
    one(&format!("{}ms", milliseconds.min(2_147_483_647)))
}

#[expect(clippy::unnecessary_wraps, reason = "ends grammars that can fail")]
fn one(value: &str) -> Result<Vec<String>, String> {
    Ok(vec![value.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(grammar: Grammar, text: &str) -> Option<String> {
        grammar(text).ok().and_then(|values| values.into_iter().next())
    }

    #[test]
    fn times_are_those_of_haproxy() {
        for (text, expected) in [
            ("5s", Some("5000ms")),
            ("5000", Some("5000ms")),
            ("1h", Some("3600000ms")),
            ("1us", Some("1ms")),
            ("99999999999999999999999d", Some("2147483647ms")),
            ("0", None),
            ("05s", None),
            ("1m30s", None),
            ("-1s", None),
            ("", None),
            ("1.5s", None),
        ] {
            assert_eq!(first(time, text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("45s", Some("45000ms")),
            ("1m30s", Some("90000ms")),
            ("1.5h", Some("5400000ms")),
            ("0s", Some("0ms")),
            ("9999999999h", Some("2147483647ms")),
            ("45", None),
            ("s", None),
            ("", None),
            ("1.5.5s", None),
            ("5ß", None),
            ("-1s", None),
        ] {
            assert_eq!(first(go_duration, text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_leaves_the_default_where_auto_is_a_word() {
        assert_eq!(number_or_auto("2000"), Ok(vec!["2000".to_owned()]));
        assert_eq!(number_or_auto("auto"), Ok(vec![]));
        assert_eq!(
            (first(connections, "2000").as_deref(), first(connections, "-1").as_deref()),
            (Some("2000"), Some("auto"))
        );
        assert_eq!(list(" a, ,b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(first(shared_hosts, "true").as_deref(), Some("inter"));
        assert_eq!((first(boolean, "1").as_deref(), first(boolean, "on")), (Some("true"), None));
    }
}
