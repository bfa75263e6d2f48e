//! Rules of the window and of what is in the log only, each by example.

use std::collections::BTreeSet;

use super::shapes::{batched, by_event_time, claim, each, in_lane, join, keyed, micros, within};
use super::world::{Setup, World, inputs, run};
use crate::effect::Effect;
use crate::id::{AgentIndex, JobId, Offset};
use crate::input::Input;
use crate::job::Verdict;
use crate::outcome::{CloseReason, Expiry, Outcome};
use crate::subscription::{Batch, JoinMode, Subscription, Window};

/// One agent that runs one job at a time and has room for so many more.
fn world(window: usize, subscriptions: Vec<Subscription>) -> World {
    let subscriptions = subscriptions.into_iter().map(|subscription| (0, subscription)).collect();
    World::new(setup(vec![1], window, subscriptions))
}

fn setup(agents: Vec<u32>, window: usize, subscriptions: Vec<(u32, Subscription)>) -> Setup {
    let window = Some(window);
    Setup { agents, patience: None, window, subscriptions, in_log_order: BTreeSet::new() }
}

fn finish_one(world: &mut World) -> Vec<u64> {
    world.commit_starts();
    let start = world.running.values().next().expect("something runs").clone();
    world.end(start.job, Verdict::Done, Vec::new());
    inputs(&start)
}

fn in_memory(world: &World) -> (usize, u64) {
    let status = &world.board.agents()[0];
    (status.queued, status.spilled)
}

fn asked(world: &World, wanted: impl Fn(&Effect) -> bool) -> usize {
    world.told.iter().filter(|effect| wanted(effect)).count()
}

