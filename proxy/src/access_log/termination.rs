//! How a request or connection ended, in the four letters of HAProxy (configuration manual, "Session state at
//! disconnection"): who ended it, in which phase, what cookie the client showed, and what became of it. Pure.

/// How far it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No pod was asked.
    Request,
    /// It waited for room at a pod.
    Queue,
    /// A pod was connected to.
    Connect,
    /// The pod was to answer.
    Headers,
    /// The pod answered.
    Data,
}

/// The affinity cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// The route has none.
    Off,
    /// The client showed none.
    New,
    /// The client named an endpoint that it could not have.
    Invalid,
    /// The client named its endpoint.
    Kept,
}

/// The four letters. `reason` is the word of the access log, if something else happened than an answer of a pod.
pub(super) fn letters(reason: Option<&str>, phase: Phase, persistence: Persistence, inserted: bool) -> [u8; 4] {
    let [cause, at] = cause(reason, phase);
    let [shown, done] = match (persistence, inserted) {
        (Persistence::Off, _) => *b"--",
        (Persistence::New, true) => *b"NI",
        (Persistence::New, false) => *b"NN",
        (Persistence::Invalid, true) => *b"II",
        (Persistence::Invalid, false) => *b"IN",
        (Persistence::Kept, _) => *b"VN",
    };
    [cause, at, shown, done]
}

/// The first two letters.
fn cause(reason: Option<&str>, phase: Phase) -> [u8; 2] {
    let Some(reason) = reason else { return *b"--" };
    let phase = match phase {
        Phase::Request => b'R',
        Phase::Queue => b'Q',
        Phase::Connect => b'C',
        Phase::Headers => b'H',
        Phase::Data => b'D',
    };
    match reason {
        "done" => *b"--",
        "client_gone" | "client_failed" => [b'C', phase],
        "client_timeout" | "client_rate" | "client_stall" | "idle" => [b'c', phase],
        "no_endpoint" | "connect_failed" | "pod_tls" => *b"SC",
        "no_local_port" => *b"RC",
        "pod_busy" => *b"sQ",
        "pod_timeout" => [b's', phase],
        "pod_failed" => [b'S', phase],
        "internal" => [b'I', phase],
        reason if LOCAL.contains(&reason) => *b"LR",
        // Everything else is a rule of the proxy that the request breaks.
        _ => *b"PR",
    }
}

/// Answers that are the proxy's own business.
const LOCAL: [&str; 7] =
    ["no_route", "https_redirect", "miss_redirect", "host_redirect", "redirect", "preflight", "probe"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_letters() {
        let off = |reason, phase| String::from_utf8(letters(reason, phase, Persistence::Off, false).to_vec()).unwrap();
        for (reason, phase, expected) in [
            (None, Phase::Data, "----"),
            (Some("done"), Phase::Data, "----"),
            (Some("https_redirect"), Phase::Request, "LR--"),
            (Some("forbidden"), Phase::Request, "PR--"),
            (Some("no_endpoint"), Phase::Request, "SC--"),
            (Some("connect_failed"), Phase::Connect, "SC--"),
            (Some("no_local_port"), Phase::Connect, "RC--"),
            (Some("pod_busy"), Phase::Queue, "sQ--"),
            (Some("client_gone"), Phase::Queue, "CQ--"),
            (Some("client_gone"), Phase::Data, "CD--"),
            (Some("client_timeout"), Phase::Request, "cR--"),
            (Some("pod_timeout"), Phase::Headers, "sH--"),
            (Some("pod_failed"), Phase::Data, "SD--"),
        ] {
            assert_eq!(off(reason, phase), expected, "{reason:?}");
        }
        let cookie = |persistence, inserted| letters(None, Phase::Data, persistence, inserted);
        assert_eq!(cookie(Persistence::New, true), *b"--NI");
        assert_eq!(cookie(Persistence::Kept, false), *b"--VN");
        assert_eq!(cookie(Persistence::Invalid, true), *b"--II");
    }
}
