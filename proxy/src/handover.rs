//! One proxy takes the listening sockets of another on the same node over, so that an upgrade resets nothing: a place where both meet
//! flows in, sockets and the keys of session tickets flow from the old process to the new one. `main` asks with [`inherit`] before it
//! binds, and is there for the next process by [`Neighbours`] from when it serves.
//!
//! | who | says | then |
//! |---|---|---|
//! | new | `Hello` | |
//! | old | `Offer`, with a copy of every listening socket | accepts on |
//! | new | `Ready`, once it is: which sockets it uses | accepts on these already |
//! | old | `Resting` | accepts no more on these, asks its clients to go, and waits for SIGTERM |
//! | new | `PassedOn`, once a third process has them | |
//!
//! Whatever else happens before `Ready`, an end, silence or garbage, changes nothing for the old process. When the connection ends
//! after it without `PassedOn`, the new process is gone, and the old one accepts again.

mod channel;
mod give;
mod message;
mod neighbours;
mod place;
mod take;

pub(crate) use neighbours::{Neighbours, inherit};
pub(crate) use place::Place;
pub(crate) use take::Inherited;

/// What is counted of handovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This process has taken sockets over.
    Taken,
    /// It has handed them over.
    Given,
    /// It has taken them back from a process that is gone.
    TakenBack,
    /// Nothing came of it.
    Failed,
}

impl Event {
    /// For the metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Given => "given",
            Self::TakenBack => "taken_back",
            Self::Failed => "failed",
        }
    }
}
