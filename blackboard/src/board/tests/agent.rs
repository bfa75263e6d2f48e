//! Rules of what agents are given, each by example: quarantine, queue time-outs, deadlines of runs, and what
//! cancelling leaves alone.

use std::collections::BTreeSet;

use super::shapes::{claim, each, in_lane, micros};
use super::world::{Setup, World, inputs, run};
use crate::board::{RunningState, WaitingFilter};
use crate::effect::Effect;
use crate::id::{AgentIndex, JobId, Offset};
use crate::input::Input;
use crate::job::{AttemptId, Verdict, Wait, WaitsFor};
use crate::outcome::{Outcome, WaitingReason};

const AGENT: AgentIndex = AgentIndex(0);

/// One agent with this many slots, whose jobs wait at most this many microseconds.
fn world(slots: u32, patience: Option<u64>) -> World {
    let subscriptions = vec![(0, each())];
    World::new(Setup {
        agents: vec![slots],
        patience,
        window: None,
        subscriptions,
        in_log_order: BTreeSet::new(),
    })
}

fn publish(world: &mut World, number: usize) {
    for _ in 0..number {
        world.publish(run(0), vec![claim(0, 0)]);
    }
}

fn pass(world: &mut World, span: u64) {
    world.advance(span);
    world.handle(Input::Tick);
}

fn job_of(world: &World, member: u64) -> JobId {
    let mut starts = world.fresh.iter().chain(world.running.values());
    starts.find(|start| inputs(start) == [member]).expect("the job was started").job
}

fn end(world: &mut World, member: u64, verdict: Verdict) {
    let job = job_of(world, member);
    world.end(job, verdict, Vec::new());
}

fn reasons(world: &World) -> Vec<&'static str> {
    world.board.waiting(&WaitingFilter::default()).iter().map(|waiting| waiting.reason.name()).collect()
}

/// The inputs of what was given up because it waited too long.
fn buried(world: &World) -> Vec<Vec<u64>> {
    let starts = world.fresh.iter().chain(world.running.values());
    starts.filter(|start| world.buried.contains_key(&start.job)).map(|start| inputs(start)).collect()
}

fn lifted(world: &World) -> usize {
    world.told.iter().filter(|effect| matches!(effect, Effect::QuarantineLifted(_))).count()
}

#[test]
fn nothing_of_a_quarantined_agent_starts_and_what_runs_finishes() {
    let mut world = world(1, None);
    publish(&mut world, 2);
    world.quarantine(AGENT, None);
    end(&mut world, 1, Verdict::Done);
    assert_eq!(world.busy(), Vec::<Vec<u64>>::new());
    let status = &world.board.agents()[0];
    let quarantine = status.quarantine.expect("it is in quarantine");
    assert_eq!((status.restarts, status.queued, quarantine.restarts), (1, 1, 3));
    let waiting = world.board.waiting(&WaitingFilter::default());
    assert_eq!(waiting[0].reason, WaitingReason::AgentQuarantined(quarantine));
    world.handle(Input::Resume(AGENT));
    assert_eq!(world.busy(), [vec![2]]);
    assert_eq!(lifted(&world), 1);
    assert_eq!(world.board.agents()[0].quarantine, None);
}

#[test]
fn a_quarantine_without_an_end_is_rest_and_one_with_an_end_moves_by_itself_without_being_work() {
    let mut world = world(1, None);
    world.pin(run(0));
    world.quarantine(AGENT, None);
    publish(&mut world, 1);
    assert!(world.board.is_idle() && world.board.is_quiescent(run(0)));
    let until = world.now.after(micros(10));
    world.quarantine(AGENT, Some(until));
    assert!(!world.board.is_idle() && !world.board.is_quiescent(run(0)) && !world.board.is_at_work());
    assert_eq!(world.board.next_deadline(), Some(until));
    pass(&mut world, 10);
    assert_eq!(world.busy(), [vec![1]]);
    assert!(world.board.is_at_work());
    assert_eq!(lifted(&world), 1);
}

#[test]
fn a_paused_agent_stays_paused_when_its_quarantine_ends_and_resuming_ends_both() {
    let mut world = world(1, None);
    let until = world.now.after(micros(10));
    world.quarantine(AGENT, Some(until));
    world.handle(Input::Pause(AGENT));
    publish(&mut world, 1);
    assert_eq!(reasons(&world), ["agent_paused"]);
    assert!(world.board.is_idle(), "somebody has to resume it");
    pass(&mut world, 10);
    assert_eq!((world.busy().len(), lifted(&world)), (0, 1));
    world.quarantine(AGENT, None);
    world.handle(Input::Resume(AGENT));
    assert_eq!((world.busy().len(), lifted(&world)), (1, 2));
}

