//! The rules against a simulated world: it performs commands by hand and checks each one against the rules.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::supervision::backoff::Backoff;
use crate::supervision::intensity::Intensity;
use crate::supervision::report::ChildState;
use crate::supervision::spec::ChildSpec;
use crate::supervision::strategy::Strategy;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Simulated {
    Down,
    Starting,
    Alive,
    /// Ordered to stop; `true` if it had been alive.
    Stopping(bool),
}

/// The states of the simulated lives, and the commands about them so far.
struct World {
    rules: Rules,
    now: Duration,
    strategy: Strategy,
    limit: Intensity,
    statics: BTreeSet<ChildIndex>,
    lives: BTreeMap<ChildIndex, (Simulated, u64)>,
    /// Seats somebody asked to remove: their stops owe nothing to the order.
    removing: BTreeSet<ChildIndex>,
    counted: Vec<Duration>,
    ready: bool,
    removed: usize,
    finished: Option<(SupervisorExit, StopReport)>,
    trace: Vec<String>,
}

struct Nothing;

impl crate::supervision::life::Life for Nothing {
    type Message = ();

    async fn handle(&mut self, (): ()) -> Result<(), crate::supervision::Fault> {
        Ok(())
    }
}

fn child(id: &str, restart: Restart) -> ChildSpec {
    ChildSpec::actor(id, |_| async { Ok(Nothing) }).0.restart(restart).backoff(Backoff::none())
}

impl World {
    fn new(strategy: Strategy, limit: Intensity, restarts: &[Restart]) -> Self {
        let mut spec =
            SupervisorSpec::new("root").strategy(strategy).intensity(limit).dynamic_children_max(3);
        for (number, restart) in restarts.iter().enumerate() {
            spec = spec.child(child(&format!("c{number}"), *restart));
        }
        let (mut rules, indexes) = Rules::new(&spec);
        rules.begin(Duration::ZERO);
        let mut world = Self {
            rules,
            now: Duration::ZERO,
            strategy,
            limit,
            statics: indexes.iter().copied().collect(),
            lives: indexes.into_iter().map(|index| (index, (Simulated::Down, 0))).collect(),
            removing: BTreeSet::new(),
            counted: Vec::new(),
            ready: false,
            removed: 0,
            finished: None,
            trace: Vec::new(),
        };
        world.perform();
        world
    }

    /// Three permanent children, all alive.
    fn ready(strategy: Strategy) -> Self {
        let mut world =
            Self::new(strategy, Intensity { restarts: 100, within: MS(1) }, &[Restart::Permanent; 3]);
        world.start_all();
        assert!(world.ready);
        world.trace.clear();
        world
    }

    fn index(&self, id: &str) -> ChildIndex {
        self.rules.find(&ChildId::from(id)).expect("a child")
    }

    fn start_all(&mut self) {
        while let Some(index) = self.first(|life| life == Simulated::Starting) {
            self.report(index, Report::Started);
        }
    }

    fn first(&self, is: impl Fn(Simulated) -> bool) -> Option<ChildIndex> {
        self.lives.iter().find(|(_, (life, _))| is(*life)).map(|(index, _)| *index)
    }

    fn report(&mut self, index: ChildIndex, report: Report) {
        let (life, number) = self.lives[&index];
        let next = match report {
            Report::Started => Simulated::Alive,
            Report::StartFailed { .. } | Report::NotStarted | Report::Ended { .. } => Simulated::Down,
            Report::Overran { .. } => life,
        };
        self.lives.insert(index, (next, number));
        self.rules.report(index, number, report, self.now);
        self.perform();
    }

    fn fail(&mut self, id: &str) {
        let exit = Exit::Failed("boom".into());
        self.report(self.index(id), Report::Ended { exit, cleanup: None });
    }

    fn stopped(&mut self, id: &str) {
        self.report(self.index(id), Report::Ended { exit: Exit::Stopped, cleanup: None });
    }

