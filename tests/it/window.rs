//! Bounded memory: agents with small windows, what waits in the log, and jobs that the process died of.

use volery::feed::Event;
use volery::prelude::*;
use volery::testing::FailingStore;
use volery::{Failure, Fault, WaitingReason};

use crate::place::{Place, die, hand_back, over_every_store};
use crate::support::{A, B, Gate, Seen, Tested, a, b, drain, event, soon};

over_every_store! {
    a_cascade_in_a_cycle_with_full_windows_does_not_deadlock,
    jobs_start_in_log_order_with_a_window_of_one,
    what_waits_in_the_log_is_listed_behind_what_is_in_memory,
    a_run_in_the_log_settles_when_its_inputs_have_ended,
    a_run_is_cancelled_while_it_is_in_the_log,
    a_run_that_is_cancelled_in_the_log_only_tells_its_end_once,
    a_shutdown_drains_what_is_in_the_log,
    other_keys_go_on_while_one_key_waits,
    a_backlog_of_a_life_before_starts_in_order_and_within_the_window,
    a_job_that_the_process_died_of_is_given_up_and_says_so,
}

/// A runtime whose agents have room for this many jobs.
fn windowed(jobs: u32, store: &FailingStore) -> volery::Builder {
    Volery::builder("t").store(store.clone()).configure(|settings| settings.jobs_in_memory_max = jobs)
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

async fn a_cascade_in_a_cycle_with_full_windows_does_not_deadlock(place: &Place) -> Tested {
    let ping = Agent::new("ping").consumes(one::<A>()).concurrency(1).engine(|input: A, _| async move {
        Ok::<_, Fault>(if input.n == 0 { Vec::new() } else { vec![b(0, input.n - 1); 2] })
    });
    let pong = Agent::new("pong").consumes(one::<B>()).concurrency(1).engine(|input: B, _| async move {
        Ok::<_, Fault>(if input.n == 0 { Vec::new() } else { vec![a(0, input.n - 1); 2] })
    });
    let volery = windowed(1, &place.store().await).agents([ping, pong]).start().await?;
    let run = volery.run("cycle").publish(a(0, 8)).await?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.is_complete(), report.tally.consumed), (true, (1 << 9) - 1));
    Ok(())
}

async fn jobs_start_in_log_order_with_a_window_of_one(place: &Place) -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let volery = windowed(1, &place.store().await).agent(gated(&gate, &seen)).start().await?;
    for n in 0..30 {
        volery.publish(a(0, n)).await?;
    }
    gate.open(30);
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all(), (0..30).map(|n| a(0, n)).collect::<Vec<_>>());
    Ok(())
}

async fn what_waits_in_the_log_is_listed_behind_what_is_in_memory(place: &Place) -> Tested {
    let gate = Gate::new();
    let volery = windowed(2, &place.store().await).agent(gated(&gate, &Seen::new())).start().await?;
    let run = volery.run("one").publish(a(0, 0)).await?;
    gate.reached().await;
    for n in 1..6 {
        volery.publish(a(0, n)).await?;
    }
    let waiting = volery.waiting().await?;
    let listed: Vec<_> =
        waiting.iter().map(|waiting| (waiting.offset.get(), waiting.reason.clone())).collect();
    let in_log = |behind| WaitingReason::InLog { behind };
    let no_slot = WaitingReason::NoSlot;
    assert_eq!(listed, [(2, no_slot.clone()), (3, no_slot), (4, in_log(2)), (5, in_log(3)), (6, in_log(4))]);
    assert_eq!(volery.agents().await?[0].spilled, 3);
    assert_eq!(run.waiting().await?.len(), 0, "it runs");
    Ok(())
}

async fn a_run_in_the_log_settles_when_its_inputs_have_ended(place: &Place) -> Tested {
    let gate = Gate::new();
    let volery = windowed(1, &place.store().await).agent(gated(&gate, &Seen::new())).start().await?;
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

async fn a_run_is_cancelled_while_it_is_in_the_log(place: &Place) -> Tested {
    let gate = Gate::new();
    let volery = windowed(1, &place.store().await).agent(gated(&gate, &Seen::new())).start().await?;
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

async fn a_run_that_is_cancelled_in_the_log_only_tells_its_end_once(place: &Place) -> Tested {
    let gate = Gate::new();
    let volery = windowed(1, &place.store().await).agent(gated(&gate, &Seen::new())).start().await?;
    for n in 0..3 {
        volery.publish(a(0, n)).await?;
    }
    let run = volery.run("unwanted").publish(a(0, 3)).await?;
    run.publish(a(0, 4)).await?;
    let id = run.id();
    drop(run);
    let mut feed = volery.feed();
    volery.cancel(id);
    let (workflow, cancelled) = event(&mut feed, |event| match event {
        Event::RunSettled { run, workflow, tally } if *run == id => {
            Some((workflow.to_string(), tally.cancelled))
        }
        _ => None,
    })
    .await;
    assert_eq!((workflow.as_str(), cancelled), ("unwanted", 2));
    gate.open(3);
    soon(volery.until_idle()).await?;
    let again = |event: &Event| matches!(event, Event::RunSettled { run, .. } if *run == id);
    assert!(!drain(&mut feed).await.iter().any(again), "it is told once");
    Ok(())
}

async fn a_shutdown_drains_what_is_in_the_log(place: &Place) -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let volery = windowed(1, &place.store().await).agent(gated(&gate, &seen)).start().await?;
    for n in 0..9 {
        volery.publish(a(0, n)).await?;
    }
    gate.open(9);
    let report = volery.shutdown().await?;
    assert_eq!(seen.all().len(), 9, "{report}");
    Ok(())
}

async fn other_keys_go_on_while_one_key_waits(place: &Place) -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let agent = {
        let (gate, seen) = (gate.clone(), seen.clone());
        let shape = one::<A>().ordered_by(|a| a.key);
        Agent::new("keyed").consumes(shape).concurrency(2).engine(move |input: A, _| {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                if input.key == 0 {
                    gate.pass().await;
                }
                seen.note(input);
                Ok::<_, Fault>(())
            }
        })
    };
    let volery = windowed(2, &place.store().await).agent(agent).start().await?;
    for n in 0..6 {
        volery.publish(a(0, n)).await?;
    }
    let other = volery.run("other").publish(a(1, 6)).await?;
    let report = soon(other.settled()).await?;
    assert_eq!(
        (report.tally.consumed, seen.all()),
        (1, vec![a(1, 6)]),
        "the busy key does not fill the window"
    );
    gate.open(6);
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all().len(), 7);
    Ok(())
}

