//! The namespace of this installation: what was typed and the surroundings of the process flow in, one name flows out.

use super::Mistakes;

/// The namespace whose DNSEndpoints are believed: the flag, else that of the pod, else that of its service account, else
/// [`DEFAULT`].
pub(super) fn namespace(flag: Option<&str>, mistakes: &mut Mistakes) -> String {
    let given = flag.map(str::trim).filter(|name| !name.is_empty());
    if let Some(name) = given {
        if !is_dns_label(name) {
            mistakes.add("namespace", format!("{name:?} is not the name of a namespace"));
        }
        return name.to_owned();
    }
    let non_empty = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let of_pod = std::env::var("POD_NAMESPACE").ok().and_then(non_empty);
    let of_account = || std::fs::read_to_string(SERVICE_ACCOUNT).ok().and_then(non_empty);
    of_pod.or_else(of_account).unwrap_or_else(|| DEFAULT.to_owned())
}

/// RFC 1123, as the API server checks namespaces.
fn is_dns_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(|byte| plain(*byte))
        && bytes.last().is_some_and(|byte| plain(*byte))
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

const DEFAULT: &str = "nearside";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
