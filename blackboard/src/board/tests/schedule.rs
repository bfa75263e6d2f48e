//! Random schedules: every law after every input, nothing outstanding at the end, with and without restarts.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::shapes::{
    all_of, batched, by_event_time, claim, each, in_lane, join, keyed, micros, refused, within,
};
use super::world::{Setup, World, run};
use crate::claim::Claim;
use crate::id::{AgentIndex, JobId};
use crate::input::Input;
use crate::job::Verdict;
use crate::outcome::CloseReason;
use crate::subscription::{Batch, JoinMode, Window};

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    Publish(Draft),
    /// Which of the running jobs, how it ends, what it publishes.
    End(usize, Ending, Vec<Draft>),
    Commit,
    Refuse {
        hold: bool,
    },
    /// The starts that are not recorded are.
    Record,
    /// Every start that waits for its commit is refused by itself.
    Defer,
    Advance(u64),
    Tick,
    Pause(u32),
    Resume(u32),
    /// Which agent, and after what time it is lifted.
    Quarantine(u32, Option<u64>),
    /// Which run, and after what time.
    Deadline(u8, u64),
    Hold,
    Unhold,
    Pin(u8),
    Release(u8),
    Finish(u8),
    Cancel(u8),
    Flush,
    Restart(usize),
    /// The process dies.
    Die,
    Write,
    Read {
        fails: bool,
    },
    /// The process crashes in the middle of performing effects.
    Crash(usize),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Done,
    Retry(u64),
    Dead,
    Cancelled,
    Released,
}

/// An artifact to be published: which subscriptions claim it, and with what.
#[derive(Clone, Debug)]
struct Draft {
    run: u8,
    /// Bit by bit, which subscriptions claim it.
    claimed: u16,
    side: u16,
    key: u8,
    lane: Option<u8>,
    weight: u32,
    delay: Option<u64>,
    refused: bool,
    /// How much earlier than published its event time is.
    age: u64,
}

const SIDES: [u16; 13] = [1, 1, 1, 2, 2, 2, 3, 2, 2, 2, 2, 1, 2];
const LANES: [u32; 2] = [1, 5];

/// Subscriptions of every kind over three agents.
fn setup() -> Setup {
    let subscriptions = vec![
        (0, each()),
        (0, each()),
        (1, batched(each(), Batch::of(3).or_after(micros(50)).or_weighing(8))),
        (1, all_of(&[2, 1])),
        (2, join(2, JoinMode::Once, within(60))),
        (2, join(2, JoinMode::EveryPair, within(60))),
        (1, join(3, JoinMode::Outer, within(40))),
        (2, batched(join(2, JoinMode::Once, within(60)), Batch::of(2).or_after(micros(30)))),
        (0, join(2, JoinMode::Once, Some(Window::Count(3)))),
        (0, by_event_time(2, JoinMode::Once, 30, 10, 100)),
        (2, batched(all_of(&[1, 1]), Batch::of(2).or_after(micros(20)))),
        (0, batched(each(), Batch::until_finished())),
        (2, batched(by_event_time(2, JoinMode::Outer, 30, 0, 80), Batch::of(2))),
    ];
    let in_log_order = BTreeSet::from([0, 3, 4, 8]);
    Setup { agents: vec![2, 1, 3], patience: None, window: None, subscriptions, in_log_order }
}

impl Draft {
    fn claims(&self, world: &World) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (index, sides) in (0_u32..).zip(SIDES) {
            if self.claimed & (1 << index) == 0 {
                continue;
            }
            let mut found = match sides {
                _ if index == 3 => claim(index, self.side % sides),
                1 if index != 2 => claim(index, 0),
                _ => keyed(index, self.side % sides, &self.key.to_string()),
            };
            if let Some(lane) = self.lane.filter(|_| LANES.contains(&index)) {
                found = in_lane(found, &lane.to_string());
            }
            found.weight = self.weight;
            found.event_time = Some(world.now.before(micros(self.age)));
            let in_order = [3, 4, 8].contains(&index);
            found.visible_at = self.delay.filter(|_| !in_order).map(|delay| world.now.after(micros(delay)));
            claims.push(if self.refused { refused(found) } else { found });
        }
        claims
    }
}