#[test]
fn what_waits_too_long_for_a_slot_is_given_up_and_takes_none() {
    let mut world = world(2, Some(30));
    publish(&mut world, 2);
    world.advance(10);
    publish(&mut world, 1);
    world.advance(10);
    publish(&mut world, 1);
    assert_eq!(world.board.agents()[0].oldest_queued, Some(world.now.before(micros(10))));
    world.commit_starts();
    pass(&mut world, 18);
    assert_eq!(buried(&world), Vec::<Vec<u64>>::new(), "2 µs are left");
    pass(&mut world, 2);
    assert_eq!(buried(&world), [vec![3]]);
    let (job, running) = (job_of(&world, 3), [job_of(&world, 1), job_of(&world, 2)]);
    assert!(world.buried.contains_key(&job));
    let overdue = world.overdue()[0].clone();
    assert_eq!((overdue.waited, overdue.taken, overdue.slots), (micros(30), 2, 2));
    assert_eq!(overdue.jobs.iter().collect::<BTreeSet<_>>(), running.iter().collect());
    assert_eq!(world.board.agents()[0].running, 2);
    end(&mut world, 3, Verdict::Dead);
    assert_eq!(world.outcome(0, Offset::new(3)), Some(Outcome::Dead));
    end(&mut world, 1, Verdict::Done);
    assert_eq!(world.busy().len(), 2, "the fourth had waited 20 µs only, and runs");
    assert_eq!(world.board.next_deadline(), None);
}

#[test]
fn no_more_are_given_up_at_once_than_the_agent_has_slots() {
    let mut world = world(2, Some(30));
    publish(&mut world, 7);
    pass(&mut world, 30);
    for (given_up, next) in [([3, 4], vec![vec![5], vec![6]]), ([5, 6], vec![vec![7]]), ([7, 0], vec![])] {
        for member in given_up.into_iter().filter(|member| *member > 0) {
            end(&mut world, member, Verdict::Dead);
        }
        let mut now: Vec<Vec<u64>> = buried(&world);
        now.sort();
        assert_eq!(now, next);
    }
}

#[test]
fn the_queue_clock_begins_anew_when_the_agent_is_resumed_and_after_a_back_off() {
    let mut world = world(1, Some(30));
    publish(&mut world, 2);
    world.handle(Input::Pause(AGENT));
    pass(&mut world, 1_000);
    assert_eq!((buried(&world).len(), world.board.next_deadline()), (0, None), "nobody waits for a slot");
    world.handle(Input::Resume(AGENT));
    assert_eq!(world.board.next_deadline(), Some(world.now.after(micros(30))));
    let until = world.now.after(micros(20));
    end(&mut world, 1, Verdict::Retry(until));
    assert_eq!(world.busy(), [vec![2]]);
    pass(&mut world, 20);
    assert_eq!(
        world.board.next_deadline(),
        Some(world.now.after(micros(30))),
        "from the end of the back-off"
    );
}

#[test]
fn what_waits_behind_its_key_is_given_up_and_the_key_goes_on() {
    let mut world = world(2, Some(30));
    for _ in 0..3 {
        world.publish(run(0), vec![in_lane(claim(0, 0), "k")]);
        world.advance(10);
    }
    pass(&mut world, 10);
    assert_eq!(buried(&world), [vec![2]]);
    assert!(world.overdue().iter().all(|overdue| overdue.behind.is_some() && overdue.taken == 1));
    end(&mut world, 2, Verdict::Dead);
    assert_eq!(world.busy(), [vec![1]], "the key is still taken");
    end(&mut world, 1, Verdict::Done);
    assert_eq!(world.busy(), [vec![3]]);
}

#[test]
fn a_key_goes_on_when_its_first_job_is_given_up() {
    let mut world = world(1, Some(30));
    publish(&mut world, 1);
    for _ in 0..2 {
        world.publish(run(0), vec![in_lane(claim(0, 0), "k")]);
        world.advance(20);
    }
    world.handle(Input::Tick);
    assert_eq!(buried(&world), [vec![2]]);
    end(&mut world, 1, Verdict::Done);
    assert!(world.busy().contains(&vec![3]), "it was behind one that will never run");
}

#[test]
fn a_burial_that_is_handed_back_waits_again() {
    let mut world = world(1, Some(30));
    publish(&mut world, 2);
    pass(&mut world, 30);
    end(&mut world, 2, Verdict::Released);
    assert_eq!((buried(&world).len(), reasons(&world)), (0, vec!["no_slot"]));
    end(&mut world, 1, Verdict::Done);
    assert_eq!(world.busy(), [vec![2]]);
}

