//! Rules of the board, each by example.

use std::collections::BTreeSet;

use super::shapes::{
    all_of, at, batched, by_event_time, claim, each, in_lane, join, keyed, micros, refused, within,
};
use super::world::{Setup, World, inputs, run};
use crate::board::WaitingFilter;
use crate::claim::Claim;
use crate::effect::Effect;
use crate::id::{AgentIndex, JobId, Offset};
use crate::input::Input;
use crate::job::Verdict;
use crate::outcome::{CloseReason, Discard, Expiry, Outcome, WaitingReason};
use crate::subscription::{Batch, JoinMode, Subscription, Window};

/// One agent with this concurrency and these subscriptions.
fn world(concurrency: u32, subscriptions: Vec<Subscription>) -> World {
    let subscriptions = subscriptions.into_iter().map(|subscription| (0, subscription)).collect();
    World::new(Setup {
        agents: vec![concurrency],
        patience: None,
        window: None,
        subscriptions,
        in_log_order: BTreeSet::new(),
    })
}

/// An agent of its own, with room for three jobs, for every subscription.
fn world_of_agents(subscriptions: Vec<Subscription>) -> World {
    let agents = vec![3; subscriptions.len()];
    let subscriptions = (0..).zip(subscriptions).collect();
    World::new(Setup { agents, patience: None, window: None, subscriptions, in_log_order: BTreeSet::new() })
}

fn publish(world: &mut World, claims: &[Claim]) -> Vec<Offset> {
    claims.iter().map(|claim| world.publish(run(0), vec![claim.clone()])).collect()
}

fn job_of(world: &World, members: &[u64]) -> JobId {
    let mut starts = world.fresh.iter().chain(world.running.values());
    starts.find(|start| inputs(start) == members).expect("the job was started").job
}

fn done(world: &mut World, members: &[u64]) {
    let job = job_of(world, members);
    world.end(job, Verdict::Done, Vec::new());
}

fn closed(world: &World) -> Vec<(Vec<u64>, Option<CloseReason>)> {
    world.fresh.iter().map(|start| (inputs(start), start.closed)).collect()
}

fn reasons(world: &World) -> BTreeSet<&'static str> {
    world.board.waiting(&WaitingFilter::default()).iter().map(|waiting| waiting.reason.name()).collect()
}

fn told(world: &World, wanted: impl Fn(&Effect) -> bool) -> usize {
    world.told.iter().filter(|effect| wanted(effect)).count()
}

#[test]
fn surplus_stays_for_the_next_job() {
    let mut world = world(9, vec![all_of(&[2, 1])]);
    let sides = [0, 0, 0, 1, 0, 1].map(|side| claim(0, side));
    publish(&mut world, &sides);
    assert_eq!(world.busy(), [vec![1, 2, 4], vec![3, 5, 6]]);
}

#[test]
fn inputs_stand_in_declaration_order() {
    let mut world = world(9, vec![join(3, JoinMode::Once, None)]);
    publish(&mut world, &[keyed(0, 2, "k"), keyed(0, 0, "k"), keyed(0, 1, "other"), keyed(0, 1, "k")]);
    assert_eq!(world.busy(), [vec![2, 4, 1]]);
    assert_eq!(reasons(&world), BTreeSet::from(["join_missing"]));
}

#[test]
fn what_becomes_visible_late_takes_its_place_in_the_log() {
    let mut world = world(9, vec![all_of(&[1, 1])]);
    let opens = world.now.after(micros(10));
    let hidden = Claim { visible_at: Some(opens), ..claim(0, 0) };
    publish(&mut world, &[hidden, claim(0, 0)]);
    assert_eq!(reasons(&world), BTreeSet::from(["not_visible_until", "all_of_missing"]));
    world.advance(12);
    world.tick();
    publish(&mut world, &[claim(0, 1)]);
    assert_eq!(world.busy(), [vec![1, 3]], "the older artifact goes first");
}

