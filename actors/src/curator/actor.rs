//! The curator's actor: takes commands, commits them together, tells the board, performs its effects.
//!
//! Its state is the board, which it reads back from the store when it is restarted. It calls no engine, predicate or other
//! closure of the user; payloads that a store lets go are dropped in its thread.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Wake` | takes turns until no command and no write is left | a store that cannot be read at restart ends the life |

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use volery_blackboard::board::Board;
use volery_blackboard::claim::Published;
use volery_blackboard::effect::Effect;
use volery_blackboard::input::Input;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Batch, Commit, Few, Group, GroupResult, Store, StoreError, Stored};
use volery_blackboard::{JobId, Offset, RunId, Tally, Timestamp};

use super::after::{After, Claims, PublishAnswer, Unsettled, claims_of, give, join};
use super::ingress::{Command, Ingress, Question};
use super::paging::Lookups;
use super::recovery::{Restored, end_what_is_gone, restore};
use super::scope::Scope;
use super::timekeeper::TimekeeperMessage;
use crate::agent::AgentMessage;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::feed::{Event, Feed};
use crate::seen::{Committed, End, Seen};
use crate::supervision::{Address, Life};

/// Commands per commit. A thousand rows amortise a commit fully; more would only delay the first of them.
const COMMANDS_PER_COMMIT: usize = 1_000;

/// Commits in one turn. The curator then lets its mailbox speak, so that a flood of commands cannot keep it from being
/// stopped.
const COMMITS_PER_TURN: usize = 32;

/// When a store that refused a commit is tried again if nothing else is written. A tenth would fill the log; ten times as
/// much would make a drain wait for a store that is long back.
pub(super) const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the curator's mailbox carries; the load is in the ingress.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CuratorMessage {
    /// There is something in the ingress.
    Wake,
}

/// What every life of the curator works with.
pub(crate) struct CuratorParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed,
    pub(crate) agents: Vec<Address<AgentMessage>>,
    pub(crate) timekeeper: Address<TimekeeperMessage>,
    pub(crate) seen: Arc<Seen>,
    /// Returns a board with every agent and subscription, and nothing on it.
    pub(crate) board: Box<dyn Fn() -> Board + Send + Sync>,
}

/// One life of the curator.
pub(crate) struct Curator {
    pub(super) parts: Arc<CuratorParts>,
    pub(super) board: Board,
    /// Writes for the next commit, and what to do once they are done, in the same order.
    batch: Batch,
    pub(super) after: Vec<After>,
    pub(super) effects: Vec<Effect>,
    commands: VecDeque<Command>,
    /// Which life this is; agents take jobs of the latest only.
    epoch: u64,
    /// The time of this turn: one reading serves all that happens in it.
    pub(super) now: Timestamp,
    /// Publishers to be answered.
    pub(super) answers: Vec<(PublishAnswer, Result<Few<Stored>, StoreError>)>,
    /// Runs to be told of as quiet, once everything about them is committed.
    pub(super) quiet: Vec<(RunId, Tally)>,
    /// Runs that somebody asked about in this commit.
    asked: Vec<RunId>,
    armed: Option<Timestamp>,
    /// The commit that is being told of.
    pub(super) committed: Committed,
    /// Kept between dispatches to save allocations.
    offsets: Vec<Offset>,
    /// Outcomes that the store refused.
    pub(super) unsettled: Vec<Unsettled>,
    /// Runs that something was decided about.
    pub(super) noted: BTreeSet<RunId>,
    pub(super) lookups: Lookups,
    /// The store refused a commit; nothing is started until a tick finds it working again.
    store_down: bool,
}

impl Curator {
    /// Begins a life: reads the board back from the store.
    pub(crate) async fn begin(parts: Arc<CuratorParts>) -> Result<Self, Fault> {
        let Restored { board, effects, notes } = restore(&parts).await?;
        let now = parts.clock.now();
        end_what_is_gone(&parts, &board, now).await?;
        // Whoever waited when the life before ended is told by this one.
        let (quiet, noted) = {
            let watch = parts.ingress.watch();
            let quiet = watch.runs.keys().map(|run| (*run, Tally::default())).collect();
            (quiet, watch.decided.keys().copied().collect())
        };
        let epoch = parts.ingress.begin_epoch();
        let mut curator = Self {
            epoch,
            parts,
            board,
            batch: Batch::default(),
            after: Vec::new(),
            effects,
            commands: VecDeque::new(),
            now,
            answers: Vec::new(),
            quiet,
            asked: Vec::new(),
            armed: None,
            committed: Committed::at(now),
            offsets: Vec::new(),
            unsettled: Vec::new(),
            noted,
            lookups: Lookups::default(),
            store_down: false,
        };
        notes.into_iter().for_each(|note| curator.write_note(note));
        Ok(curator)
    }