    fn perform(&mut self) {
        for command in self.rules.take_commands() {
            match command {
                Command::Start { index, life, .. } => self.check_start(index, life),
                Command::Stop { index } => self.check_stop(index),
                Command::Kill { index } => assert!(self.lives.contains_key(&index)),
                Command::Retire { index, .. } => {
                    assert!(!self.is_running(index), "a running child was retired")
                }
                Command::Announce(LifeEvent::Restarting { .. }) => {
                    self.counted.push(self.now);
                    assert!(self.recent() <= self.limit.restarts as usize, "the intensity was passed");
                }
                Command::Announce(LifeEvent::GaveUp { .. }) => {
                    self.counted.push(self.now);
                    assert!(self.recent() > self.limit.restarts as usize, "gave up too early");
                }
                Command::Announce(_) | Command::Added { .. } => {}
                Command::Ready => self.ready = true,
                Command::Removed { .. } => self.removed += 1,
                Command::Finish { exit, report } => {
                    assert!(self.lives.values().all(|(life, _)| *life == Simulated::Down));
                    assert!(self.finished.is_none(), "finished twice");
                    self.finished = Some((exit, report));
                }
            }
        }
        self.check_rest();
    }

    fn recent(&self) -> usize {
        self.counted.iter().filter(|at| self.now - **at <= self.limit.within).count()
    }

    fn is_running(&self, index: ChildIndex) -> bool {
        self.lives.get(&index).is_some_and(|(life, _)| *life != Simulated::Down)
    }

    fn later_ones_are_down(&self, index: ChildIndex) -> bool {
        let mut later = self.statics.iter().filter(|other| **other > index && !self.removing.contains(other));
        later.all(|other| !self.is_running(*other))
    }

    fn check_start(&mut self, index: ChildIndex, life: u64) {
        self.trace.push(format!("start {index:?}"));
        let (doing, number) = self.lives.get(&index).copied().unwrap_or((Simulated::Down, 0));
        assert_eq!(doing, Simulated::Down, "a life was begun while the one before was there");
        assert_eq!(life, number + 1, "lives are counted without gaps");
        assert!(self.finished.is_none());
        let grouped = self.strategy != Strategy::OneForOne || number == 0;
        assert!(!grouped || self.later_ones_are_down(index), "started out of order");
        if number == 0 && self.statics.contains(&index) {
            let mut earlier = self.statics.range(..index);
            assert!(earlier.all(|other| self.lives[other].1 > 0), "a first start out of order");
        }
        self.lives.insert(index, (Simulated::Starting, life));
    }

    fn check_stop(&mut self, index: ChildIndex) {
        self.trace.push(format!("stop {index:?}"));
        let (doing, number) = self.lives[&index];
        assert!(matches!(doing, Simulated::Starting | Simulated::Alive), "stopped twice or when down");
        assert!(self.removing.contains(&index) || self.later_ones_are_down(index), "stopped out of order");
        self.lives.insert(index, (Simulated::Stopping(doing == Simulated::Alive), number));
    }

    /// When nothing is on its way, everybody is up or has ended for good: no round ever gets stuck.
    fn check_rest(&self) {
        let on_its_way = self.first(|life| matches!(life, Simulated::Starting | Simulated::Stopping(_)));
        if on_its_way.is_none() && self.finished.is_none() {
            for info in self.rules.children(Duration::ZERO) {
                assert!(matches!(info.state, ChildState::Alive | ChildState::Ended), "stuck: {info:?}");
            }
            assert!(self.ready, "the first start got stuck");
        }
    }

