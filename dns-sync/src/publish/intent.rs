//! What should stand at a name: made from the objects by the guards, the same for every server; an input of the plan.

use super::observed::RecordSets;
use crate::desired::ObjectKey;

/// What is to be done about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// These records should stand there. Never none.
    Publish(DesiredName),
    /// What is ours there should go; that it may has been confirmed.
    Withdraw {
        /// The highest generation that the name was asked for with. What has a higher one was asked for again by somebody.
        generation: u64,
    },
    /// Whatever stands there stays as it is, also if it differs.
    Hold(Hold),
}

/// The records of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredName {
    /// Never empty.
    pub sets: RecordSets,
    /// The generation of the object ([`crate::desired::DesiredObject::generation`]); of several objects the highest.
    pub generation: u64,
    /// The object that asks for it; of several the first. Status and Events are about it.
    pub object: ObjectKey,
}

/// Why a name is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Hold {
    /// The source does not tell what it has: it is not read yet, dead for too long, or may not be read.
    #[error("the source of the objects is not heard")]
    SourceSilent,
    /// No object asks for the name any more, and nobody has said that its object was deleted.
    #[error("no object asks for it, and none was seen to be deleted")]
    Unconfirmed,
    /// Its object was deleted a moment ago: it goes in a moment, unless it is asked for again.
    #[error("its object is deleted; it goes in a moment")]
    Lingering,
    /// Too many names or addresses would go at once.
    #[error("{going} of {of} names would go at once")]
    TooMany {
        /// How many would go.
        going: usize,
        /// Of how many.
        of: usize,
    },
}