async fn a_backlog_of_a_life_before_starts_in_order_and_within_the_window(place: &Place) -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    {
        let store = place.store().await;
        let first = windowed(2, &store).agent(gated(&Gate::new(), &Seen::new())).start().await?;
        for n in 0..20 {
            first.publish(a(0, n)).await?;
        }
        die(first, &store).await;
    }
    let second = windowed(2, &place.store().await).agent(gated(&gate, &seen)).start().await?;
    let recovered = second.recovered();
    assert_eq!(
        recovered.to_string(),
        "resumed: 1 runs, 1 jobs replayed, 1 re-run; 19 inputs wait in the log",
        "one was running"
    );
    soon(gate.reached()).await;
    let status = second.agents().await?.swap_remove(0);
    assert!(status.queued <= 2 && status.spilled >= 17, "{status:?}");
    gate.open(20);
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), (0..20).map(|n| a(0, n)).collect::<Vec<_>>());
    Ok(())
}

/// Starts a runtime whose only job never ends, and lets its process die.
async fn die_of_it(place: &Place, input: Option<A>) -> Tested {
    let (store, stuck) = (place.store().await, Gate::new());
    let volery = windowed(9, &store).agent(gated(&stuck, &Seen::new())).start().await?;
    if let Some(input) = input {
        volery.publish(input).await?;
    }
    soon(stuck.reached()).await;
    die(volery, &store).await;
    Ok(())
}

async fn a_job_that_the_process_died_of_is_given_up_and_says_so(place: &Place) -> Tested {
    for death in 1..5 {
        die_of_it(place, (death == 1).then(|| a(0, 7))).await?;
        let gate = Gate::new();
        let volery = windowed(9, &place.store().await).agent(gated(&gate, &Seen::new())).start().await?;
        let recovered = volery.recovered();
        let counts = (recovered.jobs_replayed, recovered.interrupted, recovered.runs);
        assert_eq!(counts, (1, 1, 1), "after death {death}");
        // This one ends in an orderly way, which counts for nothing.
        soon(gate.reached()).await;
        hand_back(volery).await?;
    }
    die_of_it(place, None).await?;
    let heard = Seen::new();
    let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine(heard.engine());
    let agents = [gated(&Gate::new(), &Seen::new()), nurse];
    let volery = windowed(9, &place.store().await).agents(agents).start().await?;
    soon(volery.until_idle()).await?;
    let letters = volery.dead_letters().await?;
    assert_eq!(letters[0].error, ["the process died 3 times while this job ran alone"]);
    assert_eq!(heard.all()[0].error, letters[0].error, "a failure artifact says so as well");
    Ok(())
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn damaged_inputs_end_with_a_reason_and_the_others_go_on() -> Tested {
    let place = Place::file("window-damaged");
    let Place::File(path) = &place else { panic!("it is a file") };
    {
        let store = place.store().await;
        let first = windowed(1, &store).agent(gated(&Gate::new(), &Seen::new())).start().await?;
        for n in 0..6 {
            first.publish(a(0, n)).await?;
        }
        die(first, &store).await;
    }
    drop(place.store().await);
    let tool = rusqlite::Connection::open(path).expect("tools may open the file");
    // Behind a byte for each of the 32 places come the claims, each of seven bytes.
    let mut claims: Vec<u8> =
        tool.query_row("SELECT value FROM claim", [], |row| row.get(0)).expect("a block");
    claims[32 + 2 * 7] ^= 1;
    tool.execute("UPDATE claim SET value = ?1", [claims]).expect("a claim");
    tool.execute("UPDATE artifact SET payload = '{}' WHERE seq = 4", []).expect("a payload");
    drop(tool);
    let (gate, seen) = (Gate::new(), Seen::new());
    gate.open_for_good();
    let second = windowed(1, &place.store().await).agent(gated(&gate, &seen)).start().await?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [0, 1, 4, 5].map(|n| a(0, n)));
    let tally = crate::support::tally(&second, "gated").await?;
    assert_eq!((tally.consumed, tally.discarded, tally.dead, tally.outstanding()), (4, 1, 1, 0));
    let letters = second.dead_letters().await?;
    assert!(letters[0].error.iter().any(|cause| cause.contains("damaged at offset 4")), "{letters:?}");
    Ok(())
}
