//! The curator: owner of the board and its only writer.
//!
//! Publishers, attempts and handles leave commands in its [`Ingress`]; it takes what is there, commits it together,
//! tells the board, and performs what the board wants done. A restarted curator reads its board back from the store.

mod actor;
mod after;
mod effects;
mod ending;
mod ingress;
mod letters;
mod notes;
mod paging;
mod recovery;
mod refusal;
mod restarts;
mod scope;
mod timekeeper;

pub(crate) use actor::{Curator, CuratorMessage, CuratorParts};
pub(crate) use ingress::{Ingress, Limits, Question};
pub(crate) use letters::LetterDecision;
pub use recovery::Recovered;
pub(crate) use restarts::Restarts;
pub(crate) use scope::Scope;
pub(crate) use timekeeper::{Timekeeper, TimekeeperMessage};