fn perform(world: &mut World, step: &Step) {
    if !matches!(step, Step::Publish(_) | Step::End(..)) {
        world.conclude();
    }
    match step {
        Step::Publish(draft) => {
            let claims = draft.claims(world);
            world.publish(run(draft.run), claims);
        }
        Step::End(which, ending, outputs) => end(world, *which, *ending, outputs),
        Step::Commit => world.commit_starts(),
        Step::Record => world.record_starts(),
        Step::Refuse { hold } => world.refuse_starts(*hold),
        Step::Defer => world.defer_starts(),
        Step::Advance(span) => world.advance(span * 2),
        Step::Tick => world.tick(),
        Step::Pause(agent) => world.handle(Input::Pause(AgentIndex(*agent))),
        Step::Resume(agent) => world.handle(Input::Resume(AgentIndex(*agent))),
        Step::Quarantine(agent, span) => {
            let resumes_at = span.map(|span| world.now.after(micros(span * 2)));
            world.quarantine(AgentIndex(*agent), resumes_at);
        }
        Step::Deadline(of, span) => {
            let at = world.now.after(micros(span * 2));
            world.handle(Input::DeadlineRun { run: run(*of), at });
        }
        Step::Hold => world.handle(Input::Hold),
        Step::Unhold => world.handle(Input::Unhold),
        Step::Pin(of) => world.pin(run(*of)),
        Step::Release(of) => world.release(run(*of)),
        Step::Finish(of) => world.handle(Input::FinishRun(run(*of))),
        Step::Cancel(of) => world.cancel(run(*of)),
        Step::Flush => world.handle(Input::Flush(CloseReason::Shutdown)),
        Step::Restart(limit) => world.restart(*limit),
        Step::Crash(effects) => world.crash_after = Some(*effects),
        Step::Die => world.die(),
        Step::Write => world.write(),
        Step::Read { fails } => world.read(*fails),
    }
}

fn end(world: &mut World, which: usize, ending: Ending, outputs: &[Draft]) {
    world.commit_starts();
    let running: Vec<JobId> = world.running.keys().copied().collect();
    if running.is_empty() {
        return;
    }
    let job = running[which % running.len()];
    let verdict = match ending {
        Ending::Done => Verdict::Done,
        Ending::Retry(after) => Verdict::Retry(world.now.after(micros(after * 2))),
        Ending::Dead => Verdict::Dead,
        Ending::Cancelled => Verdict::Cancelled,
        Ending::Released => Verdict::Released,
    };
    let outputs = match ending {
        Ending::Done => outputs.iter().map(|draft| draft.claims(world)).collect(),
        _ => Vec::new(),
    };
    world.end(job, verdict, outputs);
}

fn draft(claimed: u16) -> impl Strategy<Value = Draft> {
    let bits = prop_oneof![
        3 => (0_u32..13).prop_map(|bit| 1_u16 << bit),
        2 => any::<u16>(),
    ];
    (
        0_u8..3,
        bits,
        0_u16..6,
        0_u8..2,
        prop_oneof![1 => Just(None), 2 => (0_u8..2).prop_map(Some)],
        0_u32..6,
        prop_oneof![6 => Just(None), 1 => (0_u64..40).prop_map(|delay| Some(delay * 2))],
        prop::bool::weighted(0.05),
        (0_u64..40).prop_map(|age| age * 2),
    )
        .prop_map(move |(run, bits, side, key, lane, weight, delay, refused, age)| Draft {
            run,
            claimed: bits & claimed,
            side,
            key,
            lane,
            weight,
            delay,
            refused,
            age,
        })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(Ending::Done),
        2 => (0_u64..30).prop_map(Ending::Retry),
        1 => Just(Ending::Dead),
        2 => Just(Ending::Cancelled),
        1 => Just(Ending::Released),
    ]
}