    /// Takes what is there until nothing is left, or it is time to let the mailbox speak.
    async fn turn(&mut self) {
        self.parts.ingress.awake();
        for _ in 0..COMMITS_PER_TURN {
            self.now = self.parts.clock.now();
            self.parts.ingress.take(COMMANDS_PER_COMMIT, &mut self.commands);
            let mut commands = std::mem::take(&mut self.commands);
            commands.drain(..).for_each(|command| self.prepare(command));
            self.commands = commands;
            self.perform_effects();
            let asked = std::mem::take(&mut self.asked).into_iter().map(|run| (run, Tally::default()));
            if self.after.is_empty() {
                self.quiet.extend(asked);
                self.rest();
                return;
            }
            let quiet = std::mem::replace(&mut self.quiet, asked.collect());
            self.commit().await;
            self.tell_quiet(quiet);
            self.tell_room();
            self.perform_effects();
        }
        self.give_answers();
        self.arm_timekeeper();
        self.parts.ingress.wake();
    }

    /// Answers publishers, all together: waking them one by one while there is work to do here would wake and put to
    /// sleep the other worker threads over and over.
    fn give_answers(&mut self) {
        self.answers.drain(..).for_each(|(publisher, answer)| give(publisher, answer));
    }

    /// Everything is committed: tells who waited for quiet, and when to be woken next.
    fn rest(&mut self) {
        self.give_answers();
        self.tell_room();
        self.parts.ingress.count_backlog(self.board.queued(), self.board.collected());
        self.arm_timekeeper();
        let (idle, at_rest) = (self.board.is_idle(), !self.board.is_at_work());
        let still = self.board.attempts() == 0;
        if self.quiet.is_empty() && !idle && !at_rest && !still {
            return;
        }
        let quiet = std::mem::take(&mut self.quiet);
        self.tell_quiet(quiet);
        let mut watch = self.parts.ingress.watch();
        if idle {
            watch.idle.drain(..).for_each(|waiter| give(waiter, Tally::default()));
        }
        if at_rest {
            watch.jobs.drain(..).for_each(|waiter| give(waiter, Tally::default()));
        }
        if still {
            watch.attempts.drain(..).for_each(|waiter| give(waiter, Tally::default()));
        }
    }

    /// Tells who waited for these runs. What was noted before a commit is committed after it.
    fn tell_quiet(&mut self, quiet: Vec<(RunId, Tally)>) {
        if quiet.is_empty() {
            return;
        }
        let mut watch = self.parts.ingress.watch();
        for (run, tally) in quiet {
            // It may have been set in motion again by a later command of the same turn.
            if self.board.is_quiescent(run) {
                let tally = self.board.tally(run).unwrap_or(tally);
                watch.runs.remove(&run).into_iter().flatten().for_each(|waiter| give(waiter, tally));
            }
        }
    }

    /// Turns a command into a write, or into something that only the board needs to know.
    fn prepare(&mut self, command: Command) {
        match command {
            Command::Publish { artifacts, answer, seen } => {
                let claims = claims_of(&artifacts);
                self.write(Group::Publish(artifacts), After::Published { claims, answer, seen });
            }
            Command::Ended(ended) => self.prepare_end(ended),
            Command::Letter(decision) => self.prepare_letter(decision),
            Command::Input(input) => self.prepare_input(input),
            Command::SeenNote(note, seen) => self.prepare_seen_note(note, seen),
            Command::Ask(question) => self.after.push(After::Ask(question)),
            Command::WhenQuiet { scope, answer } => self.watch(scope, answer),
        }
    }

    pub(super) fn answer(&self, question: Question) {
        match question {
            Question::Waiting(filter, answer) => {
                give(answer, (self.board.waiting(&filter), self.board.in_log()))
            }
            Question::Agents(answer) => give(answer, self.board.agents()),
            Question::Standings(answer) => give(answer, self.board.standings()),
            Question::Running(answer) => give(answer, self.board.running()),
            Question::Tally(run, answer) => give(answer, self.board.tally(run)),
            Question::NextDeadline(answer) => give(answer, self.board.next_deadline()),
        }
    }

    /// Notes who waits. What stands before it in the queue has not reached the board yet; it will before the curator
    /// rests, and only then is anybody told.
    fn watch(&mut self, scope: Scope, answer: oneshot::Sender<Tally>) {
        let mut watch = self.parts.ingress.watch();
        match scope {
            Scope::Run(run) => {
                join(watch.runs.entry(run).or_default(), answer);
                self.asked.push(run);
            }
            Scope::Board => join(&mut watch.idle, answer),
            Scope::Jobs => join(&mut watch.jobs, answer),
            Scope::Attempts => join(&mut watch.attempts, answer),
            Scope::Window(agent) => watch.windows.push((agent, answer)),
        }
    }

