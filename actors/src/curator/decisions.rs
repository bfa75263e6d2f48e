//! Decisions from outside about agents and runs (pauses, cancellations, deadlines), kept so that they outlive the process.
//!
//! The ingress keeps them for the next life of the curator, notes in the store for the next life of the process; a life
//! that begins brings the two together. Nothing is kept about a run for longer than the board knows the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::outcome::Quarantine;
use volery_blackboard::store::{Filing, Note, Write};
use volery_blackboard::{AgentIndex, AgentName, RunId, Timestamp};

use super::actor::Curator;
use super::ingress::{Command, Ingress, Watch};
use super::step::{Action, Record, Then};
use crate::feed::Event;
use crate::seen::SeenNote;

/// What was decided about a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) cancelled: bool,
    pub(super) finishing: bool,
    pub(super) deadline: Option<Timestamp>,
    /// How often it went on in another process, as far as somebody looks.
    pub(super) resumed: u32,
}

impl Decided {
    /// Takes over what another list has; what is here is newer.
    fn complete(&mut self, other: Self) {
        self.cancelled |= other.cancelled;
        self.finishing |= other.finishing;
        self.deadline = self.deadline.or(other.deadline);
        self.resumed = self.resumed.max(other.resumed);
    }

    /// What has to be noted so that a list which has `other` has this.
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

/// What a store has noted, by the numbers that agents have in this program. Agents that it does not have are left out, and
/// their notes stay.
#[derive(Debug, Default)]
struct Noted {
    paused: BTreeSet<AgentIndex>,
    quarantines: BTreeMap<AgentIndex, Quarantine>,
    runs: BTreeMap<RunId, Decided>,
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

impl Watch {
    /// Brings the watch list and the store's notes together, and returns what the store has to note so that they agree.
    ///
    /// In the first life of a process the notes are all that there is. Later the list is newer: the life before may have
    /// ended before it wrote what it had been told.
    pub(super) fn reconcile(&mut self, notes: Vec<Note>, names: &[AgentName]) -> Vec<Note> {
        let noted = Noted::of(notes, names);
        if !std::mem::replace(&mut self.reconciled, true) {
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
            self.decided.entry(*run).or_default().complete(*before);
        }
        for (run, decided) in &self.decided {
            let before = noted.runs.get(run).copied().unwrap_or_default();
            changes.extend(decided.notes_beyond(before, *run));
        }
        changes
    }

    /// Remembers what the next life of the curator has to know of an input.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::Pause(agent) => {
                self.paused.insert(*agent);
            }
            Input::Resume(agent) => {
                self.paused.remove(agent);
                self.panics.lift(*agent);
            }
            Input::Hold => self.held = true,
            Input::DeadlineRun { run, at } => self.decided.entry(*run).or_default().deadline = Some(*at),
            Input::FinishRun(run) => {
                self.decided.entry(*run).or_default().finishing = true;
                self.pins.get_mut(run).into_iter().for_each(|pin| pin.finishing = true);
            }
            Input::CancelRun(run) => {
                self.decided.entry(*run).or_default().cancelled = true;
                self.pins.get_mut(run).into_iter().for_each(|pin| pin.cancelled = true);
            }
            _ => {}
        }
    }
}

impl Ingress {
    /// Has a note about what is seen written.
    pub(crate) fn seen_note(&self, note: Note, seen: SeenNote) {
        self.push(Command::SeenNote(note, seen));
    }
}

impl Curator {
    /// Has the board told, and what must outlive the process written.
    pub(super) fn prepare_input(&mut self, input: Input) {
        let note = match &input {
            Input::Pause(agent) => Some(self.pause_note(*agent, true)),
            Input::Resume(agent) => Some(self.pause_note(*agent, false)),
            Input::CancelRun(run) => Some(Note::RunCancelled(*run)),
            Input::FinishRun(run) => Some(Note::RunFinishing(*run)),
            Input::DeadlineRun { run, at } => Some(Note::RunDeadline { run: *run, at: Some(*at) }),
            _ => None,
        };
        if let Some(run) = decided_run(&input) {
            self.decided.insert(run);
        }
        if let Some(note) = note {
            self.write_note(note);
        }
        self.plan(Action::Input(input));
    }

    /// Writes a note about what is seen of the runtime.
    pub(super) fn prepare_seen_note(&mut self, note: Note, seen: SeenNote) {
        if let Note::RunResumed { run, times } = note {
            self.decided.insert(run);
            self.parts.ingress.watch().decided.entry(run).or_default().resumed = times;
        }
        self.write(Write::Note(note), Then::SeenNoted(seen));
    }

    fn pause_note(&self, agent: AgentIndex, paused: bool) -> Note {
        Note::AgentPaused { agent: self.parts.feed.name(agent), paused }
    }

    /// Writes a note; one that the store refuses is written again when it works, unless a newer one stands for it.
    pub(super) fn write_note(&mut self, note: Note) {
        let replaced = |older: &Note| {
            older.subject() == note.subject()
                && (older.topic() == note.topic() || note.filing() == Filing::RemoveAll)
        };
        self.unwritten.retain(|record| match record {
            Record::Note(older) => !replaced(older),
            Record::Claim(_) | Record::Job(_) => true,
        });
        self.write_record(Record::Note(note));
    }

