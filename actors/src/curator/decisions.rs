//! Decisions from outside (pauses, cancellations, deadlines), made into steps of the next commit.
//!
//! Each is an input of the board, and a note of it is written, so that it outlives the process.

use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::outcome::Quarantine;
use volery_blackboard::store::{Filing, Note};
use volery_blackboard::{AgentIndex, RunId};

use super::actor::Curator;
use super::step::{Action, Record};
use crate::feed::Event;

impl Curator {
    /// Makes the steps of a decision: the board's input, and the note that outlives the process.
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

    /// Writes how often a run went on in another process.
    pub(super) fn prepare_run_resumed(&mut self, run: RunId, times: u32) {
        self.decided.insert(run);
        self.parts.ingress.decisions().runs.entry(run).or_default().resumed = times;
        self.write_note(Note::RunResumed { run, times });
    }

    fn pause_note(&self, agent: AgentIndex, paused: bool) -> Note {
        Note::AgentPaused { agent: self.parts.feed.name(agent), paused }
    }

    /// Writes a note; one that the store refuses is written again when it works, unless a newer one stands
    /// for it.
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

    /// Writes whether an agent is in quarantine. An escalation is none: it asks for a process that begins
    /// anew.
    pub(super) fn note_quarantine(&mut self, agent: AgentIndex, state: Option<Quarantine>) {
        let agent = self.parts.feed.name(agent);
        self.write_note(Note::AgentQuarantined { agent, state });
    }

    /// A quarantine is over.
    pub(super) fn note_resumed(&mut self, agent: AgentIndex) {
        self.parts.ingress.decisions().panics.lift(agent);
        self.note_quarantine(agent, None);
        let name = self.parts.feed.name(agent);
        tracing::warn!(target: "volery::agent", agent = %name, "the agent is given jobs again");
        self.parts.feed.tell(|| Event::Resumed { agent: name });
    }

    /// A run is being cancelled, because its time is over.
    pub(super) fn note_timed_out(&self, run: RunId, workflow: Arc<str>) {
        if let Some(handles) = self.parts.ingress.decisions().handles.get_mut(&run) {
            handles.timed_out = true;
        }
        self.parts.observer.cancel_requested(run, "deadline", self.now);
        self.parts.observer.scope_of(run).call(|| {
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
            self.parts.ingress.decisions().runs.remove(&run);
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