#[test]
fn a_batch_closes_by_whatever_comes_first() {
    let rule = Batch::of(3).or_after(micros(50)).or_weighing(10);
    let mut world = world(9, vec![batched(each(), rule)]);
    let weighing = |weight| Claim { weight, ..claim(0, 0) };
    publish(&mut world, &[weighing(1), weighing(1), weighing(1)]);
    publish(&mut world, &[weighing(9), weighing(2)]);
    publish(&mut world, &[weighing(8)]);
    publish(&mut world, &[weighing(99)]);
    publish(&mut world, &[weighing(1)]);
    world.advance(48);
    world.tick();
    assert_eq!(world.fresh.len(), 4, "the last batch has not waited long enough");
    world.advance(4);
    world.tick();
    let wanted = [
        (vec![1, 2, 3], Some(CloseReason::Size)),
        (vec![4], Some(CloseReason::Weight)),
        (vec![5, 6], Some(CloseReason::Weight)),
        (vec![7], Some(CloseReason::Weight)),
        (vec![8], Some(CloseReason::Deadline)),
    ];
    assert_eq!(closed(&world), wanted, "too heavy closes the batch before; heavier alone is its own batch");
}

#[test]
fn a_batch_closes_at_its_deadline_even_when_the_tick_is_late() {
    let mut world = world(9, vec![batched(each(), Batch::after(micros(20)))]);
    publish(&mut world, &[claim(0, 0)]);
    world.advance(20);
    publish(&mut world, &[claim(0, 0)]);
    world.advance(2);
    publish(&mut world, &[claim(0, 0)]);
    let wanted = [(vec![1, 2], Some(CloseReason::Deadline))];
    assert_eq!(closed(&world), wanted, "what came after the deadline is not in it");
    assert_eq!(world.board.next_deadline(), Some(world.now.after(micros(20))), "and opens the next");
}

#[test]
fn a_batch_that_loses_its_first_group_counts_from_the_next() {
    let mut world = world(9, vec![batched(each(), Batch::after(micros(20)))]);
    world.publish(run(0), vec![claim(0, 0)]);
    world.advance(10);
    world.publish(run(1), vec![claim(0, 0)]);
    world.cancel(run(0));
    assert_eq!(world.board.next_deadline(), Some(world.now.after(micros(20))));
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Cancelled));
}

#[test]
fn batches_are_kept_per_key() {
    let mut world = world(9, vec![batched(each(), Batch::of(2))]);
    publish(&mut world, &[keyed(0, 0, "a"), keyed(0, 0, "b"), keyed(0, 0, "a"), keyed(0, 0, "b")]);
    assert_eq!(world.busy(), [vec![1, 3], vec![2, 4]]);
}

#[test]
fn a_flush_closes_every_batch_with_its_reason() {
    let mut world = world(9, vec![batched(each(), Batch::of(9)), batched(each(), Batch::until_finished())]);
    publish(&mut world, &[claim(1, 0), claim(0, 0)]);
    assert_eq!(reasons(&world), BTreeSet::from(["batch_filling"]));
    world.handle(Input::Flush(CloseReason::Shutdown));
    assert_eq!(
        closed(&world),
        [(vec![2], Some(CloseReason::Shutdown)), (vec![1], Some(CloseReason::Shutdown))]
    );
}

#[test]
fn what_waits_in_vain_expires_with_the_reason() {
    let shapes = vec![
        join(2, JoinMode::Once, within(10)),
        join(2, JoinMode::Once, Some(Window::Count(1))),
        by_event_time(2, JoinMode::Once, 10, 0, 1_000),
        by_event_time(2, JoinMode::Once, 10, 0, 30),
        all_of(&[1, 1]),
    ];
    let mut world = world(9, shapes);
    let timed = |subscription, side, time| Claim {
        event_time: Some(at(time)),
        ..keyed(subscription, side, if side == 0 { "k" } else { "other" })
    };
    publish(&mut world, &[keyed(0, 0, "k"), keyed(1, 0, "k"), timed(2, 0, 0), timed(3, 0, 0), claim(4, 0)]);
    publish(&mut world, &[keyed(1, 1, "other"), keyed(1, 1, "other"), timed(2, 1, 11)]);
    world.advance(32);
    world.tick();
    world.handle(Input::FinishRun(run(0)));
    for (subscription, offset, expiry) in [
        (0, 1, Expiry::TimeWindow),
        (1, 2, Expiry::CountWindow),
        (2, 3, Expiry::Watermark),
        (3, 4, Expiry::Patience),
        (4, 5, Expiry::EndOfInput),
    ] {
        let outcome = world.outcome(subscription, Offset::new(offset));
        assert_eq!(outcome, Some(Outcome::Expired(expiry)), "subscription {subscription}");
    }
}

