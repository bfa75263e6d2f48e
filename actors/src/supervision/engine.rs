//! The rules of a supervisor: reports and requests go in, commands come out.
//!
//! Pure: no I/O, no clock. Times are durations since the supervisor began. It starts, stops and waits for
//! nothing itself: `desk.rs` performs its commands and reports back.
//!
//! At any time one of three things is going on. In *steady* state failures are answered one by one. During a
//! *round* a group of children is taken down in reverse order and brought up in order: the first start of
//! the tree, or a restart under rest-for-one and one-for-all. *Closing* takes everybody down in reverse
//! order and never ends in another state. Only the round and the closing order lives about; a failure during
//! a round enlarges it.

use std::collections::VecDeque;
use std::time::Duration;

use super::chance::Chance;
use super::command::{Command, Report};
use super::event::LifeEvent;
use super::exit::Exit;
use super::intensity::Window;
use super::plan::{Strategy, affected};
use super::report::{ChildInfo, ChildStop, StartError, StopReport, SupervisorExit};
use super::restart::Restart;
use super::roster::{Entry, Origin, Phase, Roster, Seat};
use super::spec::{AutoShutdown, ChildId, SupervisorSpec, Terms};

#[derive(Debug)]
struct Round {
    /// Still to be down, in start order; taken from the end.
    to_stop: Vec<Seat>,
    /// Still to be started, in start order.
    to_start: VecDeque<Seat>,
    /// The wait before the first start, owed to the failed child's back-off.
    after: Duration,
    starting: Option<Seat>,
}

#[derive(Debug)]
struct Closing {
    exit: SupervisorExit,
    began: Duration,
    /// Still to be down, in start order; taken from the end.
    to_stop: Vec<Seat>,
    rows: Vec<ChildStop>,
}

/// The state of one supervisor.
#[derive(Debug)]
pub(super) struct Engine {
    id: ChildId,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    dynamic_children_max: usize,
    window: Window,
    chance: Chance,
    roster: Roster,
    /// The first start of the static children is not complete.
    is_starting_up: bool,
    round: Option<Round>,
    closing: Option<Closing>,
    finished: bool,
    commands: Vec<Command>,
}

impl Engine {
    /// Takes a validated spec; returns the seats of its children in start order, too.
    pub(super) fn new(spec: &SupervisorSpec) -> (Self, Vec<Seat>) {
        let mut roster = Roster::default();
        let seats = spec
            .children
            .iter()
            .filter_map(|child| roster.add(child.terms.clone(), Origin::Static).ok())
            .collect();
        let engine = Self {
            id: spec.id.clone(),
            strategy: spec.strategy,
            auto_shutdown: spec.auto_shutdown,
            dynamic_children_max: spec.dynamic_children_max,
            window: Window::new(spec.intensity),
            chance: Chance::new(spec.seed, spec.id.as_str()),
            roster,
            is_starting_up: true,
            round: None,
            closing: None,
            finished: false,
            commands: Vec::new(),
        };
        (engine, seats)
    }

