//! The rules of a supervisor: reports and requests go in, commands come out.
//!
//! Pure: no I/O, no clock. Times are durations since the supervisor began. It starts, stops and waits for
//! nothing itself: `shell.rs` performs its commands and reports back.
//!
//! At any time one of three things is going on. In *steady* state failures are answered one by one. During
//! a *round* a group of children is taken down in reverse order and brought up in order: the first start of
//! the tree, or a restart under rest-for-one and one-for-all. *Closing* takes every child down in reverse
//! order and never ends in another state. Only the round and the closing give orders to lives; a failure
//! during a round enlarges it.

use std::collections::VecDeque;
use std::time::Duration;

use super::chance::Chance;
use super::children::{ChildEntry, ChildIndex, ChildPhase, ChildTable, Origin};
use super::command::{Command, Report};
use super::event::LifeEvent;
use super::exit::Exit;
use super::intensity::RestartWindow;
use super::report::{ChildInfo, ChildStop, StartError, StopReport, SupervisorExit};
use super::restart::Restart;
use super::spec::{AutoShutdown, ChildId, SupervisorSpec, Terms};
use super::strategy::{Strategy, affected};

#[derive(Debug)]
struct Round {
    /// Still to be down, in start order; taken from the end.
    to_stop: Vec<ChildIndex>,
    /// Still to be started, in start order.
    to_start: VecDeque<ChildIndex>,
    /// The wait before the first start, owed to the failed child's back-off.
    after: Duration,
    starting: Option<ChildIndex>,
}

#[derive(Debug)]
struct Closing {
    exit: SupervisorExit,
    began: Duration,
    /// Still to be down, in start order; taken from the end.
    to_stop: Vec<ChildIndex>,
    stops: Vec<ChildStop>,
}

/// The state of one supervisor.
#[derive(Debug)]
pub(super) struct Rules {
    id: ChildId,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    dynamic_children_max: usize,
    window: RestartWindow,
    chance: Chance,
    children: ChildTable,
    /// The first start of the static children is not complete.
    is_starting_up: bool,
    round: Option<Round>,
    closing: Option<Closing>,
    finished: bool,
    commands: Vec<Command>,
}

impl Rules {
    /// Takes a validated spec; returns the indexes of its children in start order, too.
    pub(super) fn new(spec: &SupervisorSpec) -> (Self, Vec<ChildIndex>) {
        let mut children = ChildTable::default();
        let indexes = spec
            .children
            .iter()
            .filter_map(|child| children.add(child.terms.clone(), Origin::Static).ok())
            .collect();
        let rules = Self {
            id: spec.id.clone(),
            strategy: spec.strategy,
            auto_shutdown: spec.auto_shutdown,
            dynamic_children_max: spec.dynamic_children_max,
            window: RestartWindow::new(spec.intensity),
            chance: Chance::new(spec.seed, spec.id.as_str()),
            children,
            is_starting_up: true,
            round: None,
            closing: None,
            finished: false,
            commands: Vec::new(),
        };
        (rules, indexes)
    }