#[test]
fn what_lies_exactly_a_window_apart_is_joined_and_no_later() {
    let mut world = world(9, vec![join(2, JoinMode::Once, within(20))]);
    publish(&mut world, &[keyed(0, 0, "a"), keyed(0, 0, "b")]);
    world.advance(20);
    publish(&mut world, &[keyed(0, 1, "a")]);
    world.advance(2);
    publish(&mut world, &[keyed(0, 1, "b")]);
    assert_eq!(world.busy(), [vec![1, 3]], "no tick was needed to part the others");
    assert_eq!(world.outcome(0, Offset::new(2)), Some(Outcome::Expired(Expiry::TimeWindow)));
}

#[test]
fn patience_ends_even_when_the_tick_is_late() {
    let mut world = world(9, vec![by_event_time(2, JoinMode::Once, 50, 0, 20)]);
    let timed = |side| Claim { event_time: Some(at(7)), ..keyed(0, side, "k") };
    publish(&mut world, &[timed(0)]);
    world.advance(22);
    publish(&mut world, &[timed(1)]);
    assert!(world.busy().is_empty());
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Expired(Expiry::Patience)));
}

#[test]
fn an_outer_join_fires_with_who_is_there() {
    let mut world = world(9, vec![join(3, JoinMode::Outer, within(20))]);
    publish(&mut world, &[keyed(0, 2, "a"), keyed(0, 0, "a"), keyed(0, 1, "b")]);
    world.advance(22);
    world.tick();
    assert_eq!(world.busy().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([vec![2, 1], vec![3]]));
}

#[test]
fn an_outer_join_takes_the_first_partner_however_late_the_tick() {
    for late in [0, 18] {
        let mut world = world(9, vec![join(3, JoinMode::Outer, within(20))]);
        publish(&mut world, &[keyed(0, 0, "k"), keyed(0, 1, "k")]);
        world.advance(4);
        publish(&mut world, &[keyed(0, 1, "k")]);
        world.advance(18 + late);
        world.tick();
        assert_eq!(world.busy()[0], [1, 2], "ticked {late} late");
    }
}

#[test]
fn refused_claims_are_discarded_with_their_reason() {
    let mut world = world(9, vec![each()]);
    publish(&mut world, &[refused(claim(0, 0))]);
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Discarded(Discard::LoopGuard)));
}

#[test]
fn jobs_of_one_lane_run_one_at_a_time_in_log_order() {
    let mut world = world(9, vec![each()]);
    let lane = |lane| in_lane(claim(0, 0), lane);
    publish(&mut world, &[lane("a"), lane("a"), lane("b"), lane("a")]);
    assert_eq!(world.busy(), [vec![1], vec![3]]);
    assert_eq!(reasons(&world), BTreeSet::from(["behind_key"]));
    let first = job_of(&world, &[1]);
    world.end(first, Verdict::Retry(world.now.after(micros(10))), Vec::new());
    assert!(!world.busy().contains(&vec![2]), "a job that backs off keeps its lane");
    world.let_pass();
    let starts = world.told.iter().filter_map(|effect| match effect {
        Effect::Start { start, .. } => Some(start.members[0].offset.get()),
        _ => None,
    });
    assert_eq!(starts.collect::<Vec<_>>(), [1, 3, 1, 2, 4]);
}

#[test]
fn refused_starts_keep_their_order_while_the_store_is_unavailable() {
    let mut world = world(2, vec![each()]);
    publish(&mut world, &[claim(0, 0), claim(0, 0), claim(0, 0)]);
    world.refuse_starts(true);
    assert_eq!(reasons(&world), BTreeSet::from(["store_unavailable"]));
    world.handle(Input::Unhold);
    assert_eq!(world.busy(), [vec![1], vec![2]]);
}

#[test]
fn jobs_that_are_handed_back_start_again_in_their_order() {
    let mut world = world(2, vec![each()]);
    publish(&mut world, &[claim(0, 0), claim(0, 0), claim(0, 0)]);
    let jobs = [job_of(&world, &[1]), job_of(&world, &[2])];
    world.handle(Input::Hold);
    for job in jobs {
        world.end(job, Verdict::Released, Vec::new());
    }
    world.handle(Input::Unhold);
    assert_eq!(world.busy(), [vec![1], vec![2]]);
}