    /// Hands over what is to be done.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    pub(super) fn auto_shutdown(&self) -> AutoShutdown {
        self.auto_shutdown
    }

    pub(super) fn find(&self, id: &ChildId) -> Option<Seat> {
        self.roster.find(id)
    }

    pub(super) fn children(&self, now: Duration) -> Vec<ChildInfo> {
        self.roster.entries().map(|(_, entry)| entry.info(now)).collect()
    }

    /// Starts the static children, in order.
    pub(super) fn begin(&mut self, now: Duration) {
        let to_start = self.roster.seats().collect();
        self.round = Some(Round { to_stop: Vec::new(), to_start, after: Duration::ZERO, starting: None });
        self.advance_round(now);
    }

    /// Adds a child and starts it; `Added` follows once its fate is known.
    pub(super) fn add(&mut self, terms: Terms) -> Result<Seat, StartError> {
        let supervisor = self.id.clone();
        if self.closing.is_some() {
            return Err(StartError::Ending { supervisor });
        }
        if self.roster.find(&terms.id).is_some() {
            return Err(StartError::DuplicateChild { supervisor, child: terms.id });
        }
        if self.roster.dynamic_count() >= self.dynamic_children_max {
            return Err(StartError::TooManyChildren { supervisor, max: self.dynamic_children_max });
        }
        let child = terms.id.clone();
        let seat = self
            .roster
            .add(terms, Origin::Dynamic)
            .map_err(|_| StartError::DuplicateChild { supervisor, child })?;
        self.start(seat, Duration::ZERO);
        Ok(seat)
    }

    /// Stops a child and takes it off the roster; `Gone` follows once it is down.
    pub(super) fn remove(&mut self, seat: Seat, now: Duration) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        entry.leaving = true;
        if entry.phase.is_running() {
            self.order_stop(seat, now);
            return;
        }
        if self.closing.is_some() {
            // Its row, and with it `Gone`, comes in its turn.
            return;
        }
        if let Some(round) = &mut self.round {
            round.to_start.retain(|other| *other != seat);
        }
        self.dismiss(seat);
    }

    /// Kills a child's life; its restart type decides what follows.
    pub(super) fn kill(&mut self, seat: Seat) {
        if self.roster.is_running(seat) {
            self.commands.push(Command::Kill { seat });
        }
    }

    /// Stops all children in reverse order, then finishes.
    pub(super) fn stop(&mut self, now: Duration) {
        self.close(SupervisorExit::Stopped, now);
    }

    /// Kills all children at once, then finishes.
    pub(super) fn kill_all(&mut self, now: Duration) {
        let running: Vec<Seat> = self
            .roster
            .entries()
            .filter(|(_, entry)| entry.phase.is_running())
            .map(|(seat, _)| seat)
            .collect();
        for seat in running {
            if let Some(entry) = self.roster.entry_mut(seat) {
                entry.phase = Phase::Stopping;
                entry.stop_ordered.get_or_insert(now);
            }
            self.commands.push(Command::Kill { seat });
        }
        self.close(SupervisorExit::Killed, now);
    }

    /// Takes in what a keeper says about a life. Reports of unknown seats and old lives change nothing.
    pub(super) fn report(&mut self, seat: Seat, life: u64, report: Report, now: Duration) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        if entry.life != life || !entry.phase.is_running() {
            return;
        }
        let child = entry.terms.id.clone();
        match report {
            Report::Started => {
                entry.has_been_alive = true;
                entry.alive_since = Some(now);
                if entry.phase == Phase::Starting {
                    entry.phase = Phase::Alive;
                }
                self.announce(LifeEvent::Started { child, life });
                self.started(seat, now);
            }
            Report::StartFailed { exit } => {
                entry.exit = Some(exit.clone());
                self.announce(LifeEvent::StartFailed { child, life, exit: exit.clone() });
                self.down(seat, exit, now);
            }
            Report::NotStarted => {
                entry.exit.get_or_insert(Exit::Stopped);
                self.down(seat, Exit::Stopped, now);
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
                self.down(seat, exit, now);
            }
        }
    }

    fn started(&mut self, seat: Seat, now: Duration) {
        if self.roster.entry(seat).is_some_and(|entry| entry.origin == Origin::Dynamic) {
            self.commands.push(Command::Added { seat, outcome: Ok(()) });
        }
        if self.round.as_ref().is_some_and(|round| round.starting == Some(seat)) {
            self.advance_round(now);
        }
    }

    /// A life is over, or never came to be: whose turn is it?
    fn down(&mut self, seat: Seat, exit: Exit, now: Duration) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        let was_ordered = entry.phase == Phase::Stopping;
        let alive_for = entry.alive_since.take().map(|since| now.saturating_sub(since));
        entry.stop_took = entry.stop_ordered.take().map_or(Duration::ZERO, |at| now.saturating_sub(at));
        entry.phase = Phase::Down;
        if let Some(round) = &mut self.round
            && round.starting == Some(seat)
        {
            round.starting = None;
        }
        if self.closing.is_some() {
            self.advance_closing(now);
        } else if entry.leaving {
            self.dismiss(seat);
            self.advance_round(now);
        } else if was_ordered || self.is_to_stop(seat) {
            self.set_aside(seat);
            self.advance_round(now);
        } else if self.is_first_start(seat) {
            self.first_start_failed(seat, exit, now);
        } else {
            self.ended_by_itself(seat, exit, alive_for, now);
        }
    }

    fn is_to_stop(&self, seat: Seat) -> bool {
        self.round.as_ref().is_some_and(|round| round.to_stop.contains(&seat))
    }

    /// A child that has never been alive fails its starter, unless a round has taken charge of it.
    fn is_first_start(&self, seat: Seat) -> bool {
        self.roster.entry(seat).is_some_and(|entry| {
            !entry.has_been_alive
                && entry.restarts == 0
                && (self.is_starting_up || entry.origin == Origin::Dynamic)
        })
    }

    fn first_start_failed(&mut self, seat: Seat, exit: Exit, now: Duration) {
        let Some(entry) = self.roster.entry(seat) else { return };
        let (supervisor, child) = (self.id.clone(), entry.terms.id.clone());
        if entry.origin == Origin::Dynamic {
            let outcome = Err(StartError::ChildFailed { supervisor, child, exit });
            self.commands.push(Command::Added { seat, outcome });
            self.forget(seat);
            self.advance_round(now);
        } else {
            self.close(SupervisorExit::StartFailed { child, exit }, now);
        }
    }

    fn ended_by_itself(&mut self, seat: Seat, exit: Exit, alive_for: Option<Duration>, now: Duration) {
        let draw = self.chance.unit();
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        let child = entry.terms.id.clone();
        if !entry.terms.restart.follows(&exit) {
            self.leave(seat, child, now);
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
        let after = entry.row.failed(alive_for, draw);
        let (life, restarts) = (entry.life + 1, entry.restarts);
        self.announce(LifeEvent::Restarting { child, life, after, restarts });
        match self.strategy {
            Strategy::OneForOne => {
                self.start(seat, after);
                self.advance_round(now);
            }
            Strategy::RestForOne | Strategy::OneForAll => self.begin_round(seat, after, now),
        }
    }

    /// A child ended by itself and gets no further life.
    fn leave(&mut self, seat: Seat, child: ChildId, now: Duration) {
        let significant = self.roster.entry(seat).is_some_and(|entry| entry.terms.significant);
        self.retire(seat);
        let shuts_down = significant
            && match self.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self
                    .roster
                    .entries()
                    .any(|(_, entry)| entry.terms.significant && entry.phase != Phase::Ended),
            };
        if shuts_down {
            self.close(SupervisorExit::AutoShutdown { child }, now);
        } else {
            self.advance_round(now);
        }
    }

    /// Ends a child's addresses. Static children stay on the roster as ended, unless they were temporary.
    fn retire(&mut self, seat: Seat) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        if entry.origin == Origin::Dynamic || entry.terms.restart == Restart::Temporary {
            self.forget(seat);
        } else {
            entry.phase = Phase::Ended;
            self.commands.push(Command::Retire { seat, forget: false });
        }
    }

    fn forget(&mut self, seat: Seat) {
        self.roster.remove(seat);
        self.commands.push(Command::Retire { seat, forget: true });
    }

    /// A child was taken down by a round. A temporary one is not brought up again.
    fn set_aside(&mut self, seat: Seat) {
        let temporary =
            self.roster.entry(seat).is_some_and(|entry| entry.terms.restart == Restart::Temporary);
        if temporary {
            self.forget(seat);
        }
    }

    /// A child was taken down on request.
    fn dismiss(&mut self, seat: Seat) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        entry.exit.get_or_insert(Exit::Stopped);
        if let Some(row) = entry.stop_row() {
            self.commands.push(Command::Gone { seat, row });
        }
        self.forget(seat);
    }

    fn start(&mut self, seat: Seat, after: Duration) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        entry.life += 1;
        entry.phase = Phase::Starting;
        entry.stop_took = Duration::ZERO;
        entry.overran = false;
        self.commands.push(Command::Start { seat, life: entry.life, after });
    }

    fn order_stop(&mut self, seat: Seat, now: Duration) {
        let Some(entry) = self.roster.entry_mut(seat) else { return };
        if matches!(entry.phase, Phase::Starting | Phase::Alive) {
            entry.phase = Phase::Stopping;
            entry.stop_ordered = Some(now);
            self.commands.push(Command::Stop { seat });
        }
    }

    /// Takes the children affected by a failure down and up again, with those of a round under way.
    fn begin_round(&mut self, failed: Seat, after: Duration, now: Duration) {
        let mut members = affected(self.strategy, &self.roster, failed);
        if let Some(interrupted) = self.round.take() {
            members.extend(interrupted.to_stop);
            members.extend(interrupted.to_start);
            members.extend(interrupted.starting);
            members.sort_unstable();
            members.dedup();
        }
        let to_stop = members.iter().copied().filter(|seat| self.roster.is_running(*seat)).collect();
        let to_start = members.into_iter().filter(|seat| self.comes_up_again(*seat)).collect();
        self.round = Some(Round { to_stop, to_start, after, starting: None });
        self.advance_round(now);
    }

    /// A temporary child that has had its life does not; one that never had it (first start) does.
    fn comes_up_again(&self, seat: Seat) -> bool {
        self.roster.entry(seat).is_some_and(|entry| {
            !entry.leaving && (entry.terms.restart != Restart::Temporary || entry.life == 0)
        })
    }

    /// Orders the next step of the round, if its last one is done.
    fn advance_round(&mut self, now: Duration) {
        loop {
            let Some(round) = &mut self.round else { return };
            if let Some(seat) = round.to_stop.last().copied() {
                if self.roster.is_running(seat) {
                    self.order_stop(seat, now);
                    return;
                }
                round.to_stop.pop();
                continue;
            }
            if let Some(seat) = round.starting {
                match self.roster.entry(seat).map(|entry| entry.phase) {
                    Some(Phase::Starting | Phase::Stopping) => return,
                    Some(Phase::Down | Phase::Alive | Phase::Ended) | None => round.starting = None,
                }
            }
            let Some(seat) = round.to_start.pop_front() else {
                self.round = None;
                if std::mem::take(&mut self.is_starting_up) {
                    self.commands.push(Command::Ready);
                }
                return;
            };
            let after = std::mem::take(&mut round.after);
            if self.roster.entry(seat).is_some_and(|entry| !entry.phase.is_running()) {
                round.starting = Some(seat);
                self.start(seat, after);
                return;
            }
        }
    }

    /// Begins the end; later reasons change nothing.
    fn close(&mut self, exit: SupervisorExit, now: Duration) {
        if self.closing.is_none() {
            self.round = None;
            let to_stop = self.roster.seats().collect();
            self.closing = Some(Closing { exit, began: now, to_stop, rows: Vec::new() });
        }
        self.advance_closing(now);
    }

    fn advance_closing(&mut self, now: Duration) {
        loop {
            let Some(closing) = &mut self.closing else { return };
            let Some(seat) = closing.to_stop.last().copied() else { break };
            if self.roster.is_running(seat) {
                self.order_stop(seat, now);
                return;
            }
            closing.to_stop.pop();
            if let Some(row) = self.roster.entry(seat).and_then(Entry::stop_row) {
                closing.rows.push(row.clone());
                self.commands.push(Command::Gone { seat, row });
            }
        }
        if let Some(closing) = &mut self.closing
            && !std::mem::replace(&mut self.finished, true)
        {
            let children = std::mem::take(&mut closing.rows);
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
