//! Cancelling: the same whatever a run is waiting for, visible while it lasts, and final.

use std::future::pending;
use std::time::Duration;

use volery::feed::{Event, FeedReader};
use volery::prelude::*;
use volery::report::RunningState;
use volery::supervision::Intensity;
use volery::{Fault, Tally, WaitingReason};

use crate::support::{A, B, Gate, SECOND, Seen, Tested, a, event, retrying, soon, tally, turns};

/// Longer than a test watches for.
const LONG: Duration = SECOND.saturating_mul(60);

/// The states of a run when it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Collecting,
    Batched,
    BackingOff,
    NotVisible,
    Paused,
    Quarantined,
    Running,
}

const STATES: [State; 8] = [
    State::Queued,
    State::Collecting,
    State::Batched,
    State::BackingOff,
    State::NotVisible,
    State::Paused,
    State::Quarantined,
    State::Running,
];

impl State {
    /// An agent that brings what it is given into this state.
    fn agent(self, gate: &Gate) -> Agent {
        let agent = Agent::new("any")
            .concurrency(1)
            .retry(Retry::fixed(2, LONG))
            .intensity(Intensity { restarts: if self == Self::Quarantined { 0 } else { 9 }, within: SECOND });
        let gate = gate.clone();
        let work = move |key: u32| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                match (self, key) {
                    (Self::BackingOff, 1) => Err(Fault::from("later")),
                    (Self::Quarantined, 0) => panic!("too often"),
                    (Self::Running, 1) => pending().await,
                    _ => Ok(()),
                }
            }
        };
        match self {
            Self::Collecting => {
                agent.consumes(all_of::<(A, B)>()).engine(move |(a, _): (A, B), _| work(a.key))
            }
            Self::Batched => agent
                .consumes(one::<A>().batch(Batch::of(9)))
                .engine(move |batch: Vec<A>, _| work(batch[0].key)),
            _ => agent.consumes(one::<A>()).engine(move |a: A, _| work(a.key)),
        }
    }

    /// Brings one input of the run into the state.
    async fn enter(self, volery: &Volery, run: &Run, gate: &Gate, feed: &mut FeedReader) -> Tested {
        match self {
            Self::Queued => {
                volery.publish(a(0, 0)).await?;
                gate.reached().await;
                run.publish(a(1, 0)).await?;
            }
            Self::Collecting | Self::Batched => drop(run.publish(a(1, 0)).await?),
            Self::BackingOff => {
                gate.open(1);
                run.publish(a(1, 0)).await?;
                retrying(feed).await;
            }
            Self::NotVisible => drop(run.publish(a(1, 0)).visible_to(Visibility::after(LONG)).await?),
            Self::Paused => {
                volery.pause("any")?;
                run.publish(a(1, 0)).await?;
            }
            Self::Quarantined => {
                gate.open(1);
                volery.publish(a(0, 0)).await?;
                event(feed, |event| matches!(event, Event::Quarantined { .. }).then_some(())).await;
                run.publish(a(1, 0)).await?;
            }
            Self::Running => {
                gate.open(1);
                run.publish(a(1, 0)).await?;
                gate.reached().await;
            }
        }
        Ok(())
    }

    fn is_why(self, reason: &WaitingReason) -> bool {
        match self {
            Self::Queued => matches!(reason, WaitingReason::NoSlot),
            Self::Collecting => matches!(reason, WaitingReason::AllOfMissing(_)),
            Self::Batched => matches!(reason, WaitingReason::BatchFilling { .. }),
            Self::BackingOff => matches!(reason, WaitingReason::BackOffUntil(_)),
            Self::NotVisible => matches!(reason, WaitingReason::NotVisibleUntil(_)),
            Self::Paused => matches!(reason, WaitingReason::AgentPaused),
            Self::Quarantined => matches!(reason, WaitingReason::AgentQuarantined(_)),
            Self::Running => false,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_is_the_same_in_every_state_and_final() -> Tested {
    for state in STATES {
        let gate = Gate::new();
        let volery = Volery::builder("t").agent(state.agent(&gate)).start().await?;
        let mut feed = volery.feed();
        let run = volery.run("cancelled").open();
        state.enter(&volery, &run, &gate, &mut feed).await?;
        turns().await;
        let waiting = run.waiting().await?;
        assert!(waiting.iter().all(|waiting| state.is_why(&waiting.reason)), "{state:?}: {waiting:?}");
        assert_eq!(waiting.len(), usize::from(state != State::Running), "{state:?}");

        run.cancel();
        let report = soon(run.settled()).await?;
        let wanted = Tally { matched: 1, cancelled: 1, ..Tally::default() };
        assert_eq!(report.tally, wanted, "{state:?}");
        assert!(!report.timed_out && run.waiting().await?.is_empty(), "{state:?}");

        // Its condition comes now, and it is cancelled again: nothing changes any more.
        run.cancel();
        volery.resume("any")?;
        gate.open(9);
        tokio::time::sleep(2 * LONG).await;
        soon(volery.until_idle()).await?;
        assert_eq!(run.tally().await?, wanted, "{state:?}");
        assert_eq!(tally(&volery, "any").await?.cancelled, 1, "{state:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_listed_with_its_last_progress_and_note() -> Tested {
    let gate = Gate::new();
    let agent = Agent::new("busy").consumes(one::<A>()).engine({
        let gate = gate.clone();
        move |input: A, ctx: Context| {
            let gate = gate.clone();
            async move {
                tokio::time::sleep(2 * SECOND).await;
                if input.n == 1 {
                    ctx.progress_on(format!("part {}", input.n));
                }
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("listed").publish(a(0, 1)).await?;
    gate.reached().await;
    volery.publish(a(0, 2)).await?;
    gate.reached().await;
    let running = volery.running().await?;
    let [first, second] = &running[..] else { panic!("two run: {running:?}") };
    assert_eq!((first.run, first.attempt, first.agent.as_str()), (run.id(), 1, "busy"));
    assert_eq!((first.state, first.note.as_deref()), (RunningState::Running, Some("part 1")));
    assert_eq!(first.last_progress, Some(first.since.after(2 * SECOND)), "when it said so");
    assert_eq!(second.note, None);
    assert_eq!(second.last_progress, Some(second.since), "when its engine was called");
    let status = &volery.agents().await?[0];
    assert_eq!((status.oldest_running, status.running), (Some(first.since), 2));
    gate.open(2);
    soon(volery.until_idle()).await?;
    assert!(volery.running().await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_cancelled_is_seen_as_cancelling_through_its_grace() -> Tested {
    let gate = Gate::new();
    let agent = Agent::new("tidy").cancel_grace(10 * SECOND).consumes(one::<A>()).engine({
        let gate = gate.clone();
        move |_: A, ctx: Context| {
            let gate = gate.clone();
            gate.open(1);
            async move {
                gate.pass().await;
                ctx.cancelled().await;
                ctx.progress_on("tidying up");
                pending::<Result<(), Fault>>().await
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("cancelled").publish(a(0, 0)).await?;
    gate.reached().await;
    assert_eq!(volery.agents().await?[0].cancelling, 0);
    tokio::time::sleep(SECOND).await;
    run.cancel();
    tokio::time::sleep(9 * SECOND).await;
    let running = volery.running().await?;
    let since = running[0].since.after(SECOND);
    assert_eq!(running[0].state, RunningState::Cancelling { since });
    assert_eq!(running[0].note.as_deref(), Some("tidying up"));
    let status = &volery.agents().await?[0];
    assert_eq!((status.cancelling, status.running), (1, 1));
    assert_eq!(run.tally().await?.outstanding(), 1, "it has not ended");
    tokio::time::sleep(SECOND).await;
    assert_eq!(soon(run.settled()).await?.tally.cancelled, 1);
    assert!(volery.running().await?.is_empty(), "it was dropped at the end of its grace");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_from_before_the_engine_looks_is_seen() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let agent = Agent::new("late").cancel_grace(LONG).consumes(one::<A>()).engine({
        let (gate, seen) = (gate.clone(), seen.clone());
        move |_: A, ctx: Context| {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                gate.pass().await;
                // Long after it was told.
                seen.note(ctx.is_cancelled());
                ctx.cancelled().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("cancelled").publish(a(0, 0)).await?;
    gate.reached().await;
    run.cancel();
    tokio::time::sleep(SECOND).await;
    gate.open(1);
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1, "it finished within its grace");
    assert_eq!(seen.all(), [true]);
    Ok(())
}