fn step(claimed: u16, restarts: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => draft(claimed).prop_map(Step::Publish),
        14 => (any::<prop::sample::Index>(), ending(), vec(draft(claimed), 0..2))
            .prop_map(|(which, ending, outputs)| Step::End(which.index(64), ending, outputs)),
        3 => Just(Step::Commit),
        2 => Just(Step::Record),
        3 => any::<bool>().prop_map(|hold| Step::Refuse { hold }),
        1 => Just(Step::Defer),
        8 => (1_u64..25).prop_map(Step::Advance),
        6 => Just(Step::Tick),
        1 => (0_u32..3).prop_map(Step::Pause),
        2 => (0_u32..3).prop_map(Step::Resume),
        1 => (0_u32..3, prop::option::of(0_u64..30)).prop_map(|(agent, span)| Step::Quarantine(agent, span)),
        1 => (0_u8..3, 0_u64..40).prop_map(|(run, span)| Step::Deadline(run, span)),
        4 => Just(if restarts { Step::Die } else { Step::Tick }),
        6 => Just(Step::Write),
        4 => prop::bool::weighted(0.1).prop_map(|fails| Step::Read { fails }),
        1 => Just(Step::Hold),
        3 => Just(Step::Unhold),
        2 => (0_u8..3).prop_map(Step::Pin),
        1 => (0_u8..3).prop_map(Step::Release),
        1 => (0_u8..3).prop_map(Step::Finish),
        1 => (0_u8..3).prop_map(Step::Cancel),
        1 => Just(Step::Flush),
        2 => (1_usize..10).prop_map(move |limit| if restarts { Step::Restart(limit) } else { Step::Tick }),
        2 => (0_usize..4).prop_map(move |effects| if restarts { Step::Crash(effects) } else { Step::Tick }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_after_every_input(
        batches in any::<bool>(),
        patience in prop::option::of((5_u64..40).prop_map(|span| span * 2)),
        brisk in any::<bool>(),
        steps in vec(step(u16::MAX, false), 0..120),
    ) {
        let mut world = World::new(Setup { patience, ..setup() }).brisk(brisk).batched(batches);
        for step in &steps {
            perform(&mut world, step);
        }
        world.finish_everything();
    }

    #[test]
    fn every_law_holds_over_restarts(
        batches in any::<bool>(),
        patience in prop::option::of((5_u64..40).prop_map(|span| span * 2)),
        brisk in any::<bool>(),
        steps in vec(step(u16::MAX, true), 0..120),
    ) {
        let mut world = World::new(Setup { patience, ..setup() }).brisk(brisk).batched(batches);
        for step in &steps {
            perform(&mut world, step);
        }
        world.finish_everything();
    }

    #[test]
    fn every_law_holds_with_a_window(
        batches in any::<bool>(),
        window in 1_usize..5,
        patience in prop::option::of((5_u64..40).prop_map(|span| span * 2)),
        brisk in any::<bool>(),
        steps in vec(step(u16::MAX, true), 0..120),
    ) {
        let setup = Setup { patience, window: Some(window), ..setup() };
        let mut world = World::new(setup).brisk(brisk).lazy().batched(batches);
        for step in &steps {
            perform(&mut world, step);
        }
        world.finish_everything();
    }

    #[test]
    fn a_window_changes_no_job(
        window in 1_usize..5,
        steps in vec(quiet_step(), 0..100),
        restart in 0_usize..200,
        lazy in any::<bool>(),
    ) {
        let mut plain = World::new(setup());
        let mut windowed = World::new(Setup { window: Some(window), ..setup() });
        windowed.log.lazy = lazy;
        for (number, step) in steps.iter().enumerate() {
            if number == restart {
                windowed.restart(3);
            }
            perform(&mut plain, step);
            perform(&mut windowed, step);
        }
        plain.finish_everything();
        windowed.finish_everything();
        prop_assert_eq!(plain.done(), windowed.done());
    }

    #[test]
    fn a_batch_changes_no_job(steps in vec(quiet_step(), 0..100)) {
        let mut plain = World::new(setup());
        let mut batched = World::new(setup()).batched(true);
        for step in &steps {
            perform(&mut plain, step);
            perform(&mut batched, step);
        }
        plain.finish_everything();
        batched.finish_everything();
        prop_assert_eq!(plain.done(), batched.done());
    }

    #[test]
    fn a_restart_changes_no_job(
        steps in vec(quiet_step(), 0..100),
        restart in 0_usize..100,
        limit in 1_usize..10,
        brisk in any::<bool>(),
    ) {
        let mut plain = World::new(setup());
        let mut restarted = World::new(setup()).brisk(brisk);
        for (number, step) in steps.iter().enumerate() {
            if number == restart {
                restarted.restart(limit);
            }
            perform(&mut plain, step);
            perform(&mut restarted, step);
        }
        plain.finish_everything();
        restarted.finish_everything();
        prop_assert_eq!(plain.done(), restarted.done());
        let ids = |world: &World| world.ended.keys().copied().collect::<Vec<_>>();
        prop_assert_eq!(ids(&plain), ids(&restarted));
    }
}

/// Steps whose effect on what is collected a restart keeps: no delays, no outputs, nothing that lives in
/// memory only (pauses, flushes).
fn quiet_step() -> impl Strategy<Value = Step> {
    let kept = u16::MAX;
    let plain = draft(kept).prop_map(|draft| Step::Publish(Draft { delay: None, ..draft }));
    prop_oneof![
        6 => plain,
        3 => any::<prop::sample::Index>().prop_map(|which| Step::End(which.index(64), Ending::Done, Vec::new())),
        1 => Just(Step::Commit),
        2 => (1_u64..25).prop_map(Step::Advance),
        2 => Just(Step::Tick),
    ]
}

#[test]
fn schedules_use_every_subscription() {
    assert_eq!(setup().subscriptions.len(), SIDES.len());
    for (index, (_, subscription)) in setup().subscriptions.iter().enumerate() {
        assert_eq!(subscription.sides.len(), usize::from(SIDES[index]));
        subscription.validate("test").expect("schedules use what users can write");
    }
}

/// A pair was started before the process died, and lost an input in the log. That the store still has it open
/// is found out when everything is read, and again when the last input that is not visible yet has become so.
#[test]
fn a_pair_that_lost_an_input_ends_although_another_input_is_not_visible_yet() {
    let draft = |run, claimed, side, delay| {
        let (key, lane, weight, refused, age) = (0, None, 0, false, 0);
        Step::Publish(Draft { run, claimed, side, key, lane, weight, delay, refused, age })
    };
    let mut world = World::new(Setup { window: Some(1), ..setup() }).lazy();
    for step in [
        draft(1, 489, 1, None),
        draft(0, 1, 0, None),
        draft(0, 3744, 2, None),
        Step::End(28, Ending::Done, Vec::new()),
        Step::Die,
        Step::Cancel(0),
        Step::Write,
        draft(0, 32, 0, Some(2)),
    ] {
        perform(&mut world, &step);
    }
    world.finish_everything();
}
