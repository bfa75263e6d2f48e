//! Decisions from outside: pauses, ends of quarantines, cancellations, ends of input and deadlines outlive
//! the process.

use std::time::Duration;

use volery::feed::Event;
use volery::prelude::*;
use volery::shape::CloseReason;
use volery::store::Write;
use volery::supervision::Intensity;
use volery::supervision::LifeEvent;
use volery::testing::FailingStore;
use volery::{Fault, WaitingReason};

use crate::place::{Place, die, over_every_store};
use crate::support::{A, Gate, SECOND, Seen, Tested, a, closes, event, soon};

over_every_store! {
    a_paused_agent_is_paused_in_the_next_life_until_it_is_resumed,
    a_pause_that_the_store_refused_is_written_when_it_works_again,
    a_quarantine_outlives_the_process_until_it_is_lifted,
    a_run_that_was_cancelled_when_the_process_died_is_cancelled_in_the_next_life,
    a_run_that_was_finished_when_the_process_died_lets_go_in_the_next_life,
    a_deadline_of_a_run_in_the_log_outlives_the_curator,
    a_deadline_outlives_the_process,
    nothing_is_noted_about_a_run_that_is_over,
}

/// Soon enough for a test whose time is not paused.
const SHORT: Duration = Duration::from_millis(50);

fn builder(store: &FailingStore) -> volery::Builder {
    Volery::builder("t").store(store.clone()).configure(|settings| settings.jobs_in_memory_max = 1)
}

/// An agent that runs one job at a time and waits at a gate in each.
fn gated(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("gated").consumes(one::<A>()).concurrency(1).engine(move |_: A, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

/// Returns once everything that was asked for before is committed.
async fn commit(volery: &Volery) -> Tested {
    // A second one is not taken before the first is written, and what belongs to it.
    for key in [90, 91] {
        volery.publish(a(key, 0)).visible_to(Visibility::only(["nobody"])).await?;
    }
    Ok(())
}

async fn a_paused_agent_is_paused_in_the_next_life_until_it_is_resumed(place: &Place) -> Tested {
    let gate = Gate::new();
    gate.open_for_good();
    let store = place.store().await;
    let first = builder(&store).agent(gated(&gate)).start().await?;
    first.pause("gated")?;
    first.publish(a(0, 0)).await?;
    die(first, &store).await;

    let store = place.store().await;
    let second = builder(&store).agent(gated(&gate)).start().await?;
    assert!(second.agents().await?[0].paused);
    assert_eq!(second.waiting().await?.len(), 1);
    soon(second.until_idle()).await?;
    second.resume("gated")?;
    soon(second.until_idle()).await?;
    assert_eq!(second.waiting().await?.len(), 0);
    die(second, &store).await;

    let third = builder(&place.store().await).agent(gated(&gate)).start().await?;
    assert!(!third.agents().await?[0].paused);
    Ok(())
}

async fn a_pause_that_the_store_refused_is_written_when_it_works_again(place: &Place) -> Tested {
    let store = place.store().await;
    let first = builder(&store).agent(gated(&Gate::new())).start().await?;
    store.refuse_writes();
    first.pause("gated")?;
    assert!(first.agents().await?[0].paused, "it holds at once");
    store.accept_writes();
    commit(&first).await?;
    die(first, &store).await;
    let second = builder(&place.store().await).agent(gated(&Gate::new())).start().await?;
    assert!(second.agents().await?[0].paused);
    Ok(())
}

async fn a_quarantine_outlives_the_process_until_it_is_lifted(place: &Place) -> Tested {
    let brittle = || {
        let none = Intensity { restarts: 0, within: SECOND };
        Agent::new("brittle").consumes(one::<A>()).intensity(none).engine(|input: A, _| async move {
            assert_ne!(input.key, 1, "panics at one");
            Ok::<_, Fault>(())
        })
    };
    let store = place.store().await;
    let first = builder(&store).agent(brittle()).start().await?;
    let run = first.run("panics").publish(a(1, 0)).await?;
    soon(run.settled()).await?;
    let quarantine = first.agents().await?[0].quarantine;
    assert!(quarantine.is_some());
    drop(run);
    die(first, &store).await;

    let store = place.store().await;
    let second = builder(&store).agent(brittle()).start().await?;
    assert_eq!(second.agents().await?[0].quarantine, quarantine);
    let run = second.run("waits").publish(a(0, 0)).await?;
    let reasons: Vec<_> = run.waiting().await?.into_iter().map(|waiting| waiting.reason).collect();
    assert_eq!(reasons, [WaitingReason::AgentQuarantined(quarantine.expect("it is"))]);
    second.resume("brittle")?;
    soon(run.settled()).await?;
    drop(run);
    die(second, &store).await;

    let third = builder(&place.store().await).agent(brittle()).start().await?;
    assert_eq!(third.agents().await?[0].quarantine, None);
    Ok(())
}

async fn a_run_that_was_cancelled_when_the_process_died_is_cancelled_in_the_next_life(
    place: &Place,
) -> Tested {
    let (store, gate) = (place.store().await, Gate::new());
    let first = builder(&store).agent(gated(&gate)).start().await?;
    let run = first.run("unwanted").open();
    for n in 0..4 {
        run.publish(a(0, n)).await?;
    }
    soon(gate.reached()).await;
    // The note is written; what follows from it is not any more.
    store.refuse_only(|write| !matches!(write, Write::Note(_)));
    run.cancel();
    let published = first.publish(a(0, 9)).await;
    assert!(published.is_err(), "it is refused, behind the note");
    let id = run.id();
    drop(run);
    die(first, &store).await;

    let second = builder(&place.store().await).agent(gated(&Gate::new())).start().await?;
    let run = second.attach(id, "unwanted");
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.cancelled, report.tally.matched), (4, 4));
    Ok(())
}

