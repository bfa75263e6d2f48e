//! Jobs from before: the counts of a board on which a dead letter's job runs again, and ids that an earlier
//! build has derived.

use std::sync::Arc;

use uuid::Uuid;

use super::shapes::{all_of, at, claim, each, join, keyed, within};
use super::world::run;
use crate::board::Board;
use crate::claim::LogEntry;
use crate::effect::Effect;
use crate::id::{JobId, Offset, SubscriptionIndex};
use crate::input::Input;
use crate::job::{Member, PairVerdict, Resumed, Start, Verdict};
use crate::subscription::{JoinMode, Subscription};

fn published(offset: u64) -> LogEntry {
    let claims = Arc::from([claim(0, 0)]);
    LogEntry { offset: Offset::new(offset), run: run(0), workflow: Arc::from("test"), at: at(1), claims }
}

/// Tells the board, and returns what it starts.
fn tell(board: &mut Board, input: Input) -> Option<Arc<Start>> {
    let mut effects = Vec::new();
    board.handle(input, at(5), &mut effects);
    board.audit().expect("every law holds");
    effects.into_iter().find_map(|effect| match effect {
        Effect::Start { start, .. } => Some(start),
        _ => None,
    })
}

/// A board on which the job of artifact 1 is dead; the run has a handle.
fn with_a_dead_job() -> (Board, Start) {
    let mut board = Board::new();
    let agent = board.add_agent("a".into(), 1);
    board.add_subscription(agent, &each());
    board.tell_settled(true);
    tell(&mut board, Input::PinRun { run: run(0), workflow: Arc::from("test"), tally: None });
    let start = tell(&mut board, Input::Published(published(1))).expect("it starts");
    tell(&mut board, Input::Finished { attempt: start.id(), verdict: Verdict::Dead, is_short: false });
    (board, Start::clone(&start))
}

fn redriven(start: Start, input: LogEntry) -> Input {
    let (failures, until, interruptions, deaths_alone) = (0, None, 0, 0);
    let resumed = Resumed { start, inputs: vec![input], failures, until, interruptions, deaths_alone };
    Input::Redriven { resumed: Box::new(resumed), dead: vec![Offset::new(1)] }
}

#[test]
fn a_redriven_input_is_not_dead_any_more_and_is_counted_once() {
    let (mut board, start) = with_a_dead_job();
    let again = tell(&mut board, redriven(start, published(1))).expect("it starts again");
    assert_eq!((again.attempt, again.failures), (2, 0), "attempts go on, failures begin anew");
    tell(&mut board, Input::Finished { attempt: again.id(), verdict: Verdict::Done, is_short: false });
    let tally = board.tally(run(0)).expect("the run has a handle");
    assert_eq!((tally.matched, tally.consumed, tally.dead), (1, 1, 0));
}

#[test]
fn an_input_that_replaces_another_is_counted_beside_it() {
    let (mut board, start) = with_a_dead_job();
    let start = start.redriven("a/0", &[(Offset::new(1), Offset::new(2), at(3))]);
    let again = tell(&mut board, redriven(start, published(2))).expect("it starts");
    assert_eq!(again.attempt, 1, "it is another job");
    tell(&mut board, Input::Finished { attempt: again.id(), verdict: Verdict::Done, is_short: false });
    let tally = board.tally(run(0)).expect("the run has a handle");
    assert_eq!((tally.matched, tally.consumed, tally.dead), (2, 1, 1));
}

/// The store has the job open before its first attempt, and has to be told that it is over.
#[test]
fn a_job_redriven_with_another_input_in_a_cancelled_run_is_dropped_from_the_store() {
    let (mut board, start) = with_a_dead_job();
    tell(&mut board, Input::CancelRun(run(0)));
    let start = start.redriven("a/0", &[(Offset::new(1), Offset::new(2), at(3))]);
    let (job, mut effects) = (start.job, Vec::new());
    board.handle(redriven(start, published(2)), at(5), &mut effects);
    assert!(
        matches!(effects[..], [Effect::Drop(dropped), Effect::Settled(_), ..] if dropped == job),
        "{effects:?}"
    );
}

#[test]
fn a_job_redriven_in_a_cancelled_run_does_not_start() {
    let (mut board, start) = with_a_dead_job();
    tell(&mut board, Input::CancelRun(run(0)));
    assert!(tell(&mut board, redriven(start, published(1))).is_none());
    assert_eq!(board.outstanding(), 0);
    assert_eq!(board.tally(run(0)).map(|tally| tally.cancelled), Some(1));
}

/// A started job on these places, under ids that this build would not derive.
fn stored(places: &[u64], shared: bool) -> Start {
    let member = |(side, place): (u16, &u64)| Member { offset: Offset::new(*place), side, group: 0 };
    let (_, plain) = with_a_dead_job();
    Start {
        job: JobId::from_uuid(Uuid::from_u128(7)),
        run: run(9),
        opens_run: !shared,
        members: (0..).zip(places).map(member).collect(),
        shared,
        ..plain
    }
}

/// The board of an agent with two slots and this subscription, on which a stored job is resumed.
fn resumed(subscription: &Subscription, start: Start, inputs: Vec<LogEntry>) -> (Board, Option<Arc<Start>>) {
    let mut board = Board::new();
    let agent = board.add_agent("a".into(), 2);
    board.add_subscription(agent, subscription);
    let (failures, until, interruptions, deaths_alone) = (0, None, 0, 0);
    let resumed = Resumed { start, inputs, failures, until, interruptions, deaths_alone };
    let started = tell(&mut board, Input::Resumed(Box::new(resumed)));
    (board, started)
}

#[test]
fn a_job_keeps_the_ids_of_its_first_start() {
    let start = stored(&[1, 2], false);
    let inputs = vec![published(1), LogEntry { run: run(1), ..published(2) }];
    let (_, again) = resumed(&all_of(&[1, 1]), start.clone(), inputs);
    let again = again.expect("it starts again");
    assert_eq!((again.job, again.run, again.opens_run), (start.job, start.run, true));
}

#[test]
fn pairs_are_recognised_by_their_inputs() {
    let start = stored(&[3, 1], true);
    let (mut board, none) = resumed(&join(2, JoinMode::EveryPair, within(9)), start.clone(), Vec::new());
    assert_eq!(none, None, "a pair is restored when it forms");
    let (subscription, inputs) = (SubscriptionIndex(0), [1, 2].map(Offset::new).to_vec());
    tell(&mut board, Input::PairFinished { subscription, inputs, verdict: PairVerdict::Done });
    let mut publish = |place, side| {
        let claims = Arc::from([keyed(0, side, "k")]);
        tell(&mut board, Input::Published(LogEntry { claims, ..published(place) }))
    };
    assert_eq!((publish(1, 1), publish(2, 0)), (None, None), "one pair is finished");
    let again = publish(3, 0).expect("the other starts again");
    assert_eq!((again.job, again.attempt), (start.job, 2));
    assert_eq!(publish(4, 0).map(|start| start.attempt), Some(1), "and a new one is none of them");
}
