//! The curator's actor: its state, its turns, and its mailbox.
//!
//! Its state is the board, which it reads back from the store when it is restarted. It calls no engine,
//! predicate or other closure of the user; payloads that a store lets go are dropped in its thread.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Wake` | takes turns until no command and no write is left | a store that cannot be read at restart ends the life |

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use volery_blackboard::board::Board;
use volery_blackboard::effect::Effect;
use volery_blackboard::input::Input;
use volery_blackboard::store::{Few, StoreError, Stored, Write};
use volery_blackboard::{Offset, RunId, Tally, Timestamp};

use super::log::LogReads;
use super::parts::CuratorParts;
use super::recovery::{Recovery, end_runs_gone, restore};
use super::step::{Action, ArtifactClaims, Record, Step, Then};
use super::timekeeper::TimekeeperMessage;
use crate::fault::Fault;
use crate::ingress::{Command, PublishAnswer, Until, Wake, reply};
use crate::observer::Committed;
use crate::supervision::Life;

/// Commands of either sort per commit. A thousand rows amortise a commit fully; more would only delay the
/// first of them.
const COMMANDS_PER_COMMIT: usize = 1_000;

/// Commits in one turn. The curator then reads its mailbox, so that a flood of commands cannot keep it from
/// being stopped.
const COMMITS_PER_TURN: usize = 32;

/// When a store that refused a commit is tried again if nothing else is written. A tenth would fill the log;
/// ten times as much would make a drain wait for a store that is long back.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One life of the curator.
pub(crate) struct Curator {
    pub(super) parts: Arc<CuratorParts>,
    pub(super) board: Board,
    /// The next commit.
    pub(super) steps: Vec<Step>,
    pub(super) effects: Vec<Effect>,
    /// Kept between turns to save allocations.
    entered: VecDeque<Command>,
    others: VecDeque<Command>,
    /// Which life this is; agents take jobs of the latest only.
    pub(super) epoch: u64,
    /// The time of this turn: one reading serves all that happens in it.
    pub(super) now: Timestamp,
    /// Publishers to be answered.
    pub(super) answers: Vec<(PublishAnswer, Result<Few<Stored>, StoreError>)>,
    /// Runs that are quiescent once everything about them is committed, and their outcomes.
    pub(super) quiescent: Vec<(RunId, Tally)>,
    /// When the timekeeper sends the next tick.
    pub(super) armed: Option<Timestamp>,
    /// The commit that is being applied.
    pub(super) committed: Committed,
    /// Kept between dispatches to save allocations.
    pub(super) offsets: Vec<Offset>,
    /// Records that the store refused, to be written when it works.
    pub(super) unwritten: Vec<Record>,
    /// Runs that something was decided about.
    pub(super) decided: BTreeSet<RunId>,
    pub(super) log_reads: LogReads,
    /// The store refused a commit; nothing is started until a tick finds it working again.
    pub(super) store_down: bool,
    /// Starts stand in the steps of a commit: a job without a record goes to its agent behind them.
    pub(super) starts_wait: bool,
    /// When starts are recorded whose attempts have lasted for a while, if there may be such.
    pub(super) record_at: Option<Timestamp>,
    /// Starts of attempts that began by then are recorded.
    pub(super) recorded_until: Timestamp,
}

impl Curator {
    /// Begins a life: reads the board back from the store.
    pub(crate) async fn begin(parts: Arc<CuratorParts>) -> Result<Self, Fault> {
        let Recovery { board, effects, notes } = restore(&parts).await?;
        let now = parts.clock.now();
        end_runs_gone(&parts, &board, now).await?;
        // Callers that waited when the life before ended are answered by this one.
        let quiescent = parts.ingress.waiters().runs().map(|run| (run, Tally::default())).collect();
        let decided = parts.ingress.decisions().runs.keys().copied().collect();
        let epoch = parts.ingress.begin_epoch();
        let mut curator = Self {
            epoch,
            parts,
            board,
            steps: Vec::new(),
            effects,
            entered: VecDeque::new(),
            others: VecDeque::new(),
            now,
            answers: Vec::new(),
            quiescent,
            armed: None,
            committed: Committed::at(now),
            offsets: Vec::new(),
            unwritten: Vec::new(),
            decided,
            log_reads: LogReads::default(),
            store_down: false,
            starts_wait: false,
            record_at: None,
            recorded_until: Timestamp::MIN,
        };
        notes.into_iter().for_each(|note| curator.write_note(note));
        Ok(curator)
    }

    /// Takes commands and commits until nothing is left, or it is time to look into the mailbox.
    async fn turn(&mut self) {
        self.parts.ingress.awake();
        for _ in 0..COMMITS_PER_TURN {
            self.now = self.parts.clock.now();
            // Before the ends of attempts are taken, so that no record of a start comes after the end.
            self.record_starts();
            self.take_commands();
            if self.steps.is_empty() {
                self.idle();
                return;
            }
            // Runs that become quiescent by this commit wait for the next one, which writes what was decided
            // about them.
            let quiescent = std::mem::take(&mut self.quiescent);
            self.commit().await;
            self.answer_waiters(quiescent);
            self.perform_effects();
        }
        self.answer_publishers();
        self.arm_timekeeper();
        self.parts.ingress.wake();
    }