#[test]
fn the_next_of_a_lane_keeps_its_place_in_the_line() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[in_lane(claim(0, 0), "k"), in_lane(claim(0, 0), "k"), claim(0, 0)]);
    done(&mut world, &[1]);
    assert_eq!(world.busy(), [vec![2]], "it was complete before the third");
}

#[test]
fn failures_and_attempts_are_counted_apart() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[claim(0, 0)]);
    let job = job_of(&world, &[1]);
    world.end(job, Verdict::Released, Vec::new());
    world.end(job, Verdict::Retry(world.now), Vec::new());
    world.advance(2);
    world.tick();
    let last = world.fresh.last().map(|start| (start.attempt, start.failures));
    assert_eq!(last, Some((3, 1)), "what is handed back did not fail");
}

#[test]
fn a_cancelled_run_ends_cancelled_wherever_it_is() {
    let shapes = vec![each(), all_of(&[1, 1]), batched(each(), Batch::of(9)), each()];
    let mut world = world(2, shapes);
    let hidden = Claim { visible_at: Some(world.now.after(micros(90))), ..claim(3, 0) };
    let claims = [claim(0, 0), claim(0, 0), claim(0, 0), claim(1, 0), claim(2, 0), hidden];
    publish(&mut world, &claims);
    let backing_off = job_of(&world, &[1]);
    world.end(backing_off, Verdict::Retry(world.now.after(micros(50))), Vec::new());
    let running: Vec<JobId> = world.fresh.iter().chain(world.running.values()).map(|s| s.job).collect();
    world.cancel(run(0));
    for (subscription, offset) in [(0, 1), (1, 4), (2, 5), (3, 6)] {
        let outcome = world.outcome(subscription, Offset::new(offset));
        assert_eq!(outcome, Some(Outcome::Cancelled), "offset {offset}");
    }
    for job in running {
        world.end(job, Verdict::Cancelled, Vec::new());
    }
    assert_eq!(told(&world, |effect| matches!(effect, Effect::RunSettled { .. })), 1);
}

#[test]
fn what_finishes_before_it_notices_the_cancellation_stays_finished() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[claim(0, 0)]);
    world.cancel(run(0));
    let job = job_of(&world, &[1]);
    world.end(job, Verdict::Done, vec![vec![claim(0, 0)]]);
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Consumed));
    assert_eq!(world.outcome(0, Offset::new(2)), Some(Outcome::Cancelled), "nothing follows from it");
}

#[test]
fn a_cancelled_job_whose_start_is_refused_does_not_start_again() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[claim(0, 0)]);
    world.cancel(run(0));
    world.refuse_starts(false);
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Cancelled));
    assert!(world.busy().is_empty());
}

#[test]
fn a_cancelled_job_whose_second_start_is_refused_is_dropped() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[claim(0, 0)]);
    let job = job_of(&world, &[1]);
    world.end(job, Verdict::Released, Vec::new());
    world.cancel(run(0));
    world.refuse_starts(false);
    assert_eq!(told(&world, |effect| matches!(effect, Effect::Drop(_))), 1);
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Cancelled));
}

#[test]
fn a_run_comes_to_rest_once_per_input() {
    let mut world = world(1, vec![all_of(&[3])]);
    world.pin(run(0));
    publish(&mut world, &[claim(0, 0), claim(0, 0), claim(0, 0)]);
    let before = told(&world, |effect| matches!(effect, Effect::Quiescent { .. }));
    done(&mut world, &[1, 2, 3]);
    assert_eq!(told(&world, |effect| matches!(effect, Effect::Quiescent { .. })), before + 1);
}

#[test]
fn a_finished_run_lets_go_collector_by_collector() {
    let shapes =
        vec![batched(each(), Batch::until_finished()), batched(each(), Batch::of(9)), all_of(&[1, 1])];
    let mut world = world_of_agents(shapes);
    publish(&mut world, &[claim(2, 0), claim(1, 0), claim(0, 0)]);
    world.handle(Input::FinishRun(run(0)));
    assert_eq!(world.busy(), [vec![3]], "only the first one lets go");
    let first = job_of(&world, &[3]);
    world.end(first, Verdict::Done, vec![vec![claim(1, 0)]]);
    assert_eq!(closed(&world), [(vec![2, 4], Some(CloseReason::EndOfInput))], "the next sees all of it");
    let second = job_of(&world, &[2, 4]);
    world.end(second, Verdict::Done, Vec::new());
    assert_eq!(world.outcome(2, Offset::new(1)), Some(Outcome::Expired(Expiry::EndOfInput)));
}

