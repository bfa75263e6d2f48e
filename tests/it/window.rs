//! Bounded memory: agents with small windows, what waits in the log, and jobs that the process died of.

use std::sync::atomic::Ordering;

use volery::prelude::*;
use volery::{Failure, Fault, WaitingReason};

use crate::support::{A, B, Gate, Moody, Seen, Tested, a, b, soon, turns};

/// A runtime whose agents have room for this many jobs.
fn windowed(jobs: u32) -> volery::Builder {
    Volery::builder("t").configure(|settings| settings.jobs_in_memory_max = jobs)
}

/// An agent that runs one job at a time and waits at a gate in each.
fn gated(gate: &Gate, seen: &Seen<A>) -> Agent {
    let (gate, seen) = (gate.clone(), seen.clone());
    Agent::new("gated").consumes(one::<A>()).concurrency(1).engine(move |input: A, _| {
        let (gate, seen) = (gate.clone(), seen.clone());
        async move {
            gate.pass().await;
            seen.note(input);
            Ok::<_, Fault>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_cascade_in_a_cycle_with_full_windows_does_not_deadlock() -> Tested {
    let ping = Agent::new("ping").consumes(one::<A>()).concurrency(1).engine(|input: A, _| async move {
        Ok::<_, Fault>(if input.n == 0 { Vec::new() } else { vec![b(0, input.n - 1); 2] })
    });
    let pong = Agent::new("pong").consumes(one::<B>()).concurrency(1).engine(|input: B, _| async move {
        Ok::<_, Fault>(if input.n == 0 { Vec::new() } else { vec![a(0, input.n - 1); 2] })
    });
    let volery = windowed(1).agents([ping, pong]).start().await?;
    let run = volery.run("cycle").publish(a(0, 8)).await?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.is_complete(), report.tally.consumed), (true, (1 << 9) - 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn jobs_start_in_log_order_with_a_window_of_one() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let volery = windowed(1).agent(gated(&gate, &seen)).start().await?;
    for n in 0..30 {
        volery.publish(a(0, n)).await?;
    }
    gate.open(30);
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all(), (0..30).map(|n| a(0, n)).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_log_is_listed_behind_what_is_in_memory() -> Tested {
    let gate = Gate::new();
    let volery = windowed(2).agent(gated(&gate, &Seen::new())).start().await?;
    let run = volery.run("one").publish(a(0, 0)).await?;
    gate.reached().await;
    for n in 1..6 {
        volery.publish(a(0, n)).await?;
    }
    let waiting = volery.waiting().await?;
    let listed: Vec<_> =
        waiting.iter().map(|waiting| (waiting.offset.get(), waiting.reason.clone())).collect();
    let in_log = |behind| WaitingReason::InLog { behind };
    let no_credit = WaitingReason::NoCredit;
    assert_eq!(
        listed,
        [(2, no_credit.clone()), (3, no_credit), (4, in_log(2)), (5, in_log(3)), (6, in_log(4))]
    );
    assert_eq!(volery.agents().await?[0].spilled, 3);
    assert_eq!(run.waiting().await?.len(), 0, "it runs");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_in_the_log_settles_when_its_inputs_have_ended() -> Tested {
    let gate = Gate::new();
    let volery = windowed(1).agent(gated(&gate, &Seen::new())).start().await?;
    for n in 0..5 {
        volery.publish(a(0, n)).await?;
    }
    let last = volery.run("last").publish(a(0, 5)).await?;
    let mut settled = Box::pin(last.settled());
    assert!(crate::support::is_pending(&mut settled).await);
    gate.open(6);
    let report = soon(settled).await?;
    assert_eq!((report.is_complete(), report.tally.consumed), (true, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_is_in_the_log() -> Tested {
    let gate = Gate::new();
    let volery = windowed(1).agent(gated(&gate, &Seen::new())).start().await?;
    for n in 0..3 {
        volery.publish(a(0, n)).await?;
    }
    let run = volery.run("unwanted").publish(a(0, 3)).await?;
    run.publish(a(0, 4)).await?;
    run.cancel();
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.cancelled, report.tally.outstanding()), (2, 0));
    gate.open(3);
    soon(volery.until_idle()).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drains_what_is_in_the_log() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let volery = windowed(1).agent(gated(&gate, &seen)).start().await?;
    for n in 0..9 {
        volery.publish(a(0, n)).await?;
    }
    gate.open(9);
    let report = volery.shutdown().await?;
    assert_eq!(seen.all().len(), 9, "{report}");
    Ok(())
}

/// Starts a runtime whose only job never ends, and lets its process die.
async fn die(store: &Moody) -> Tested {
    let stuck = Gate::new();
    let volery = windowed(9).store(store.clone()).agent(gated(&stuck, &Seen::new())).start().await?;
    soon(stuck.reached()).await;
    store.mood.down.store(true, Ordering::Release);
    drop(volery);
    turns().await;
    store.mood.down.store(false, Ordering::Release);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_process_died_of_is_given_up_and_says_so() -> Tested {
    let (store, mood) = Moody::new();
    mood.lasting.store(true, Ordering::Release);
    let heard = Seen::new();
    {
        let volery =
            windowed(9).store(store.clone()).agent(gated(&Gate::new(), &Seen::new())).start().await?;
        volery.pause("gated")?;
        volery.publish(a(0, 7)).await?;
        volery.shutdown().await?;
    }
    for death in 1..5 {
        die(&store).await?;
        let volery =
            windowed(9).store(store.clone()).agent(gated(&Gate::new(), &Seen::new())).start().await?;
        let recovered = volery.recovered();
        assert_eq!((recovered.jobs, recovered.interrupted, recovered.runs), (1, 1, 1), "after death {death}");
        // This one ends in an orderly way, which counts for nothing.
        volery.shutdown().await?;
    }
    die(&store).await?;
    let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine(heard.engine());
    let volery = windowed(9).store(store).agents([gated(&Gate::new(), &Seen::new()), nurse]).start().await?;
    soon(volery.until_idle()).await?;
    let letters = volery.dead_letters(0, 10).await?;
    assert_eq!(letters[0].error, ["the process died 3 times while this job ran alone"]);
    assert_eq!(heard.all()[0].error, letters[0].error, "a failure artifact says so as well");
    Ok(())
}