async fn a_run_that_was_finished_when_the_process_died_lets_go_in_the_next_life(place: &Place) -> Tested {
    let (store, gate, seen) = (place.store().await, Gate::new(), Seen::new());
    let batching = || {
        let shape = one::<A>().batch(Batch::until_finished());
        Agent::new("batching").consumes(shape).engine(seen.engine())
    };
    let first = builder(&store).agents([gated(&gate), batching()]).start().await?;
    let run = first.run("all").open();
    for n in 0..3 {
        run.publish(a(0, n)).await?;
    }
    soon(gate.reached()).await;
    {
        let mut finished = Box::pin(run.finish());
        assert!(crate::support::is_pending(&mut finished).await, "one of its jobs runs");
    }
    commit(&first).await?;
    drop(run);
    die(first, &store).await;
    assert_eq!(seen.all(), Vec::<Vec<A>>::new());

    let second = builder(&place.store().await).agents([gated(&gate), batching()]).start().await?;
    let mut feed = second.feed();
    gate.open_for_good();
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [vec![a(0, 0), a(0, 1), a(0, 2)]]);
    assert_eq!(closes(&mut feed).await, [CloseReason::EndOfInput]);
    Ok(())
}

async fn a_deadline_of_a_run_in_the_log_outlives_the_curator(place: &Place) -> Tested {
    let volery = builder(&place.store().await).agent(gated(&Gate::new())).start().await?;
    // Two readers: in a file, where time runs, the deadline may come before the new life.
    let (mut lives, mut ends) = (volery.feed(), volery.feed());
    for n in 0..3 {
        volery.publish(a(0, n)).await?;
    }
    let run = volery.run("late").deadline(SHORT).publish(a(0, 3)).await?;
    let id = run.id();
    drop(run);
    volery.kill("curator").await?;
    let again = |event: &Event| {
        matches!(event, Event::Life(LifeEvent::Started { child, life }) if child.as_str() == "curator" && *life > 1)
            .then_some(())
    };
    event(&mut lives, again).await;
    let over = event(&mut ends, |event| match event {
        Event::RunTimedOut { run, workflow } => Some((*run, workflow.to_string())),
        _ => None,
    });
    assert_eq!(over.await, (id, "late".to_owned()));
    assert_eq!(soon(volery.attach(id, "late").settled()).await?.tally.cancelled, 1);
    Ok(())
}

async fn a_deadline_outlives_the_process(place: &Place) -> Tested {
    let store = place.store().await;
    let first = builder(&store).agent(gated(&Gate::new())).start().await?;
    first.publish(a(0, 0)).await?;
    let run = first.run("late").deadline(SHORT).publish(a(0, 1)).await?;
    let id = run.id();
    drop(run);
    commit(&first).await?;
    die(first, &store).await;
    let second = builder(&place.store().await).agent(gated(&Gate::new())).start().await?;
    let report = soon(second.attach(id, "late").settled()).await?;
    assert_eq!((report.tally.cancelled, report.tally.matched), (1, 1));
    Ok(())
}

async fn nothing_is_noted_about_a_run_that_is_over(place: &Place) -> Tested {
    let (store, gate) = (place.store().await, Gate::new());
    gate.open_for_good();
    let volery = builder(&store).agent(gated(&gate)).start().await?;
    let finished = volery.run("finished").deadline(SECOND * 3_600).publish(a(0, 0)).await?;
    soon(finished.finish()).await?;
    let cancelled = volery.run("cancelled").publish(a(0, 1)).await?;
    soon(cancelled.settled()).await?;
    cancelled.cancel();
    volery.cancel(volery::RunId::from_uuid(uuid::Uuid::nil()));
    drop((finished, cancelled));
    commit(&volery).await?;
    commit(&volery).await?;
    let notes = volery::store::Log::notes(&store).await.expect("it reads");
    assert_eq!(notes, []);
    Ok(())
}