#[test]
fn a_finished_run_does_not_wait_for_timers() {
    let shapes = vec![
        batched(each(), Batch::of(9).or_after(micros(1_000_000))),
        join(2, JoinMode::Outer, within(1_000_000)),
    ];
    let mut world = world_of_agents(shapes);
    publish(&mut world, &[keyed(1, 0, "k"), claim(0, 0)]);
    world.handle(Input::FinishRun(run(0)));
    assert_eq!(closed(&world), [(vec![2], Some(CloseReason::EndOfInput))]);
    done(&mut world, &[2]);
    assert_eq!(world.busy(), [vec![1]], "an outer join fires with who is there");
}

#[test]
fn a_finished_run_waits_for_what_is_not_visible_yet() {
    let mut world = world_of_agents(vec![batched(each(), Batch::until_finished())]);
    let hidden = Claim { visible_at: Some(world.now.after(micros(10))), ..claim(0, 0) };
    publish(&mut world, &[claim(0, 0), hidden]);
    world.handle(Input::FinishRun(run(0)));
    assert!(world.busy().is_empty());
    world.advance(12);
    world.tick();
    assert_eq!(world.busy(), [vec![1, 2]]);
}

#[test]
fn a_finished_run_waits_for_a_paused_agent() {
    let mut world = world_of_agents(vec![each(), batched(each(), Batch::until_finished())]);
    world.handle(Input::Pause(AgentIndex(0)));
    publish(&mut world, &[claim(0, 0), claim(1, 0)]);
    world.handle(Input::FinishRun(run(0)));
    assert!(world.busy().is_empty(), "the paused agent may still add to the batch");
    assert_eq!(reasons(&world), BTreeSet::from(["agent_paused", "batch_filling"]));
    world.handle(Input::Resume(AgentIndex(0)));
    let job = job_of(&world, &[1]);
    world.end(job, Verdict::Done, vec![vec![claim(1, 0)]]);
    assert_eq!(world.busy(), [vec![2, 3]]);
}

#[test]
fn an_input_of_pairs_ends_with_its_window_and_its_last_job() {
    let mut world = world(9, vec![join(2, JoinMode::EveryPair, within(20))]);
    publish(&mut world, &[keyed(0, 0, "k"), keyed(0, 1, "k"), keyed(0, 1, "k"), keyed(0, 1, "alone")]);
    let (second, first) = (job_of(&world, &[1, 3]), job_of(&world, &[1, 2]));
    world.end(second, Verdict::Dead, Vec::new());
    world.advance(22);
    world.tick();
    let outcome = |world: &World, offset| world.outcome(0, Offset::new(offset));
    assert_eq!(outcome(&world, 3), Some(Outcome::Dead), "its only job failed for good");
    assert_eq!(outcome(&world, 4), Some(Outcome::Expired(Expiry::TimeWindow)), "no partner came");
    assert_eq!(outcome(&world, 1), None, "one of its jobs is still running");
    world.end(first, Verdict::Done, Vec::new());
    assert_eq!(outcome(&world, 1), Some(Outcome::Consumed), "one of its jobs was done");
}

/// Two pairs of one input, the first of them done, and a restart that comes when both windows have closed.
fn restarted_pairs(lane: Option<&str>) -> World {
    let mut world = world(1, vec![join(2, JoinMode::EveryPair, within(20))]);
    let side = |side| match lane {
        Some(lane) => in_lane(keyed(0, side, "k"), lane),
        None => keyed(0, side, "k"),
    };
    publish(&mut world, &[side(0), side(1), side(1)]);
    done(&mut world, &[1, 2]);
    world.commit_starts();
    world.advance(100);
    world.restart(10);
    world
}

#[test]
fn a_finished_pair_does_not_run_again_after_a_restart() {
    let mut world = restarted_pairs(None);
    assert_eq!(world.busy(), [vec![1, 3]]);
    assert_eq!(world.fresh[0].attempt, 2, "the other one had been started");
    assert_eq!(world.outcome(0, Offset::new(2)), Some(Outcome::Consumed), "its job was done before");
    world.finish_everything();
}

