//! Whether a pod is told who its client is before the first byte of a connection: an annotation flows in, the version of the
//! PROXY protocol flows out.

use crate::annotation::{Annotations, Spelling};

/// A version of the PROXY protocol (haproxy.org, doc/proxy-protocol.txt) for connections to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToPods {
    /// The binary header.
    V2,
}

impl ToPods {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        annotations.first(&[Spelling { name: "nearside.dev/proxy-protocol", parse: version }]).flatten()
    }
}

fn version(text: &str) -> Result<Option<ToPods>, String> {
    match text {
        "v2" => Ok(Some(ToPods::V2)),
        "off" => Ok(None),
        _ => Err("is not one of v2, off".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn only_version_2_is_sent_and_only_where_it_is_asked_for() {
        let value = |text| read(&[("nearside.dev/proxy-protocol", text)], ToPods::read);
        assert_eq!((value("v2"), value("off"), value("v1")), (Some(ToPods::V2), None, None));
        assert_eq!(problems(&[("nearside.dev/proxy-protocol", "true")], ToPods::read).len(), 1);
        assert_eq!(read(&[], ToPods::read), None);
    }
}