    /// Writes whether an agent is in quarantine. An escalation is none: it asks for a process that begins anew.
    pub(super) fn note_quarantine(&mut self, agent: AgentIndex, state: Option<Quarantine>) {
        let agent = self.parts.feed.name(agent);
        self.write_note(Note::AgentQuarantined { agent, state });
    }

    /// A quarantine is over.
    pub(super) fn note_resumed(&mut self, agent: AgentIndex) {
        self.parts.ingress.watch().panics.lift(agent);
        self.note_quarantine(agent, None);
        let name = self.parts.feed.name(agent);
        tracing::warn!(target: "volery::agent", agent = %name, "the agent is given jobs again");
        self.parts.feed.tell(|| Event::Resumed { agent: name });
    }

    /// A run is being cancelled, because its time is over.
    pub(super) fn note_timed_out(&self, run: RunId, workflow: Arc<str>) {
        if let Some(pin) = self.parts.ingress.watch().pins.get_mut(&run) {
            pin.timed_out = true;
        }
        self.parts.seen.cancel_requested(run, "deadline", self.now);
        self.parts.seen.scope_of(run).call(|| {
            tracing::warn!(target: "volery::curator", %run, workflow = &*workflow, "a run is cancelled at its deadline");
        });
        self.parts.feed.tell(|| Event::RunTimedOut { run, workflow });
    }

    /// Tells the board, and forgets the notes on a run that it does not know, or knows no more.
    pub(super) fn handle_decided(&mut self, input: Input) {
        let run = match &input {
            Input::ReleaseRun(run) | Input::SpilledCancelled { run, .. } => Some(*run),
            other => decided_run(other),
        };
        self.handle(input);
        if let Some(run) = run.filter(|run| !self.board.knows(*run)) {
            self.forget_run(run);
        }
    }

    /// A run is over: nothing about it has to be kept for another life.
    pub(super) fn forget_run(&mut self, run: RunId) {
        if self.decided.remove(&run) {
            self.parts.ingress.watch().decided.remove(&run);
            self.write_note(Note::RunSettled(run));
        }
    }
}

fn decided_run(input: &Input) -> Option<RunId> {
    match input {
        Input::CancelRun(run) | Input::FinishRun(run) | Input::DeadlineRun { run, .. } => Some(*run),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::panics::Panics;
    use super::*;
    use crate::agent::{PastIntensity, Rule};
    use crate::supervision::Intensity;

    const PAUSED: AgentIndex = AgentIndex(1);

    fn names() -> Vec<AgentName> {
        ["zero", "one"].map(AgentName::from).to_vec()
    }

    fn watch(past: PastIntensity) -> Watch {
        let rule = Rule { intensity: Intensity::default(), past };
        Watch { panics: Panics::new([rule, rule]), ..Watch::default() }
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
        let mut watch = watch(PastIntensity::default());
        let state = Some(quarantine());
        let notes = vec![
            paused("one", true),
            paused("gone", true),
            Note::AgentQuarantined { agent: "zero".into(), state },
            Note::RunFinishing(run()),
            Note::RunDeadline { run: run(), at: Some(Timestamp::default()) },
        ];
        assert_eq!(watch.reconcile(notes, &names()), [], "they agree already");
        assert_eq!(watch.paused, [PAUSED].into());
        assert_eq!(watch.panics.quarantines(), [(AgentIndex(0), quarantine())]);
        let deadline = Some(Timestamp::default());
        let decided = Decided { cancelled: false, finishing: true, deadline, resumed: 0 };
        assert_eq!(watch.decided, [(run(), decided)].into());
    }

    #[test]
    fn a_later_life_has_the_store_note_what_it_lacks() {
        let mut watch = watch(PastIntensity::default());
        watch.reconcile(Vec::new(), &names());
        watch.note(&Input::Pause(PAUSED));
        watch.note(&Input::CancelRun(run()));
        let wanted = [paused("one", true), Note::RunCancelled(run())];
        assert_eq!(watch.reconcile(Vec::new(), &names()), wanted);
        watch.note(&Input::Resume(PAUSED));
        assert_eq!(watch.reconcile(wanted.to_vec(), &names()), [paused("one", false)]);
        let lifted = Note::AgentQuarantined { agent: "zero".into(), state: None };
        let noted = vec![
            Note::RunCancelled(run()),
            Note::AgentQuarantined { agent: "zero".into(), state: Some(quarantine()) },
        ];
        assert_eq!(watch.reconcile(noted, &names()), [lifted]);
    }

    #[test]
    fn an_escalation_is_not_noted() {
        let mut watch = watch(PastIntensity::Escalate);
        watch.reconcile(Vec::new(), &names());
        watch.panics.restore(AgentIndex(0), quarantine());
        assert_eq!(watch.reconcile(Vec::new(), &names()), []);
    }
}