#[test]
fn a_finished_pair_holds_no_lane_after_a_restart() {
    let mut world = restarted_pairs(Some("lane"));
    assert_eq!(world.busy(), [vec![1, 3]]);
    world.finish_everything();
}

#[test]
fn a_finished_pair_counts_even_when_its_window_closed_behind_a_busy_agent() {
    let shapes = vec![each(), join(2, JoinMode::EveryPair, within(20))];
    let mut world = world(1, shapes);
    publish(&mut world, &[keyed(1, 0, "k"), keyed(1, 1, "k")]);
    done(&mut world, &[1, 2]);
    publish(&mut world, &[claim(0, 0)]);
    world.commit_starts();
    world.restart(10);
    world.advance(100);
    world.tick();
    done(&mut world, &[3]);
    assert_eq!(world.outcome(1, Offset::new(1)), Some(Outcome::Consumed));
    assert_eq!(world.outcome(1, Offset::new(2)), Some(Outcome::Consumed));
}

#[test]
fn a_started_pair_that_is_cancelled_in_the_queue_is_dropped_from_the_store() {
    let shapes = vec![each(), join(2, JoinMode::EveryPair, within(20))];
    let mut world = world(1, shapes);
    publish(&mut world, &[keyed(1, 0, "k"), keyed(1, 1, "k")]);
    let pair = job_of(&world, &[1, 2]);
    world.publish(run(1), vec![claim(0, 0)]);
    world.end(pair, Verdict::Retry(world.now.after(micros(2))), Vec::new());
    world.commit_starts();
    world.advance(4);
    world.restart(10);
    assert_eq!(world.busy(), [vec![3]], "the pair waits behind the other job");
    world.cancel(run(0));
    assert_eq!(told(&world, |effect| matches!(effect, Effect::Drop(_))), 1);
    world.finish_everything();
}

#[test]
fn a_back_off_goes_on_after_a_restart() {
    let mut world = world(1, vec![each()]);
    publish(&mut world, &[in_lane(claim(0, 0), "k"), in_lane(claim(0, 0), "k")]);
    let job = job_of(&world, &[1]);
    let until = world.now.after(micros(50));
    world.end(job, Verdict::Retry(until), Vec::new());
    world.restart(10);
    let waiting = world.board.waiting(&WaitingFilter::default());
    assert!(waiting.iter().any(|waiting| waiting.reason == WaitingReason::BackOffUntil(until)));
    assert!(world.busy().is_empty(), "it keeps its lane");
    world.advance(52);
    world.tick();
    let start = world.fresh.first().map(|start| (start.job, start.attempt, start.failures));
    assert_eq!(start, Some((job, 2, 1)));
}

#[test]
fn jobs_of_several_runs_open_one() {
    let mut world = world(1, vec![all_of(&[1, 1])]);
    world.publish(run(0), vec![claim(0, 0)]);
    world.publish(run(1), vec![claim(0, 1)]);
    let start = world.fresh[0].clone();
    assert!(start.opens_run && start.run != run(0) && start.run != run(1));
    world.cancel(run(0));
    assert_eq!(
        told(&world, |effect| matches!(effect, Effect::Cancel { .. })),
        0,
        "another run has a part in it"
    );
    world.finish_everything();
}

#[test]
fn a_lane_is_kept_when_pairs_form_in_another_order_after_a_restart() {
    let mut world = world(2, vec![join(2, JoinMode::EveryPair, within(90))]);
    let hidden = Claim { visible_at: Some(world.now.after(micros(2))), ..keyed(0, 1, "k") };
    publish(&mut world, &[hidden, keyed(0, 1, "k"), in_lane(keyed(0, 0, "k"), "lane")]);
    let job = job_of(&world, &[3, 2]);
    world.end(job, Verdict::Retry(world.now.after(micros(20))), Vec::new());
    world.advance(4);
    world.tick();
    world.restart(10);
    assert_eq!(world.busy(), [vec![3, 1]], "what was hidden stands first in the log");
    world.advance(40);
    world.tick();
    assert_eq!(world.busy(), [vec![3, 1]], "the older job waits for its lane");
    world.finish_everything();
}