    pub(super) fn write_outcome(&mut self, outcome: Unsettled) {
        self.write(outcome.group(), After::Unsettled(outcome));
    }

    pub(super) fn write(&mut self, group: Group, after: After) {
        self.batch.groups.push(group);
        self.after.push(after);
    }

    async fn commit(&mut self) {
        self.parts.ingress.count_backlog(self.board.queued(), self.board.collected());
        let batch = std::mem::take(&mut self.batch);
        // Only a write tells whether the store works; with nothing to write, a tick is the time to try again.
        let is_tick = |after: &After| matches!(after, After::Input(Input::Tick));
        let tries = !batch.groups.is_empty() || self.store_down && self.after.iter().any(is_tick);
        let changes = batch.groups.len() as u64;
        self.committed = Committed { begun: self.parts.clock.now(), changes, ..self.committed };
        let results = if batch.groups.is_empty() {
            Ok(Vec::new())
        } else {
            match self.parts.store.commit(batch) {
                Commit::Done(results) => results,
                Commit::Pending(results) => {
                    self.give_answers();
                    self.parts.ingress.note_committing(Some(self.now));
                    let results = results.await;
                    self.parts.ingress.note_committing(None);
                    results
                }
            }
        };
        let after = std::mem::take(&mut self.after);
        self.committed.done = self.parts.clock.now();
        // What the board does about it comes after it.
        self.now = self.now.max(self.committed.done);
        if changes > 0 {
            self.parts.seen.store_answered(self.committed, results.as_ref().err());
        }
        match results {
            Ok(results) => {
                self.board.written();
                if tries {
                    self.recover_store();
                }
                self.apply(after, results);
            }
            Err(error) => self.refuse(after, &error),
        }
        self.read_log().await;
    }

    /// Answers what the board asked about the log. Not while something that it decided is still to be written.
    async fn read_log(&mut self) {
        while !self.store_down
            && self.batch.groups.is_empty()
            && let Some(answer) = self.lookups.answer(&self.parts, &self.board).await
        {
            self.handle(answer);
        }
    }

    fn apply(&mut self, after: Vec<After>, results: Vec<GroupResult>) {
        let mut results = results.into_iter();
        for after in after {
            if !after.has_group() {
                self.apply_done(after, Few::new());
                continue;
            }
            match (after, results.next()) {
                (After::Letter(decided), result) => self.apply_letter(decided, result),
                (after, Some(GroupResult::Done(stored))) => self.apply_done(after, stored),
                (After::SpilledCancelled(run), Some(GroupResult::Cancelled(cancelled))) => {
                    self.note_cancelled_in_log(run, &cancelled);
                    self.parts.seen.cancelled_in_log(&cancelled);
                    self.handle_decided(Input::SpilledCancelled { run, cancelled });
                }
                (after, Some(GroupResult::Refused(error))) => self.apply_refused_alone(after, &error),
                // Nothing that is written here is answered with anything else.
                (after, Some(GroupResult::Cancelled(_) | GroupResult::Redriven(_)) | None) => {
                    let cause = "it did not answer for the groups that it was given".to_owned();
                    let error = StoreError::Conflict { store: self.parts.store.name(), cause };
                    self.apply_refused_alone(after, &error);
                }
            }
        }
    }

    pub(super) fn apply_done(&mut self, after: After, stored: Few<Stored>) {
        match after {
            After::Published { claims, answer, seen } => {
                seen.committed(&stored, self.committed);
                self.tell_published(claims, &stored);
                // A publisher that stopped waiting has published all the same.
                self.answers.push((answer, Ok(stored)));
            }
            After::Started(start) => self.dispatch(start, None),
            After::Buried(start, why) => self.dispatch(start, Some(why)),
            After::Ended { start, verdict, claims, error, seen, attempts: _ } => {
                let end = End { verdict, error: &error, stored: &stored, committed: self.committed };
                seen.ended(&self.parts.seen, &start, &end);
                self.tell_published(claims, &stored);
                self.parts.feed.tell_attempt(&start, verdict, error);
                self.handle(Input::Finished { job: start.job, attempt: start.attempt, verdict });
            }
            After::GivenUp { start, error } => self.apply_given_up(&start, error),
            After::Unsettled(_) => {}
            After::SeenNoted(seen) => seen.written(),
            After::Letter(decided) => self.apply_letter(decided, None),
            After::Cancel { agent, job } => self.cancel(agent.at(), job),
            After::Input(input) => {
                if matches!(input, Input::Tick) {
                    self.armed = None;
                }
                self.parts.seen.told(&input, self.now);
                self.handle_decided(input);
                // It may have lifted a quarantine, and the panics that come after it in this commit count anew.
                self.perform_effects();
            }
            After::EngineLost(agent, scope) => scope.call(|| self.count_restart(agent)),
            After::Ask(question) => self.answer(question),
            After::Look(lookup) => self.lookups.push(lookup),
            After::SpilledCancelled(run) => self.handle(Input::CancelRefused(run)),
        }
    }

