//! Decisions from outside about agents and runs, and what else has to outlive a life of the curator.
//!
//! The ingress keeps them for the next life of the curator, notes in the store for the next life of the
//! process; a life that begins brings the two together. Nothing is kept about a run for longer than the board
//! knows the run. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::outcome::Quarantine;
use volery_blackboard::store::Note;
use volery_blackboard::{AgentIndex, AgentName, RunId, Timestamp};

use super::panics::Panics;

/// Decisions that hold, and handles that exist.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// Runs that handles exist to.
    pub(crate) handles: HashMap<RunId, Handles>,
    pub(crate) paused: BTreeSet<AgentIndex>,
    /// How often engines panicked, and whose agents are in quarantine.
    pub(crate) panics: Panics,
    /// Runs that are not over.
    pub(crate) runs: BTreeMap<RunId, RunDecision>,
    /// The notes in the store were taken over.
    reconciled: bool,
    /// The runtime is stopping and starts nothing more.
    pub(crate) held: bool,
}

/// The handles to a run, and what their owners decided.
#[derive(Clone, Debug)]
pub(crate) struct Handles {
    pub(crate) workflow: Arc<str>,
    pub(crate) count: usize,
    pub(crate) finishing: bool,
    pub(crate) cancelled: bool,
    /// Its deadline came before its end.
    pub(crate) timed_out: bool,
}

impl Handles {
    /// There is none yet.
    pub(crate) fn none(workflow: &Arc<str>) -> Self {
        let workflow = Arc::clone(workflow);
        Self { workflow, count: 0, finishing: false, cancelled: false, timed_out: false }
    }
}

/// A decision about a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunDecision {
    pub(crate) cancelled: bool,
    pub(crate) finishing: bool,
    pub(crate) deadline: Option<Timestamp>,
    /// How often it went on in another process; counted for traces only.
    pub(crate) resumed: u32,
}

impl RunDecision {
    /// Takes over an older decision.
    fn complete(&mut self, other: Self) {
        self.cancelled |= other.cancelled;
        self.finishing |= other.finishing;
        self.deadline = self.deadline.or(other.deadline);
        self.resumed = self.resumed.max(other.resumed);
    }

    /// Lists the notes that turn `other` into this.
    fn notes_beyond(self, other: Self, run: RunId) -> impl Iterator<Item = Note> {
        let cancelled = (self.cancelled && !other.cancelled).then_some(Note::RunCancelled(run));
        let finishing = (self.finishing && !other.finishing).then_some(Note::RunFinishing(run));
        let at = self.deadline.filter(|_| self.deadline != other.deadline);
        let deadline = at.map(|at| Note::RunDeadline { run, at: Some(at) });
        let times = self.resumed;
        let resumed = (times > other.resumed).then_some(Note::RunResumed { run, times });
        cancelled.into_iter().chain(finishing).chain(deadline).chain(resumed)
    }
}

/// The notes of a store, by the numbers that agents have in this program. Agents that it does not have are
/// left out, and their notes stay.
#[derive(Debug, Default)]
struct Noted {
    paused: BTreeSet<AgentIndex>,
    quarantines: BTreeMap<AgentIndex, Quarantine>,
    runs: BTreeMap<RunId, RunDecision>,
}

impl Noted {
    fn of(notes: Vec<Note>, names: &[AgentName]) -> Self {
        let mut noted = Self::default();
        let index = |name: &AgentName| (0..).map(AgentIndex).zip(names).find(|(_, known)| *known == name);
        for note in notes {
            match note {
                Note::AgentPaused { agent, paused: true } => {
                    noted.paused.extend(index(&agent).map(|(index, _)| index));
                }
                Note::AgentQuarantined { agent, state: Some(state) } => {
                    noted.quarantines.extend(index(&agent).map(|(index, _)| (index, state)));
                }
                Note::RunCancelled(run) => noted.runs.entry(run).or_default().cancelled = true,
                Note::RunFinishing(run) => noted.runs.entry(run).or_default().finishing = true,
                Note::RunDeadline { run, at } => noted.runs.entry(run).or_default().deadline = at,
                Note::RunResumed { run, times } => noted.runs.entry(run).or_default().resumed = times,
                // The others are not kept by any store, or are of a later version.
                _ => {}
            }
        }
        noted
    }
}

impl Decisions {
    /// Begins with nothing decided.
    pub(crate) fn new(panics: Panics) -> Self {
        Self { panics, ..Self::default() }
    }

