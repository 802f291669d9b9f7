//! How long a pod may take: annotations flow in, the durations that an object sets for itself flow out. What is left open,
//! the proxy's flags decide.

use crate::annotation::grammar::{seconds, time};
use crate::annotation::{Annotations, Spelling};
use std::time::Duration;

/// The time limits of one object. Each is a time of silence, not of the whole exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to a pod.
    pub connect: Option<Duration>,
    /// Without a byte from the pod, from the end of the request on.
    pub read: Option<Duration>,
    /// Without the pod taking a byte of the request.
    pub send: Option<Duration>,
    /// Without a byte either way on an upgraded or passed-through connection.
    pub tunnel: Option<Duration>,
}

impl Timeouts {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let [own, nginx] = [
            annotations.first(&[
                Spelling { name: "nearside.dev/timeout", parse: time },
                Spelling { name: "haproxy.router.openshift.io/timeout", parse: time },
            ]),
            annotations
                .first(&[Spelling { name: "nginx.ingress.kubernetes.io/proxy-read-timeout", parse: some_seconds }]),
        ];
        let tunnel = annotations.first(&[
            Spelling { name: "nearside.dev/timeout-tunnel", parse: time },
            Spelling { name: "haproxy.router.openshift.io/timeout-tunnel", parse: time },
        ]);
        Self {
            connect: annotations.first(&[
                Spelling { name: "nearside.dev/connect-timeout", parse: time },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-connect-timeout", parse: some_seconds },
            ]),
            read: own.or(nginx),
            send: annotations.first(&[
                Spelling { name: "nearside.dev/send-timeout", parse: time },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-send-timeout", parse: some_seconds },
            ]),
            // nginx has one time for both, and WebSocket is what most people raise it for.
            tunnel: tunnel.or(nginx),
        }
    }

    /// For a passed-through connection, where the proxy sees no requests: `timeout` counts for the tunnel unless that has
    /// a time of its own, as in the OpenShift router.
    pub fn passthrough(&self) -> Option<Duration> {
        self.tunnel.or(self.read)
    }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("leaves no time at all".into()),
        some => Ok(some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn each_spelling_has_its_own_unit_and_the_first_one_counts() {
        let second = Duration::from_secs;
        let timeouts = |written: &[(&str, &str)]| read(written, Timeouts::read);
        let haproxy = ("haproxy.router.openshift.io/timeout", "5s");
        let nginx = ("nginx.ingress.kubernetes.io/proxy-read-timeout", "7");
        assert_eq!(timeouts(&[haproxy]), Timeouts { read: Some(second(5)), ..Timeouts::default() });
        assert_eq!(timeouts(&[haproxy]).passthrough(), Some(second(5)));
        let both = Timeouts { read: Some(second(7)), tunnel: Some(second(7)), ..Timeouts::default() };
        assert_eq!(timeouts(&[nginx]), both, "nginx has no other time for WebSocket");
        let own = ("nearside.dev/timeout", "1500");
        let tunnel = ("haproxy.router.openshift.io/timeout-tunnel", "2h");
        let all = timeouts(&[nginx, haproxy, own, tunnel]);
        assert_eq!((all.read, all.tunnel), (Some(Duration::from_millis(1500)), Some(second(7200))));
        assert_eq!(all.passthrough(), Some(second(7200)));
        let rest = timeouts(&[
            ("nginx.ingress.kubernetes.io/proxy-connect-timeout", "3"),
            ("nginx.ingress.kubernetes.io/proxy-send-timeout", "4"),
        ]);
        assert_eq!((rest.connect, rest.send), (Some(second(3)), Some(second(4))));
    }

    #[test]
    fn no_time_at_all_is_not_a_time() {
        for written in [
            ("nginx.ingress.kubernetes.io/proxy-read-timeout", "0"),
            ("nginx.ingress.kubernetes.io/proxy-send-timeout", "30s"),
            ("haproxy.router.openshift.io/timeout", "0s"),
            ("haproxy.router.openshift.io/timeout-tunnel", "-1h"),
        ] {
            assert_eq!(read(&[written], Timeouts::read), Timeouts::default(), "{written:?}");
            assert_eq!(problems(&[written], Timeouts::read).len(), 1, "{written:?}");
        }
    }
}