    fn tell_published(&mut self, claims: Few<Claims>, stored: &[Stored]) {
        for ((workflow, claims), stored) in claims.into_iter().zip(stored) {
            let Stored::New(artifact) = stored else { continue };
            self.parts
                .feed
                .tell(|| Event::Published { artifact: Arc::clone(artifact), claims: claims.len() });
            self.handle(Input::Published(Published {
                offset: artifact.offset(),
                run: artifact.run(),
                workflow,
                at: artifact.published_at(),
                claims,
            }));
        }
    }

    /// The store refused a whole commit: fails its publishers, takes jobs back, and starts nothing until it works.
    fn refuse(&mut self, after: Vec<After>, error: &StoreError) {
        self.hold(error);
        for after in after {
            if after.has_group() {
                self.apply_refused(after, error);
            } else {
                self.apply_done(after, Few::new());
            }
        }
    }

    /// Starts nothing more until a commit succeeds; the sweeps see to it that one is tried.
    pub(super) fn hold(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.store_down, true) {
            tracing::error!(target: "volery::curator", %error, "nothing is started until this is over");
            self.parts.ingress.note_store_trouble(Some((self.now, error.to_string())));
            self.handle(Input::StoreDown);
        }
    }

    fn recover_store(&mut self) {
        if std::mem::replace(&mut self.store_down, false) {
            tracing::info!(target: "volery::curator", "the store works again");
            self.parts.ingress.note_store_trouble(None);
            self.handle(Input::StoreUp);
            for outcome in std::mem::take(&mut self.unsettled) {
                self.write_outcome(outcome);
            }
        }
    }

    /// Hands a job to its agent, with its inputs if the store has them at hand.
    pub(super) fn dispatch(&mut self, start: Arc<Start>, why: Option<Burial>) {
        if why.is_none() {
            self.parts.feed.tell_started(&start);
        }
        let agent = start.agent;
        let inputs = match start.members.as_ref() {
            [only] => self.parts.store.read(&[only.offset]),
            members => {
                self.offsets.extend(members.iter().map(|member| member.offset));
                let inputs = self.parts.store.read(&self.offsets);
                self.offsets.clear();
                inputs
            }
        };
        let epoch = self.epoch;
        let message = match why {
            None => AgentMessage::Run { start, inputs, epoch },
            Some(why) => AgentMessage::Bury { start, inputs, epoch, why },
        };
        if let Err(error) = self.parts.agents[agent.at()].send(message) {
            let given = match error.message {
                AgentMessage::Run { start, .. } | AgentMessage::Bury { start, .. } => start,
                _ => return,
            };
            self.take_back(given, error.reason);
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.board.handle(input, self.now, &mut self.effects);
    }

    fn cancel(&self, agent: usize, job: JobId) {
        if let Err(error) = self.parts.agents[agent].send(AgentMessage::Cancel(job)) {
            // An agent that has ended runs nothing; its attempts have handed their jobs back.
            tracing::debug!(target: "volery::curator", %job, reason = %error.reason, "agent cannot be told to cancel");
        }
    }

    fn arm_timekeeper(&mut self) {
        // While the store is down there may be nothing left to write; the next tick tries again, sweeps or not.
        let again = self.store_down.then(|| self.now.after(TRY_AGAIN_AFTER));
        let Some(next) = [self.board.next_deadline(), again].into_iter().flatten().min() else { return };
        // A timer that is armed too early costs one idle tick; re-arming for every later deadline would cost more.
        if self.armed.is_some_and(|armed| armed <= next) {
            return;
        }
        if self.parts.timekeeper.send(TimekeeperMessage::Arm(next)).is_ok() {
            self.armed = Some(next);
        }
    }
}

impl Life for Curator {
    type Message = CuratorMessage;

    async fn started(&mut self) -> Result<(), Fault> {
        // Commands may have come while no curator lived, and recovery may have found jobs to start.
        self.turn().await;
        Ok(())
    }

    async fn handle(&mut self, message: CuratorMessage) -> Result<(), Fault> {
        match message {
            CuratorMessage::Wake => {
                // Lets every publisher and attempt that is ready to run leave its command first, so that one commit
                // takes them all; in an idle runtime it costs a microsecond.
                tokio::task::yield_now().await;
                self.turn().await;
            }
        }
        Ok(())
    }
}
