//! Damage: records of a store that are not what was written, and what holds in their place.
//!
//! Pure: no I/O, no clock.

use std::fmt;

use super::{Note, Subject};
use crate::outcome::Quarantine;
use crate::time::Timestamp;

/// A record that was not as it had been written when a store was opened, and what was done about it.
///
/// Damaged artifacts and claims are none of these: they are found when they are read, and end with a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which record.
    pub what: String,
    /// The damage, in words.
    pub cause: String,
    /// The state that holds in its place.
    pub done: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged: {}; {}", self.what, self.cause, self.done)
    }
}

impl Note {
    /// Returns what is to be taken for granted when the note of a subject on a topic cannot be read: the
    /// decision that forbids the most. An agent is held until a caller resumes it, and the time of a run is
    /// over.
    ///
    /// `None` for a topic that tells nothing by itself.
    #[must_use]
    pub fn cautious(subject: Subject, topic: &str) -> Option<Self> {
        let unknown = Quarantine { since: Timestamp::default(), restarts: 0, resumes_at: None };
        Some(match (subject, topic) {
            (Subject::Agent(agent), "paused") => Self::AgentPaused { agent, paused: true },
            (Subject::Agent(agent), "quarantined") => Self::AgentQuarantined { agent, state: Some(unknown) },
            (Subject::Run(run), "cancelled") => Self::RunCancelled(run),
            (Subject::Run(run), "finishing") => Self::RunFinishing(run),
            (Subject::Run(run), "deadline") => Self::RunDeadline { run, at: Some(Timestamp::default()) },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::store::Filing;

    #[test]
    fn what_stands_for_an_unreadable_note_is_a_kept_note_on_its_topic() {
        let run = RunId::from_uuid(uuid::Uuid::nil());
        let agent = |topic| (Subject::Agent("clerk".into()), topic);
        let run = |topic| (Subject::Run(run), topic);
        let topics =
            [agent("paused"), agent("quarantined"), run("cancelled"), run("finishing"), run("deadline")];
        for (subject, topic) in topics {
            let note = Note::cautious(subject.clone(), topic).expect("it has a meaning");
            assert_eq!((note.subject(), note.topic(), note.filing()), (subject, topic, Filing::Keep));
        }
        assert_eq!(Note::cautious(Subject::Runtime, "stopped"), None, "it may not have stopped in order");
        assert_eq!(Note::cautious(Subject::Agent("clerk".into()), "cancelled"), None);
    }
}
