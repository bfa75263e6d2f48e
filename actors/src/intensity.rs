//! The intensity of an agent: how many panics of its engines are tolerated, and what follows when there are
//! more.
//!
//! Data only; the curator counts. Pure: no I/O, no clock.

use std::time::Duration;

use crate::supervision::Intensity;

/// The consequence when the engines of an agent panic more often than its intensity allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PastIntensity {
    /// No job of the agent starts any more; those that run finish. The jobs wait and say so, until a caller
    /// resumes the agent, or until this time has passed. Either way its count of panics begins anew.
    Quarantine {
        /// How long the quarantine lasts; without a time, until the agent is resumed. At least 1 ms.
        resume_after: Option<Duration>,
    },
    /// The whole runtime stops, in order, so that whatever runs the process starts it anew. No job of the
    /// agent starts any more.
    Escalate,
}

impl Default for PastIntensity {
    /// A quarantine that lasts until a resume.
    fn default() -> Self {
        Self::Quarantine { resume_after: None }
    }
}

/// The rule of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) intensity: Intensity,
    pub(crate) past: PastIntensity,
}