#[test]
fn a_run_is_cancelled_at_its_deadline_and_what_is_published_later_with_it() {
    let mut world = world(1, None);
    world.pin(run(0));
    publish(&mut world, 3);
    end(&mut world, 1, Verdict::Done);
    let at = world.now.after(micros(10));
    world.handle(Input::DeadlineRun { run: run(0), at });
    world.commit_starts();
    pass(&mut world, 10);
    assert_eq!(world.told.iter().filter(|e| matches!(e, Effect::RunTimedOut { .. })).count(), 1);
    end(&mut world, 2, Verdict::Cancelled);
    publish(&mut world, 1);
    let tally = world.board.tally(run(0)).expect("it has a handle");
    assert_eq!((tally.consumed, tally.cancelled, tally.outstanding()), (1, 3, 0));
}

#[test]
fn a_run_that_is_settled_at_its_deadline_was_in_time() {
    let mut world = world(1, None);
    world.pin(run(0));
    publish(&mut world, 1);
    let late = world.now.after(micros(50));
    for at in [late, late.before(micros(40))] {
        world.handle(Input::DeadlineRun { run: run(0), at });
    }
    end(&mut world, 1, Verdict::Done);
    pass(&mut world, 10);
    assert!(!world.told.iter().any(|effect| matches!(effect, Effect::RunTimedOut { .. })));
    assert_eq!(world.board.next_deadline(), None, "the later deadline was replaced");
}

#[test]
fn a_job_that_is_being_cancelled_says_so_and_since_when() {
    let mut world = world(2, None);
    publish(&mut world, 1);
    let started = world.now;
    world.commit_starts();
    world.advance(10);
    world.cancel(run(0));
    world.advance(10);
    let running = world.board.running();
    assert_eq!(running.len(), 1);
    assert_eq!((running[0].since, running[0].attempt, running[0].run), (started, 1, run(0)));
    let RunningState::Cancelling { since } = running[0].state else { panic!("{running:?}") };
    assert_eq!(since, started.after(micros(10)));
    assert_eq!((world.board.agents()[0].cancelling, world.board.agents()[0].running), (1, 1));
}

#[test]
fn terminal_states_are_final() {
    let mut world = world(3, None);
    world.pin(run(0));
    publish(&mut world, 3);
    end(&mut world, 1, Verdict::Done);
    world.cancel(run(0));
    world.cancel(run(0));
    let cancels = world.told.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count();
    assert_eq!(cancels, 2, "a second cancel changes nothing");
    let late = world.running[&job_of(&world, 2)].id();
    end(&mut world, 2, Verdict::Cancelled);
    let other = world.publish(run(1), vec![claim(0, 0)]);
    let place = world.fresh[0].index;
    assert_eq!(place, late.index, "places are given again");
    let tally = world.board.tally(run(0));
    // The end of an attempt that is over, and of one that never was.
    for attempt in [1, 2] {
        let attempt = AttemptId { attempt, ..late };
        assert!(!world.board.is_current(attempt));
        world.handle(Input::Finished { attempt, verdict: Verdict::Done, is_short: false });
    }
    world.handle(Input::StartRefused(late));
    assert_eq!(world.board.tally(run(0)), tally);
    assert_eq!(world.outcome(0, other), None, "the job that has the place now runs on");
    end(&mut world, 3, Verdict::Done);
    assert_eq!(world.outcome(0, Offset::new(3)), Some(Outcome::Consumed), "it finished before it ended");
    world.cancel(run(0));
    assert_eq!(world.board.tally(run(0)).expect("it has a handle").consumed, 2);
}

/// The parts of the wait of an input's job before its start, in microseconds.
fn waited(world: &World, member: u64) -> Vec<(WaitsFor, u128)> {
    let mut starts = world.fresh.iter().chain(world.running.values());
    let start = starts.find(|start| inputs(start) == [member]).expect("the job was started");
    let observed = start.observed.as_ref().expect("the board is observed");
    let mut since = observed.since;
    let part = |wait: &Wait| {
        let took = wait.until.since(since).as_micros();
        since = wait.until;
        (wait.what, took)
    };
    observed.waits.iter().map(part).collect()
}

#[test]
fn a_start_says_what_its_job_waited_for() {
    use WaitsFor::{Concurrency, Quarantine, Store};
    let mut world = world(1, None);
    publish(&mut world, 2);
    assert_eq!(waited(&world, 1), []);
    world.advance(10);
    world.handle(Input::StoreDown);
    world.advance(20);
    world.handle(Input::StoreUp);
    world.advance(5);
    end(&mut world, 1, Verdict::Done);
    assert_eq!(waited(&world, 2), [(Concurrency, 10), (Store, 20), (Concurrency, 5)]);
    world.quarantine(AGENT, None);
    end(&mut world, 2, Verdict::Done);
    publish(&mut world, 1);
    world.advance(7);
    world.handle(Input::Resume(AGENT));
    assert_eq!(waited(&world, 3), [(Quarantine, 7)]);
}
