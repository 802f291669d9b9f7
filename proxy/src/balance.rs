//! Choice among endpoints: candidates with weights and loads flow in, the place of the chosen one flows out. Pure but for
//! the turns, which are counted on. `routes` says how each rule chooses, `choose` does it, `rotation` counts turns; `backends`
//! asks.

mod choose;
mod cookie;
mod random;
mod rotation;
mod routes;

pub(crate) use choose::{Candidate, Method, choose, hash};
pub(crate) use cookie::{AffinityCookie, CookieValue};
pub(crate) use random::Random;
pub(crate) use rotation::Rotation;
pub(crate) use routes::{BalanceDefaults, RouteBalance, RouteBalances};