    fn take_commands(&mut self) {
        let (mut entered, mut others) = (std::mem::take(&mut self.entered), std::mem::take(&mut self.others));
        self.parts.ingress.take(COMMANDS_PER_COMMIT, &mut entered, &mut others);
        others.drain(..).chain(entered.drain(..)).for_each(|command| self.prepare(command));
        (self.entered, self.others) = (entered, others);
    }

    /// Everything is committed: tells those who wait, and when to be woken next.
    fn idle(&mut self) {
        debug_assert_eq!(self.board.audit_if_small(), Ok(()), "the board counts everything once");
        self.answer_publishers();
        self.parts.ingress.count_backlog(self.board.queued(), self.board.collected());
        self.arm_timekeeper();
        let quiescent = std::mem::take(&mut self.quiescent);
        self.answer_waiters(quiescent);
        self.parts.ingress.waiters().answer_idle(&self.board);
    }

    /// Tells who waits for room, or for one of these runs: all that was decided about them is committed.
    fn answer_waiters(&self, quiescent: Vec<(RunId, Tally)>) {
        let mut waiters = self.parts.ingress.waiters();
        waiters.answer_room(&self.board);
        waiters.answer_quiescent(&self.board, quiescent);
    }

    /// Answers all publishers together: waking them one by one while there is work to do here would wake and
    /// put to sleep the other worker threads over and over.
    pub(super) fn answer_publishers(&mut self) {
        self.answers.drain(..).for_each(|(publisher, answer)| reply(publisher, answer));
    }

    /// Makes a step of a command.
    fn prepare(&mut self, command: Command) {
        match command {
            Command::Publish { artifacts, answer, observed } => {
                let claims = ArtifactClaims::of(&artifacts);
                self.write(Write::Publish(artifacts), Then::Published { claims, answer, observed });
            }
            Command::Ended(ended) => self.prepare_end(ended),
            Command::Letter(decision) => self.prepare_letter(decision),
            Command::Input(input) => self.prepare_input(input),
            Command::RunResumed(run, times) => self.prepare_run_resumed(run, times),
            Command::SpanNote(note) => self.write(Write::Note(note.note()), Then::SpanNoted(note)),
            Command::Ask(question) => self.plan(Action::Ask(question)),
            Command::Wait { until, answer } => self.add_waiter(until, answer),
        }
    }

    /// Adds a caller that waits. The commands before it reach the board with the next commit; a run is looked
    /// at after it.
    fn add_waiter(&mut self, until: Until, answer: oneshot::Sender<Tally>) {
        self.parts.ingress.waiters().add(until, answer);
        if let Until::Quiescent(run) = until {
            self.plan(Action::Check(run));
        }
    }

    /// Adds a write to the next commit.
    pub(super) fn write(&mut self, write: Write, then: Then) {
        self.steps.push(Step::Write { write: Some(write), then });
    }

    /// Adds a write that is kept until the store accepts it.
    pub(super) fn write_record(&mut self, record: Record) {
        self.write(record.write(), Then::Recorded(record));
    }

    /// Adds what needs no record.
    pub(super) fn plan(&mut self, action: Action) {
        self.steps.push(Step::Act(action));
    }

    /// Tells the board.
    pub(super) fn handle(&mut self, input: Input) {
        self.board.handle(input, self.now, &mut self.effects);
    }

    /// Tells the board one input of many in a commit; it concludes once for all of them.
    pub(super) fn take(&mut self, input: Input) {
        self.board.take(input, self.now, &mut self.effects);
    }

    fn arm_timekeeper(&mut self) {
        // While the store is down there may be nothing left to write; the next tick tries again, sweeps or
        // not.
        let again = self.store_down.then(|| self.now.after(TRY_AGAIN_AFTER));
        let record_at = self.record_at.filter(|_| !self.store_down);
        let deadlines = [self.board.next_deadline(), again, record_at];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        // A timer that is armed too early costs one idle tick; re-arming for every later deadline would cost
        // more.
        if self.armed.is_some_and(|armed| armed <= next) {
            return;
        }
        if self.parts.timekeeper.send(TimekeeperMessage::Arm(next)).is_ok() {
            self.armed = Some(next);
        }
    }
}

impl Life for Curator {
    type Message = Wake;

    async fn started(&mut self) -> Result<(), Fault> {
        // Recovery may have found jobs to start, and commands may have come while no curator lived.
        self.perform_effects();
        self.turn().await;
        Ok(())
    }

    async fn handle(&mut self, _: Wake) -> Result<(), Fault> {
        // Lets every publisher and attempt that is ready to run leave its command first, so that one commit
        // takes them all; in an idle runtime it costs a microsecond.
        tokio::task::yield_now().await;
        self.turn().await;
        Ok(())
    }
}