    /// Hands over what is to be done.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    pub(super) fn auto_shutdown(&self) -> AutoShutdown {
        self.auto_shutdown
    }

    pub(super) fn find(&self, id: &ChildId) -> Option<ChildIndex> {
        self.children.find(id)
    }

    pub(super) fn children(&self, now: Duration) -> Vec<ChildInfo> {
        self.children.entries().map(|(_, entry)| entry.info(now)).collect()
    }

    /// Starts the static children, in order.
    pub(super) fn begin(&mut self, now: Duration) {
        let to_start = self.children.indexes().collect();
        self.round = Some(Round { to_stop: Vec::new(), to_start, after: Duration::ZERO, starting: None });
        self.advance_round(now);
    }

    /// Adds a child and starts it; `Added` follows once its fate is known.
    pub(super) fn add(&mut self, terms: Terms) -> Result<ChildIndex, StartError> {
        let supervisor = self.id.clone();
        if self.closing.is_some() {
            return Err(StartError::Ending { supervisor });
        }
        if self.children.find(&terms.id).is_some() {
            return Err(StartError::DuplicateChild { supervisor, child: terms.id });
        }
        if self.children.dynamic_count() >= self.dynamic_children_max {
            return Err(StartError::TooManyChildren { supervisor, max: self.dynamic_children_max });
        }
        let child = terms.id.clone();
        let index = self
            .children
            .add(terms, Origin::Dynamic)
            .map_err(|_| StartError::DuplicateChild { supervisor, child })?;
        self.start(index, Duration::ZERO);
        Ok(index)
    }

    /// Stops a child and removes it from the child table; `Removed` follows once it is down.
    pub(super) fn remove(&mut self, index: ChildIndex, now: Duration) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        entry.to_remove = true;
        if entry.phase.is_running() {
            self.order_stop(index, now);
            return;
        }
        if self.closing.is_some() {
            // Its stop, and with it `Removed`, comes in its turn.
            return;
        }
        if let Some(round) = &mut self.round {
            round.to_start.retain(|other| *other != index);
        }
        self.removed(index);
    }

    /// Kills a child's life; its restart type decides what follows.
    pub(super) fn kill(&mut self, index: ChildIndex) {
        if self.children.is_running(index) {
            self.commands.push(Command::Kill { index });
        }
    }

    /// Stops all children in reverse order, then finishes.
    pub(super) fn stop(&mut self, now: Duration) {
        self.close(SupervisorExit::Stopped, now);
    }

    /// Kills all children at once, then finishes.
    pub(super) fn kill_all(&mut self, now: Duration) {
        let running: Vec<ChildIndex> = self
            .children
            .entries()
            .filter(|(_, entry)| entry.phase.is_running())
            .map(|(index, _)| index)
            .collect();
        for index in running {
            if let Some(entry) = self.children.entry_mut(index) {
                entry.phase = ChildPhase::Stopping;
                entry.stop_ordered.get_or_insert(now);
            }
            self.commands.push(Command::Kill { index });
        }
        self.close(SupervisorExit::Killed, now);
    }

    /// Takes in what a keeper says about a life. Reports of unknown indexes and old lives change nothing.
    pub(super) fn report(&mut self, index: ChildIndex, life: u64, report: Report, now: Duration) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        if entry.life != life || !entry.phase.is_running() {
            return;
        }
        let child = entry.terms.id.clone();
        match report {
            Report::Started => {
                entry.has_been_alive = true;
                entry.alive_since = Some(now);
                if entry.phase == ChildPhase::Starting {
                    entry.phase = ChildPhase::Alive;
                }
                self.announce(LifeEvent::Started { child, life });
                self.started(index, now);
            }
            Report::StartFailed { exit } => {
                entry.exit = Some(exit.clone());
                self.announce(LifeEvent::StartFailed { child, life, exit: exit.clone() });
                self.life_ended(index, exit, now);
            }
            Report::NotStarted => {
                entry.exit.get_or_insert(Exit::Stopped);
                self.life_ended(index, Exit::Stopped, now);
            }
            Report::Overran { after } => {
                entry.overran = true;
                self.announce(LifeEvent::StopOverran { child, life, after });
            }
            Report::Ended { exit, cleanup } => {
                entry.exit = Some(exit.clone());
                self.announce(LifeEvent::Ended { child: child.clone(), life, exit: exit.clone() });
                if let Some(exit) = cleanup {
                    self.announce(LifeEvent::CleanupFailed { child, life, exit });
                }
                self.life_ended(index, exit, now);
            }
        }
    }

    fn started(&mut self, index: ChildIndex, now: Duration) {
        if self.children.entry(index).is_some_and(|entry| entry.origin == Origin::Dynamic) {
            self.commands.push(Command::Added { index, result: Ok(()) });
        }
        if self.round.as_ref().is_some_and(|round| round.starting == Some(index)) {
            self.advance_round(now);
        }
    }

    /// A life has ended, or did not start: decides the next step.
    fn life_ended(&mut self, index: ChildIndex, exit: Exit, now: Duration) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        let was_ordered = entry.phase == ChildPhase::Stopping;
        let alive_for = entry.alive_since.take().map(|since| now.saturating_sub(since));
        entry.stop_took = entry.stop_ordered.take().map_or(Duration::ZERO, |at| now.saturating_sub(at));
        entry.phase = ChildPhase::Down;
        if let Some(round) = &mut self.round
            && round.starting == Some(index)
        {
            round.starting = None;
        }
        if self.closing.is_some() {
            self.advance_closing(now);
        } else if entry.to_remove {
            self.removed(index);
            self.advance_round(now);
        } else if was_ordered || self.is_to_stop(index) {
            self.stopped_by_round(index);
            self.advance_round(now);
        } else if self.is_first_start(index) {
            self.first_start_failed(index, exit, now);
        } else {
            self.ended_by_itself(index, exit, alive_for, now);
        }
    }

    fn is_to_stop(&self, index: ChildIndex) -> bool {
        self.round.as_ref().is_some_and(|round| round.to_stop.contains(&index))
    }

    /// A child that has never been alive fails its starter, unless a round has taken charge of it.
    fn is_first_start(&self, index: ChildIndex) -> bool {
        self.children.entry(index).is_some_and(|entry| {
            !entry.has_been_alive
                && entry.restarts == 0
                && (self.is_starting_up || entry.origin == Origin::Dynamic)
        })
    }

    fn first_start_failed(&mut self, index: ChildIndex, exit: Exit, now: Duration) {
        let Some(entry) = self.children.entry(index) else { return };
        let (supervisor, child) = (self.id.clone(), entry.terms.id.clone());
        if entry.origin == Origin::Dynamic {
            let result = Err(StartError::ChildFailed { supervisor, child, exit });
            self.commands.push(Command::Added { index, result });
            self.forget(index);
            self.advance_round(now);
        } else {
            self.close(SupervisorExit::StartFailed { child, exit }, now);
        }
    }

    fn ended_by_itself(&mut self, index: ChildIndex, exit: Exit, alive_for: Option<Duration>, now: Duration) {
        let draw = self.chance.unit();
        let Some(entry) = self.children.entry_mut(index) else { return };
        let child = entry.terms.id.clone();
        if !entry.terms.restart.follows(&exit) {
            self.ended_for_good(index, child, now);
            return;
        }
        let child_holds = entry.window.as_mut().is_none_or(|window| window.record(now));
        let supervisor_holds = self.window.record(now);
        if !(child_holds && supervisor_holds) {
            let supervisor = self.id.clone();
            self.announce(LifeEvent::GaveUp { supervisor, child: child.clone(), exit: exit.clone() });
            self.close(SupervisorExit::GaveUp { child, exit }, now);
            return;
        }
        entry.restarts = entry.restarts.saturating_add(1);
        let after = entry.failures.failed(alive_for, draw);
        let (life, restarts) = (entry.life + 1, entry.restarts);
        self.announce(LifeEvent::Restarting { child, life, after, restarts });
        match self.strategy {
            Strategy::OneForOne => {
                self.start(index, after);
                self.advance_round(now);
            }
            Strategy::RestForOne | Strategy::OneForAll => self.begin_round(index, after, now),
        }
    }

    /// A child ended by itself and gets no further life.
    fn ended_for_good(&mut self, index: ChildIndex, child: ChildId, now: Duration) {
        let significant = self.children.entry(index).is_some_and(|entry| entry.terms.significant);
        self.retire(index);
        let shuts_down = significant
            && match self.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self
                    .children
                    .entries()
                    .any(|(_, entry)| entry.terms.significant && entry.phase != ChildPhase::Ended),
            };
        if shuts_down {
            self.close(SupervisorExit::AutoShutdown { child }, now);
        } else {
            self.advance_round(now);
        }
    }

    /// Ends a child's addresses. Static children stay in the table as ended, unless they were temporary.
    fn retire(&mut self, index: ChildIndex) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        if entry.origin == Origin::Dynamic || entry.terms.restart == Restart::Temporary {
            self.forget(index);
        } else {
            entry.phase = ChildPhase::Ended;
            self.commands.push(Command::Retire { index, forget: false });
        }
    }

    fn forget(&mut self, index: ChildIndex) {
        self.children.remove(index);
        self.commands.push(Command::Retire { index, forget: true });
    }

    /// A child was taken down by a round. A temporary one is not brought up again.
    fn stopped_by_round(&mut self, index: ChildIndex) {
        let temporary =
            self.children.entry(index).is_some_and(|entry| entry.terms.restart == Restart::Temporary);
        if temporary {
            self.forget(index);
        }
    }

    /// A child was taken down on request.
    fn removed(&mut self, index: ChildIndex) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        entry.exit.get_or_insert(Exit::Stopped);
        if let Some(stop) = entry.stop_entry() {
            self.commands.push(Command::Removed { index, stop });
        }
        self.forget(index);
    }

    fn start(&mut self, index: ChildIndex, after: Duration) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        entry.life += 1;
        entry.phase = ChildPhase::Starting;
        entry.stop_took = Duration::ZERO;
        entry.overran = false;
        self.commands.push(Command::Start { index, life: entry.life, after });
    }

    fn order_stop(&mut self, index: ChildIndex, now: Duration) {
        let Some(entry) = self.children.entry_mut(index) else { return };
        if matches!(entry.phase, ChildPhase::Starting | ChildPhase::Alive) {
            entry.phase = ChildPhase::Stopping;
            entry.stop_ordered = Some(now);
            self.commands.push(Command::Stop { index });
        }
    }

    /// Takes the children affected by a failure down and up again, with those of a round under way.
    fn begin_round(&mut self, failed: ChildIndex, after: Duration, now: Duration) {
        let mut members = affected(self.strategy, &self.children, failed);
        if let Some(interrupted) = self.round.take() {
            members.extend(interrupted.to_stop);
            members.extend(interrupted.to_start);
            members.extend(interrupted.starting);
            members.sort_unstable();
            members.dedup();
        }
        let to_stop = members.iter().copied().filter(|index| self.children.is_running(*index)).collect();
        let to_start = members.into_iter().filter(|index| self.starts_again(*index)).collect();
        self.round = Some(Round { to_stop, to_start, after, starting: None });
        self.advance_round(now);
    }

    /// A temporary child that has had its life does not; one that never had it (first start) does.
    fn starts_again(&self, index: ChildIndex) -> bool {
        self.children.entry(index).is_some_and(|entry| {
            !entry.to_remove && (entry.terms.restart != Restart::Temporary || entry.life == 0)
        })
    }

    /// Orders the next step of the round, if its last one is done.
    fn advance_round(&mut self, now: Duration) {
        loop {
            let Some(round) = &mut self.round else { return };
            if let Some(index) = round.to_stop.last().copied() {
                if self.children.is_running(index) {
                    self.order_stop(index, now);
                    return;
                }
                round.to_stop.pop();
                continue;
            }
            if let Some(index) = round.starting {
                match self.children.entry(index).map(|entry| entry.phase) {
                    Some(ChildPhase::Starting | ChildPhase::Stopping) => return,
                    Some(ChildPhase::Down | ChildPhase::Alive | ChildPhase::Ended) | None => {
                        round.starting = None
                    }
                }
            }
            let Some(index) = round.to_start.pop_front() else {
                self.round = None;
                if std::mem::take(&mut self.is_starting_up) {
                    self.commands.push(Command::Ready);
                }
                return;
            };
            let after = std::mem::take(&mut round.after);
            if self.children.entry(index).is_some_and(|entry| !entry.phase.is_running()) {
                round.starting = Some(index);
                self.start(index, after);
                return;
            }
        }
    }

    /// Begins the end; later reasons change nothing.
    fn close(&mut self, exit: SupervisorExit, now: Duration) {
        if self.closing.is_none() {
            self.round = None;
            let to_stop = self.children.indexes().collect();
            self.closing = Some(Closing { exit, began: now, to_stop, stops: Vec::new() });
        }
        self.advance_closing(now);
    }

    fn advance_closing(&mut self, now: Duration) {
        loop {
            let Some(closing) = &mut self.closing else { return };
            let Some(index) = closing.to_stop.last().copied() else { break };
            if self.children.is_running(index) {
                self.order_stop(index, now);
                return;
            }
            closing.to_stop.pop();
            if let Some(stop) = self.children.entry(index).and_then(ChildEntry::stop_entry) {
                closing.stops.push(stop.clone());
                self.commands.push(Command::Removed { index, stop });
            }
        }
        if let Some(closing) = &mut self.closing
            && !std::mem::replace(&mut self.finished, true)
        {
            let children = std::mem::take(&mut closing.stops);
            let report = StopReport { children, duration: now.saturating_sub(closing.began) };
            self.commands.push(Command::Finish { exit: closing.exit.clone(), report });
        }
    }

    fn announce(&mut self, event: LifeEvent) {
        self.commands.push(Command::Announce(event));
    }
}

#[cfg(test)]
mod tests;
