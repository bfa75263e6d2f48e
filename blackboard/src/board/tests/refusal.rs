//! Rules of starts that do not come about although the store works, each by example.

use std::collections::BTreeSet;
use std::time::Duration;

use super::shapes::{claim, each, in_lane, micros};
use super::world::{Setup, World, inputs, run};
use crate::board::WaitingFilter;
use crate::effect::Effect;
use crate::id::{AgentIndex, JobId, Offset};
use crate::input::Input;
use crate::job::Verdict;
use crate::outcome::Outcome;

/// Two agents with this many slots each, and a subscription for each of them.
fn world(slots: u32, patience: Option<u64>) -> World {
    World::new(Setup {
        agents: vec![slots, slots],
        patience,
        window: None,
        subscriptions: vec![(0, each()), (1, each())],
        in_log_order: BTreeSet::new(),
    })
}

fn reasons(world: &World) -> Vec<&'static str> {
    world.board.waiting(&WaitingFilter::default()).iter().map(|waiting| waiting.reason.name()).collect()
}

fn job_of(world: &World, member: u64) -> JobId {
    let mut starts = world.fresh.iter().chain(world.running.values());
    starts.find(|start| inputs(start) == [member]).expect("the job was started").job
}

/// Refuses the start of this job, and no other.
fn defer(world: &mut World, member: u64) {
    let job = job_of(world, member);
    let place = world.fresh.iter().position(|start| start.job == job).expect("it is not committed yet");
    let start = world.fresh.remove(place);
    world.handle(Input::StartDeferred(start.id()));
}

/// The inputs of what was started, in log order.
fn busy(world: &World) -> Vec<Vec<u64>> {
    let mut busy = world.busy();
    busy.sort();
    busy
}

fn until_due(world: &mut World) -> Duration {
    let due = world.board.next_deadline().expect("something is due");
    let span = due.since(world.now);
    world.now = due.after(micros(1));
    world.tick();
    span
}

#[test]
fn a_job_whose_start_is_refused_alone_leaves_its_slot_to_others_and_comes_again() {
    let mut world = world(1, None);
    for agent in [0, 0, 1] {
        world.publish(run(0), vec![claim(agent, 0)]);
    }
    defer(&mut world, 1);
    assert_eq!(busy(&world), [vec![2], vec![3]], "nobody waits for it");
    assert_eq!(reasons(&world), ["store_unavailable"]);
    assert!(world.board.is_at_work(), "it is not lost from sight");
    world.end(job_of(&world, 2), Verdict::Done, Vec::new());
    until_due(&mut world);
    assert_eq!(busy(&world), [vec![1], vec![3]]);
    let again = world.fresh.iter().find(|start| inputs(start) == [1]).expect("it is started");
    assert_eq!(again.attempt, 1, "no attempt was made before");
}

#[test]
fn the_back_off_of_a_refused_start_doubles_up_to_a_limit_and_begins_anew_after_an_attempt() {
    let mut world = world(1, None);
    world.publish(run(0), vec![claim(0, 0)]);
    let mut spans = Vec::new();
    for _ in 0..10 {
        world.defer_starts();
        spans.push(until_due(&mut world).as_secs());
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]);
    world.end(job_of(&world, 1), Verdict::Released, Vec::new());
    world.defer_starts();
    assert_eq!(until_due(&mut world).as_secs(), 1);
}

#[test]
fn a_deferred_job_keeps_its_lane_and_no_other_one() {
    let mut world = world(9, None);
    for lane in ["a", "a", "b"] {
        world.publish(run(0), vec![in_lane(claim(0, 0), lane)]);
    }
    defer(&mut world, 1);
    assert_eq!(busy(&world), [vec![3]]);
    until_due(&mut world);
    world.end(job_of(&world, 1), Verdict::Done, Vec::new());
    assert_eq!(busy(&world), [vec![2], vec![3]]);
}

#[test]
fn a_deferred_job_that_never_started_ends_as_its_inputs_when_its_run_is_cancelled() {
    for waits_again in [false, true] {
        let mut world = world(1, None);
        world.publish(run(0), vec![claim(0, 0)]);
        world.defer_starts();
        if waits_again {
            world.handle(Input::Pause(AgentIndex(0)));
            until_due(&mut world);
        }
        world.cancel(run(0));
        assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Cancelled));
        assert!(!world.told.iter().any(|effect| matches!(effect, Effect::Drop(_))), "the store knows no job");
        assert_eq!(world.board.next_deadline(), None);
    }
}