    /// Lets `choice` decide which life does what next.
    fn step(&mut self, choice: u16, gap: u64) {
        self.now += MS(gap);
        let busy: Vec<(ChildIndex, Simulated)> = self
            .lives
            .iter()
            .filter(|(_, (life, _))| *life != Simulated::Down)
            .map(|(index, (life, _))| (*index, *life))
            .collect();
        let Some((index, life)) = busy.get(usize::from(choice >> 4) % busy.len().max(1)).copied() else {
            return;
        };
        let failed = Exit::Failed("boom".into());
        match (life, choice % 16) {
            (Simulated::Starting, 0) => self.report(index, Report::StartFailed { exit: failed }),
            (Simulated::Starting, _) => self.report(index, Report::Started),
            (Simulated::Alive, 0..=7) => self.report(index, Report::Ended { exit: failed, cleanup: None }),
            (Simulated::Alive, 8..=10) => {
                self.report(index, Report::Ended { exit: Exit::Finished, cleanup: None });
            }
            (Simulated::Alive, 11..=12) if self.ready => {
                self.removing.insert(index);
                self.rules.remove(index, self.now);
                self.perform();
            }
            (Simulated::Alive, 13..=14) if self.ready => self.add(choice),
            (Simulated::Alive, _) | (Simulated::Down, _) => {}
            (Simulated::Stopping(true), 0) => self.report(index, Report::Overran { after: MS(1) }),
            (Simulated::Stopping(true), _) => {
                self.report(index, Report::Ended { exit: Exit::Stopped, cleanup: None });
            }
            (Simulated::Stopping(false), _) => self.report(index, Report::NotStarted),
        }
    }

    fn add(&mut self, choice: u16) {
        let late = child(&format!("late{}", choice % 5), Restart::Transient);
        let room = self.rules.children.dynamic_count();
        let added = self.rules.add(late.terms.clone());
        assert!(room < 3 || added.is_err(), "the bound on dynamic children was passed");
        self.perform();
    }

    /// Stops the world; every row is there, in reverse order.
    fn stop(mut self) -> SupervisorExit {
        self.rules.stop(self.now);
        self.perform();
        while self.finished.is_none() {
            let index = self.first(|life| matches!(life, Simulated::Stopping(_)));
            let index = index.expect("somebody is stopping until the end");
            let had_lived = self.lives[&index].0 == Simulated::Stopping(true);
            let ended = Report::Ended { exit: Exit::Stopped, cleanup: None };
            self.report(index, if had_lived { ended } else { Report::NotStarted });
        }
        let (exit, report) = self.finished.take().expect("just checked");
        let rows: Vec<ChildId> = report.children.into_iter().map(|row| row.id).collect();
        let lived = self.rules.children.entries().rev().filter(|(_, entry)| entry.exit.is_some());
        assert_eq!(rows, lived.map(|(_, entry)| entry.terms.id.clone()).collect::<Vec<_>>());
        exit
    }
}

#[test]
fn a_sibling_that_fails_while_a_round_takes_it_down_is_not_counted() {
    let mut world = World::ready(Strategy::OneForAll);
    world.fail("c0");
    world.fail("c1");
    world.fail("c2");
    world.start_all();
    assert_eq!(world.counted.len(), 1);
    assert_eq!(
        world.trace,
        ["stop ChildIndex(2)", "start ChildIndex(0)", "start ChildIndex(1)", "start ChildIndex(2)"]
    );
}

#[test]
fn a_child_that_fails_again_during_its_round_restarts_the_round() {
    let mut world = World::ready(Strategy::RestForOne);
    world.fail("c1");
    world.stopped("c2");
    world.report(world.index("c1"), Report::Started);
    world.fail("c1");
    world.report(world.index("c2"), Report::NotStarted);
    world.start_all();
    assert_eq!(world.counted.len(), 2);
    let expected = [
        "stop ChildIndex(2)",
        "start ChildIndex(1)",
        "start ChildIndex(2)",
        "stop ChildIndex(2)",
        "start ChildIndex(1)",
        "start ChildIndex(2)",
    ];
    assert_eq!(world.trace, expected);
}

