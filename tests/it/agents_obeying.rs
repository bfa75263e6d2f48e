//! Engines that obey their cancellation: an error or a panic on the way out is no failure, and finished work
//! is kept.

use std::time::Duration;

use volery::prelude::*;
use volery::report::Phase;
use volery::{Fault, Tally};

use crate::support::{A, B, Gate, SECOND, Tested, a, b, on_board, soon, status_of, turns};

/// How an engine ends when it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Error,
    Panic,
    /// Its future panics when it is dropped, instead of ending.
    PanicInDrop,
    Finish,
}

const GRACES: [Duration; 2] = [Duration::ZERO, SECOND];

/// Panics when it is dropped, unless that happens in a panic.
struct Sharp;

impl Drop for Sharp {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "sharp");
    }
}

/// An engine that waits for its cancellation and then ends in this way.
fn obeying(exit: Exit, grace: Duration, gate: &Gate) -> Agent {
    let gate = gate.clone();
    gate.open_for_good();
    Agent::new("obeying").cancel_grace(grace).consumes(one::<A>()).engine(move |input: A, ctx: Context| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            let sharp = (exit == Exit::PanicInDrop).then(|| Sharp);
            if sharp.is_some() {
                std::future::pending::<()>().await;
            }
            ctx.cancelled().await;
            drop(sharp);
            match exit {
                Exit::Error => Err(Fault::from("cancelled, so it gives up")),
                Exit::Panic => panic!("cancelled, so it breaks"),
                Exit::Finish | Exit::PanicInDrop => Ok(Publish(b(0, input.n))),
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_obeys_its_cancellation_in_any_way_ends_cancelled() -> Tested {
    for grace in GRACES {
        for exit in [Exit::Error, Exit::Panic, Exit::PanicInDrop] {
            let gate = Gate::new();
            let volery = Volery::builder("t").agent(obeying(exit, grace, &gate)).start().await?;
            let run = volery.run("cancelled").publish(a(0, 0)).await?;
            gate.reached().await;
            turns().await;
            run.cancel();
            let wanted = Tally { matched: 1, cancelled: 1, ..Tally::default() };
            assert_eq!(soon(run.settled()).await?.tally, wanted, "{exit:?}, {grace:?}");
            assert!(volery.dead_letters().limit(9).await?.is_empty(), "{exit:?}, {grace:?}");
            let restarts = u32::from(exit != Exit::Error);
            assert_eq!(
                status_of(&volery, "obeying").await?.restarts,
                u64::from(restarts),
                "{exit:?}, {grace:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_obeys_a_shutdown_in_any_way_hands_its_job_back() -> Tested {
    for grace in GRACES {
        for exit in [Exit::Error, Exit::Panic, Exit::PanicInDrop] {
            let gate = Gate::new();
            let volery = Volery::builder("t").agent(obeying(exit, grace / 4, &gate)).start().await?;
            let mut feed = volery.feed();
            volery.publish(a(0, 0)).await?;
            gate.reached().await;
            turns().await;
            let report = soon(volery.shutdown()).await?;
            let board = report.phase(Phase::Board).expect("every phase has a row");
            assert_eq!(board.remaining, 1, "{exit:?}, {grace:?}: {report}");
            assert!(report.cut_off.is_empty(), "{exit:?}, {grace:?}: {report}");
            let dead = |event: &volery::feed::Event| matches!(event, volery::feed::Event::Dead { .. });
            assert!(!crate::support::drain(&mut feed).await.iter().any(dead), "{exit:?}, {grace:?}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_finishes_after_its_cancellation_is_kept() -> Tested {
    for grace in GRACES {
        let gate = Gate::new();
        let volery = Volery::builder("t").agent(obeying(Exit::Finish, grace, &gate)).start().await?;
        let run = volery.run("cancelled").publish(a(0, 7)).await?;
        gate.reached().await;
        turns().await;
        run.cancel();
        assert_eq!(soon(run.settled()).await?.tally.consumed, 1, "{grace:?}");
        assert_eq!(on_board::<B>(&volery).await?, [b(0, 7)], "{grace:?}");
    }
    Ok(())
}