    /// Brings the decisions and the store's notes together, and returns what the store has to note so that
    /// they agree.
    ///
    /// In the first life of a process the notes are all that there is. Later the decisions are newer: the
    /// life before may have ended before it wrote its decisions.
    pub(crate) fn reconcile(&mut self, notes: Vec<Note>, names: &[AgentName]) -> Vec<Note> {
        let noted = Noted::of(notes, names);
        if !self.reconciled {
            self.reconciled = true;
            self.paused.extend(&noted.paused);
            noted.quarantines.iter().for_each(|(agent, state)| self.panics.restore(*agent, *state));
        }
        let name = |agent: &AgentIndex| names.get(agent.at()).cloned().unwrap_or_default();
        let changed = self.paused.symmetric_difference(&noted.paused);
        let mut changes: Vec<Note> = changed
            .map(|agent| Note::AgentPaused { agent: name(agent), paused: self.paused.contains(agent) })
            .collect();
        let quarantines: BTreeMap<_, _> = self.panics.durable().collect();
        let either: BTreeSet<_> = quarantines.keys().chain(noted.quarantines.keys()).collect();
        for agent in either {
            let (state, before) = (quarantines.get(agent), noted.quarantines.get(agent));
            if state != before {
                changes.push(Note::AgentQuarantined { agent: name(agent), state: state.copied() });
            }
        }
        for (run, before) in &noted.runs {
            self.runs.entry(*run).or_default().complete(*before);
        }
        for (run, decided) in &self.runs {
            let before = noted.runs.get(run).copied().unwrap_or_default();
            changes.extend(decided.notes_beyond(before, *run));
        }
        changes
    }

    /// Remembers what the next life of the curator has to know of an input.
    pub(crate) fn note(&mut self, input: &Input) {
        match input {
            Input::Pause(agent) => {
                self.paused.insert(*agent);
            }
            Input::Resume(agent) => {
                self.paused.remove(agent);
                self.panics.lift(*agent);
            }
            Input::Hold => self.held = true,
            Input::DeadlineRun { run, at } => self.runs.entry(*run).or_default().deadline = Some(*at),
            Input::FinishRun(run) => {
                self.runs.entry(*run).or_default().finishing = true;
                self.handles.get_mut(run).into_iter().for_each(|handles| handles.finishing = true);
            }
            Input::CancelRun(run) => {
                self.runs.entry(*run).or_default().cancelled = true;
                self.handles.get_mut(run).into_iter().for_each(|handles| handles.cancelled = true);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::panics::Panics;
    use super::*;
    use crate::intensity::{PastIntensity, Rule};
    use crate::supervision::Intensity;

    const PAUSED: AgentIndex = AgentIndex(1);

    fn names() -> Vec<AgentName> {
        ["zero", "one"].map(AgentName::from).to_vec()
    }

    fn decisions(past: PastIntensity) -> Decisions {
        let rule = Rule { intensity: Intensity::default(), past };
        Decisions { panics: Panics::new([rule, rule]), ..Decisions::default() }
    }

    fn run() -> RunId {
        RunId::from_uuid(Uuid::from_u128(1))
    }

    fn quarantine() -> Quarantine {
        Quarantine { since: Timestamp::default(), restarts: 4, resumes_at: None }
    }

    fn paused(agent: &str, paused: bool) -> Note {
        Note::AgentPaused { agent: agent.into(), paused }
    }

    #[test]
    fn the_first_life_takes_over_what_the_store_has_noted() {
        let mut decisions = decisions(PastIntensity::default());
        let state = Some(quarantine());
        let notes = vec![
            paused("one", true),
            paused("gone", true),
            Note::AgentQuarantined { agent: "zero".into(), state },
            Note::RunFinishing(run()),
            Note::RunDeadline { run: run(), at: Some(Timestamp::default()) },
        ];
        assert_eq!(decisions.reconcile(notes, &names()), [], "they agree already");
        assert_eq!(decisions.paused, [PAUSED].into());
        assert_eq!(decisions.panics.quarantines(), [(AgentIndex(0), quarantine())]);
        let deadline = Some(Timestamp::default());
        let decided = RunDecision { cancelled: false, finishing: true, deadline, resumed: 0 };
        assert_eq!(decisions.runs, [(run(), decided)].into());
    }

    #[test]
    fn a_later_life_has_the_store_note_what_it_lacks() {
        let mut decisions = decisions(PastIntensity::default());
        decisions.reconcile(Vec::new(), &names());
        decisions.note(&Input::Pause(PAUSED));
        decisions.note(&Input::CancelRun(run()));
        let wanted = [paused("one", true), Note::RunCancelled(run())];
        assert_eq!(decisions.reconcile(Vec::new(), &names()), wanted);
        decisions.note(&Input::Resume(PAUSED));
        assert_eq!(decisions.reconcile(wanted.to_vec(), &names()), [paused("one", false)]);
        let lifted = Note::AgentQuarantined { agent: "zero".into(), state: None };
        let noted = vec![
            Note::RunCancelled(run()),
            Note::AgentQuarantined { agent: "zero".into(), state: Some(quarantine()) },
        ];
        assert_eq!(decisions.reconcile(noted, &names()), [lifted]);
    }

    #[test]
    fn an_escalation_is_not_noted() {
        let mut decisions = decisions(PastIntensity::Escalate);
        decisions.reconcile(Vec::new(), &names());
        decisions.panics.restore(AgentIndex(0), quarantine());
        assert_eq!(decisions.reconcile(Vec::new(), &names()), []);
    }
}
