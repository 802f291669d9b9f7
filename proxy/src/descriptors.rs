//! File descriptors: the limit of the process flows in, raised as far as it goes, and the number of connections that fits
//! flows out, so that the proxy never runs out of them in the middle of a request. Called by `main`.

use crate::limits::SPARE_DESCRIPTORS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and gives the client connections that may be open at a time: as many as are
/// wanted, or fewer.
pub(crate) fn connections(wanted: u32) -> u32 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let connections = fitting(if raised { maximum } else { current }, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            "the limit on open files (ulimit -n) allows fewer connections than the proxy could serve"
        );
    }
    connections
}

/// Each client connection may need another one to a pod. `None` is no limit.
fn fitting(descriptors: Option<u64>, wanted: u32) -> u32 {
    let fitting = descriptors.map_or(u64::MAX, |descriptors| descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2);
    u32::try_from(fitting).map_or(wanted, |fitting| fitting.clamp(1, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_finds_a_descriptor_for_itself_and_its_pod() {
        for (descriptors, wanted, expected) in
            [(None, 50, 50), (Some(u64::MAX), 50, 50), (Some(1024), 1000, 384), (Some(1024), 50, 50), (Some(3), 50, 1)]
        {
            assert_eq!(fitting(descriptors, wanted), expected, "{descriptors:?}");
        }
    }
}