#[test]
fn what_does_not_fit_the_window_stays_in_the_log_and_is_read_in_order() {
    let mut world = world(3, vec![each()]);
    for number in 0..20 {
        world.publish(run(number % 5), vec![claim(0, 0)]);
    }
    assert_eq!(in_memory(&world), (3, 16));
    assert_eq!(world.board.queued(), 20, "publishers are held back by all of it");
    let mut seen = Vec::new();
    for _ in 0..20 {
        assert!(in_memory(&world).0 <= 3, "the window is kept");
        seen.extend(finish_one(&mut world));
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
    assert!(asked(&world, |effect| matches!(effect, Effect::LoadPage(_))) < 12, "it is read page by page");
    assert_eq!(in_memory(&world), (0, 0));
    world.finish_everything();
}

#[test]
fn runs_that_are_in_the_log_only_cost_no_memory() {
    let mut world = world(1, vec![each()]);
    world.publish(run(0), vec![claim(0, 0)]);
    world.publish(run(1), vec![claim(0, 0)]);
    world.publish(run(2), vec![claim(0, 0)]);
    assert_eq!(world.board.tally(run(2)), None);
    assert!(!world.board.is_idle());
    finish_one(&mut world);
    finish_one(&mut world);
    let tally = world.board.tally(run(2)).expect("it was read");
    assert_eq!((tally.matched, tally.outstanding()), (1, 1), "its counts come from the store");
    world.finish_everything();
}

#[test]
fn a_run_with_claims_in_the_log_is_not_at_rest_until_they_have_ended() {
    let mut world = world(1, vec![each()]);
    for _ in 0..3 {
        world.publish(run(1), vec![claim(0, 0)]);
    }
    world.publish(run(0), vec![claim(0, 0)]);
    world.pin(run(0));
    assert!(!world.board.is_quiescent(run(0)), "the board knows of nothing, but the store does");
    for _ in 0..3 {
        finish_one(&mut world);
    }
    assert!(!world.board.is_quiescent(run(0)));
    finish_one(&mut world);
    assert!(world.board.is_quiescent(run(0)));
    assert_eq!(world.board.tally(run(0)).map(|tally| tally.consumed), Some(1));
}

#[test]
fn what_a_paused_agent_has_in_the_log_does_not_keep_a_run_from_rest() {
    let mut world = world(1, vec![each()]);
    world.pin(run(0));
    for _ in 0..4 {
        world.publish(run(0), vec![claim(0, 0)]);
    }
    world.handle(Input::Pause(AgentIndex(0)));
    finish_one(&mut world);
    assert!(world.board.is_quiescent(run(0)) && world.board.is_idle());
    assert!(world.board.tally(run(0)).is_some_and(|tally| tally.outstanding() == 3));
    world.handle(Input::Resume(AgentIndex(0)));
    assert!(!world.board.is_quiescent(run(0)));
}

#[test]
fn cancelling_a_run_ends_what_it_has_in_the_log() {
    let mut world = world(1, vec![each()]);
    for number in [1, 1, 0, 2, 0] {
        world.publish(run(number), vec![claim(0, 0)]);
    }
    world.pin(run(0));
    world.cancel(run(0));
    for offset in [3, 5] {
        assert_eq!(world.outcome(0, Offset::new(offset)), Some(Outcome::Cancelled));
    }
    assert_eq!(in_memory(&world), (1, 1), "the others stay");
    world.finish_everything();
}

#[test]
fn a_finished_run_lets_go_when_all_of_it_has_been_read() {
    let setup = setup(vec![1], 1, vec![(0, each()), (0, batched(each(), Batch::until_finished()))]);
    let mut world = World::new(setup);
    world.publish(run(0), vec![claim(0, 0), claim(1, 0)]);
    for _ in 0..3 {
        world.publish(run(1), vec![claim(0, 0)]);
    }
    world.publish(run(0), vec![claim(1, 0)]);
    world.handle(Input::FinishRun(run(0)));
    world.let_pass();
    let batch = world.done().into_iter().find(|(subscription, ..)| *subscription == 1);
    assert_eq!(batch, Some((1, vec![1, 5], Some(CloseReason::EndOfInput))));
}

#[test]
fn time_stands_still_where_an_agent_has_read() {
    let mut world = world(1, vec![each(), join(2, JoinMode::Once, within(20))]);
    world.publish(run(0), vec![claim(0, 0)]);
    world.publish(run(0), vec![keyed(1, 0, "k")]);
    world.publish(run(0), vec![claim(0, 0)]);
    world.advance(10);
    world.publish(run(0), vec![keyed(1, 1, "k")]);
    world.publish(run(0), vec![keyed(1, 0, "late")]);
    world.advance(100);
    world.tick();
    assert_eq!(world.outcome(1, Offset::new(2)), None, "its partner is in the log");
    world.let_pass();
    let done = world.done();
    assert!(done.contains(&(1, vec![2, 4], None)), "{done:?}");
    assert_eq!(world.outcome(1, Offset::new(5)), Some(Outcome::Expired(Expiry::TimeWindow)));
}

#[test]
fn a_full_window_of_one_side_does_not_wait_for_the_other_side_behind_it() {
    let mut world = world(1, vec![join(2, JoinMode::Once, None)]);
    for number in 0..50 {
        world.publish(run(0), vec![keyed(0, 0, &number.to_string())]);
    }
    for number in 0..50 {
        world.publish(run(0), vec![keyed(0, 1, &number.to_string())]);
    }
    world.let_pass();
    assert_eq!(world.done().len(), 50);
}

#[test]
fn four_jobs_that_back_off_count_like_one_in_the_window() {
    let mut world = world(2, vec![each()]);
    for _ in 0..20 {
        world.publish(run(0), vec![claim(0, 0)]);
    }
    let mut tries = 0;
    loop {
        world.commit_starts();
        let Some(job) = world.running.keys().next().copied() else { break };
        world.end(job, Verdict::Retry(world.now.after(micros(1_000))), Vec::new());
        tries += 1;
    }
    assert_eq!(
        (tries, in_memory(&world)),
        (9, (0, 11)),
        "there is room for eight that back off, and one ran beside them"
    );
    world.finish_everything();
}

#[test]
fn others_are_read_past_jobs_that_wait_behind_a_key() {
    let mut world = world(2, vec![each()]);
    for _ in 0..6 {
        world.publish(run(0), vec![in_lane(claim(0, 0), "hot")]);
    }
    world.publish(run(0), vec![in_lane(claim(0, 0), "cold")]);
    assert_eq!(in_memory(&world), (6, 0), "five of the busy key count like one, the other key is there");
    for _ in 0..30 {
        world.publish(run(0), vec![in_lane(claim(0, 0), "hot")]);
    }
    assert!(in_memory(&world).0 <= 8, "four times the window is the end of it");
    world.finish_everything();
}

#[test]
fn a_backlog_is_read_from_the_first_moment_on_and_within_the_window() {
    let mut world = world(4, vec![each()]);
    world.handle(Input::Hold);
    for number in 0..100 {
        world.publish(run(number), vec![claim(0, 0)]);
    }
    world.restart(10);
    assert_eq!(world.busy(), [vec![1]], "it starts at once");
    assert!(in_memory(&world).0 <= 4);
    world.finish_everything();
}

#[test]
fn watermarks_and_counts_are_where_they_were_after_a_restart() {
    let shapes = || {
        vec![by_event_time(2, JoinMode::Once, 10, 0, 9_000), join(2, JoinMode::Once, Some(Window::Count(2)))]
    };
    let ends = |restart: bool| {
        let mut world = world(9, shapes());
        let at = |world: &World, side, key, age| {
            let mut claim = keyed(0, side, key);
            claim.event_time = Some(world.now.before(micros(age)));
            claim
        };
        let held = at(&world, 0, "held", 15);
        world.publish(run(0), vec![held, keyed(1, 0, "held")]);
        let (one, other) = (at(&world, 0, "pair", 6), at(&world, 1, "pair", 6));
        world.publish(run(0), vec![one, keyed(1, 0, "pair")]);
        world.publish(run(0), vec![other, keyed(1, 1, "pair")]);
        world.let_pass_jobs();
        if restart {
            world.restart(3);
        }
        let late = at(&world, 1, "late", 1);
        world.publish(run(0), vec![late, keyed(1, 1, "late")]);
        (world.outcome(0, Offset::new(1)), world.outcome(1, Offset::new(1)))
    };
    assert_eq!(ends(true), ends(false));
    let expired = |expiry| Some(Outcome::Expired(expiry));
    assert_eq!(ends(true), (expired(Expiry::Watermark), expired(Expiry::CountWindow)));
}

#[test]
fn a_pair_that_lost_an_input_in_the_log_is_dropped() {
    let mut world = world(1, vec![each(), join(2, JoinMode::EveryPair, within(90))]);
    world.publish(run(0), vec![keyed(1, 0, "k")]);
    world.publish(run(1), vec![keyed(1, 1, "k")]);
    world.commit_starts();
    let mut world = world.lazy();
    world.restart(3);
    world.cancel(run(0));
    world.finish_everything();
}

#[test]
fn a_cycle_of_agents_with_full_windows_does_not_stand_still() {
    let setup = setup(vec![1, 1], 1, vec![(0, each()), (1, each())]);
    let mut world = World::new(setup);
    for _ in 0..5 {
        world.publish(run(0), vec![claim(0, 0), claim(1, 0)]);
    }
    for round in 0..60_u32 {
        world.commit_starts();
        let Some(job): Option<JobId> = world.running.keys().next().copied() else { break };
        let to = 1 - world.running[&job].subscription.0;
        let outputs = if round < 20 { vec![vec![claim(to, 0)], vec![claim(to, 0)]] } else { Vec::new() };
        world.end(job, Verdict::Done, outputs);
    }
    assert!(world.board.is_idle(), "everything has ended");
    world.finish_everything();
}