#[test]
fn an_earlier_child_that_fails_during_a_round_enlarges_it() {
    let mut world = World::ready(Strategy::RestForOne);
    world.fail("c1");
    world.fail("c0");
    world.stopped("c2");
    world.start_all();
    assert_eq!(
        world.trace,
        ["stop ChildIndex(2)", "start ChildIndex(0)", "start ChildIndex(1)", "start ChildIndex(2)"]
    );
}

#[test]
fn a_failed_start_within_a_round_is_retried_before_those_behind_it() {
    let mut world = World::ready(Strategy::RestForOne);
    world.fail("c1");
    world.stopped("c2");
    world.report(world.index("c1"), Report::StartFailed { exit: Exit::StartFailed("boom".into()) });
    world.start_all();
    assert_eq!(
        world.trace,
        ["stop ChildIndex(2)", "start ChildIndex(1)", "start ChildIndex(1)", "start ChildIndex(2)"]
    );
}

#[test]
fn a_child_removed_during_a_round_is_not_started_again() {
    let mut world = World::ready(Strategy::OneForAll);
    let removed = world.index("c2");
    world.fail("c0");
    world.rules.remove(removed, world.now);
    world.perform();
    world.stopped("c2");
    world.stopped("c1");
    world.start_all();
    assert_eq!(
        world.trace,
        ["stop ChildIndex(2)", "stop ChildIndex(1)", "start ChildIndex(0)", "start ChildIndex(1)"]
    );
    assert_eq!(world.removed, 1);
}

#[test]
fn reports_of_earlier_lives_change_nothing() {
    let mut world = World::ready(Strategy::OneForOne);
    let index = world.index("c1");
    world.fail("c1");
    world.start_all();
    let late = Report::Ended { exit: Exit::Aborted, cleanup: None };
    world.rules.report(index, 1, late, world.now);
    assert_eq!(world.rules.take_commands(), []);
}

#[test]
fn a_supervisor_without_children_is_ready_and_stops() {
    let world = World::new(Strategy::OneForAll, Intensity::default(), &[]);
    assert!(world.ready);
    assert_eq!(world.stop(), SupervisorExit::Stopped);
}

#[test]
fn a_later_child_that_fails_during_a_round_does_not_hurry_the_stops() {
    let restarts = [Restart::Permanent, Restart::Permanent, Restart::Temporary];
    let mut world = World::new(Strategy::RestForOne, Intensity { restarts: 100, within: MS(1) }, &restarts);
    world.start_all();
    world.trace.clear();
    world.fail("c0");
    world.add(0);
    world.report(world.index("late0"), Report::Started);
    world.fail("late0");
    assert_eq!(
        world.trace,
        ["stop ChildIndex(2)", "start ChildIndex(3)"],
        "the temporary child is still stopping"
    );
    world.stopped("c2");
    world.stopped("c1");
    world.start_all();
    let rest = ["stop ChildIndex(1)", "start ChildIndex(0)", "start ChildIndex(1)", "start ChildIndex(3)"];
    assert_eq!(world.trace[2..], rest);
}

fn restart_types() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![3 => Just(Restart::Permanent), 1 => Just(Restart::Transient), 1 => Just(Restart::Temporary)]
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne), Just(Strategy::OneForAll)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Under any failure at any time: one life at a time, starts in order, stops in reverse, the intensity
    /// holds to the restart, and nothing gets stuck.
    #[test]
    fn random_failures_keep_every_rule(
        strategy in strategies(),
        restarts in proptest::collection::vec(restart_types(), 0..7),
        tolerated in 0u32..8,
        within in 1u64..100,
        steps in proptest::collection::vec((any::<u16>(), 0u64..30), 0..150),
    ) {
        let mut world = World::new(strategy, Intensity { restarts: tolerated, within: MS(within) }, &restarts);
        for (choice, gap) in steps {
            world.step(choice, gap);
        }
        world.stop();
    }
}
