//! Limits on how much and how fast: the arithmetic of rates, pure and with the time as an argument. The sockets of
//! pods and the phases of `http` apply it.

pub(crate) mod pace;
