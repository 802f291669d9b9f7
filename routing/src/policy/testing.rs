//! What the tests of the groups share: annotations as text flow in, what a group reads from them flows out.

use crate::annotation::Annotations;
use crate::object::ObjectMeta;

/// What `read` makes of these annotations.
pub(crate) fn read<T>(written: &[(&str, &str)], read: impl FnOnce(&mut Annotations<'_>) -> T) -> T {
    read(&mut Annotations::new(&metadata(written)))
}

/// What `read` says is wrong with these annotations, and what it does not read.
pub(crate) fn problems<T>(written: &[(&str, &str)], read: impl FnOnce(&mut Annotations<'_>) -> T) -> Vec<String> {
    let metadata = metadata(written);
    let mut annotations = Annotations::new(&metadata);
    read(&mut annotations);
    annotations.into_problems().into_iter().map(|problem| problem.message).collect()
}

fn metadata(written: &[(&str, &str)]) -> ObjectMeta {
    let annotations = written.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ObjectMeta { namespace: "shop".into(), annotations, ..ObjectMeta::default() }
}
