//! The curator: owner of the board and its only writer.
//!
//! Publishers, attempts and handles leave commands in the [ingress](crate::ingress). The curator takes turns:
//!
//! ```text
//! take      commands from the ingress, in order                               ingress.rs
//! prepare   commands become steps: a write, or an action                      ends.rs, letters.rs, decisions.rs
//! commit    the writes of all steps, in one commit; waits for the store       commit.rs
//! apply     each step in order, with the store's answer to it: traces,        apply.rs, refusal.rs
//!           the feed and the board get them, and jobs go to agents            dispatch.rs
//! read      pages and counts that the board asks of the log; waits as well    log.rs
//! perform   effects of the board become steps; take again                     effects.rs
//! idle      no step is left: waiters are answered, the timekeeper is armed    actor.rs
//! ```
//!
//! Only `commit` and `read` wait, and for nothing but the store; commands that come meanwhile stay in the
//! ingress. The data of a step is in `step.rs`. A curator that begins a life reads its board back from the
//! store (`recovery.rs`) and from what the ingress kept.

mod actor;
mod apply;
mod commit;
mod decisions;
mod dispatch;
mod effects;
mod ends;
mod letters;
mod log;
mod parts;
mod recovery;
mod refusal;
mod starts;
mod step;
mod timekeeper;

pub(crate) use actor::Curator;
pub(crate) use parts::{AgentHandle, CuratorParts};
pub(crate) use timekeeper::{Timekeeper, TimekeeperMessage};
