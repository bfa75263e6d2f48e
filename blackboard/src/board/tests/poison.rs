//! Rules about jobs that the process died of, each by example.

use std::collections::BTreeSet;

use super::shapes::{claim, each};
use super::world::{Setup, World, inputs, run};
use crate::board::WaitingFilter;
use crate::effect::Effect;
use crate::id::{AgentIndex, Offset};
use crate::input::Input;
use crate::job::Verdict;
use crate::outcome::{Burial, Outcome};

/// Two agents with room for two jobs each; three jobs wait or run for each.
fn world() -> World {
    let subscriptions = vec![(0, each()), (1, each())];
    let agents = vec![2, 2];
    let mut world = World::new(Setup {
        agents,
        patience: None,
        window: None,
        subscriptions,
        in_log_order: BTreeSet::new(),
    });
    for _ in 0..3 {
        world.publish(run(0), vec![claim(0, 0), claim(1, 0)]);
    }
    world.commit_starts();
    world
}

/// The jobs that start: the subscription, the input, and whether it is alone.
fn starting(world: &World) -> Vec<(u32, u64, bool)> {
    world.fresh.iter().map(|start| (start.subscription.0, inputs(start)[0], start.alone)).collect()
}

fn die_and_start(world: &mut World) {
    world.die();
    world.commit_starts();
}

fn finish_alone(world: &mut World) {
    world.commit_starts();
    let jobs: Vec<_> = world.running.keys().copied().collect();
    assert_eq!(jobs.len(), 1, "nothing runs beside it");
    world.end(jobs[0], Verdict::Done, Vec::new());
}

#[test]
fn a_job_that_was_interrupted_once_runs_beside_others() {
    let mut world = world();
    world.die();
    assert_eq!(world.fresh.len(), 4);
    assert!(world.fresh.iter().all(|start| !start.alone && start.attempt == 2));
}

#[test]
fn jobs_that_were_interrupted_twice_run_alone_one_after_the_other_before_others() {
    let mut world = world();
    die_and_start(&mut world);
    world.die();
    assert_eq!(starting(&world), [(0, 1, true)]);
    let waiting = world.board.waiting(&WaitingFilter::default());
    assert!(waiting.iter().all(|waiting| waiting.reason.name() == "job_runs_alone"), "{waiting:?}");
    for _ in 0..3 {
        finish_alone(&mut world);
        assert!(world.fresh[0].alone);
    }
    finish_alone(&mut world);
    let mut others: Vec<_> = starting(&world);
    others.sort_unstable();
    assert_eq!(others, [(0, 3, false), (1, 3, false)], "then the others");
    world.finish_everything();
}

#[test]
fn a_job_waits_to_run_alone_until_nothing_is_in_flight() {
    let mut world = world();
    die_and_start(&mut world);
    world.die();
    let agent = AgentIndex(0);
    world.handle(Input::Pause(agent));
    // Those of the paused agent hold nobody up.
    finish_alone(&mut world);
    finish_alone(&mut world);
    finish_alone(&mut world);
    assert_eq!(starting(&world), [(1, 3, false)]);
    world.commit_starts();
    world.handle(Input::Resume(agent));
    assert!(world.fresh.is_empty(), "it waits for the other agent's job");
    finish_alone(&mut world);
    assert_eq!(starting(&world), [(0, 2, true)]);
    world.finish_everything();
}

#[test]
fn a_job_that_died_alone_three_times_is_given_up_and_the_others_go_on() {
    let mut world = world();
    die_and_start(&mut world);
    die_and_start(&mut world);
    die_and_start(&mut world);
    die_and_start(&mut world);
    world.die();
    let buried: Vec<_> = world
        .told
        .iter()
        .filter_map(|effect| match effect {
            Effect::Bury { start, why } => Some((inputs(start), Burial::clone(why))),
            _ => None,
        })
        .collect();
    assert_eq!(buried, [(vec![1], Burial::DiedAlone(3))]);
    world.commit_starts();
    let burial = world.buried.keys().next().copied().expect("it is being given up");
    world.end(burial, Verdict::Dead, Vec::new());
    world.let_pass_jobs();
    assert_eq!(world.outcome(0, Offset::new(1)), Some(Outcome::Dead));
    assert_eq!(world.outcome(1, Offset::new(1)), Some(Outcome::Consumed), "it was in flight only");
}

#[test]
fn what_was_handed_back_was_not_interrupted() {
    let mut world = world();
    for _ in 0..3 {
        world.handle(Input::Hold);
        for job in world.running.keys().copied().collect::<Vec<_>>() {
            world.end(job, Verdict::Released, Vec::new());
        }
        die_and_start(&mut world);
    }
    assert_eq!(world.running.len(), 4);
    assert!(world.running.values().all(|start| !start.alone));
}
