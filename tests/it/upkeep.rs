//! Background loops from outside: how they stand, nudges, and what the janitor lets go.

use volery::prelude::*;
use volery::report::LoopStatus;
use volery::{ErrorKind, Resource};

use crate::support::{A, B, SECOND, Tested, a, b, on_board};

fn status(volery: &Volery, name: &str) -> LoopStatus {
    let found = volery.loops().into_iter().find(|status| status.name == name);
    found.unwrap_or_else(|| panic!("there is no loop {name}"))
}

#[tokio::test(start_paused = true)]
async fn every_loop_is_listed_with_its_ticks_and_its_next() -> Tested {
    let models = Resource::new("model", |key: String| async { Ok::<_, Fault>(key) });
    let beat = volery::Schedule::every("beat", SECOND, || a(0, 0));
    let volery = Volery::builder("t").schedule(beat).resource(&models).start().await?;
    tokio::time::sleep(SECOND * 10 + SECOND / 2).await;
    let names: Vec<String> = volery.loops().into_iter().map(|status| status.name).collect();
    let wanted = ["batch-timeouts", "correlation-cleanup", "janitor", "lookout", "eviction", "schedule/beat"];
    assert_eq!(names, wanted);
    let ticks = |name| status(&volery, name).ticks;
    assert_eq!((ticks("batch-timeouts"), ticks("correlation-cleanup"), ticks("janitor")), (10, 2, 0));
    let sweep = status(&volery, "batch-timeouts");
    let last = sweep.last_tick.expect("it has ticked");
    assert_eq!(sweep.next, Some(last.after(SECOND)));
    assert_eq!((sweep.errors, sweep.last_error.len()), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_janitor_removes_what_retention_lets_go_and_nothing_that_waits() -> Tested {
    let waits = Agent::new("waits").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t")
        .agent(waits)
        .configure(|settings| {
            settings.retention.age_max = Some(SECOND * 90);
            settings.retention.count_max = Some(2);
        })
        .start()
        .await?;
    volery.pause("waits")?;
    volery.publish(b(0, 0)).await?;
    for n in 0..5 {
        volery.publish(a(0, n)).await?;
    }
    volery.nudge("janitor")?;
    tokio::time::sleep(SECOND).await;
    assert_eq!(on_board::<A>(&volery).await?, [a(0, 3), a(0, 4)], "the newest two are kept");
    tokio::time::sleep(SECOND * 120).await;
    assert!(on_board::<A>(&volery).await?.is_empty(), "the others went with the janitor's period");
    assert_eq!(on_board::<B>(&volery).await?, [b(0, 0)], "what waits is kept, however old");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_janitor_removes_dead_letters_that_are_over_and_no_open_ones() -> Tested {
    let fails = Agent::new("fails").consumes(one::<A>()).engine(|input: A, ctx: Context| async move {
        // The third one has luck when it runs again.
        if input.n == 2 && ctx.attempt() > 1 { Ok(()) } else { Err(Fault::from("no luck")) }
    });
    let volery = Volery::builder("t")
        .agent(fails)
        .configure(|settings| settings.retention.letters_age_max = Some(SECOND * 90))
        .start()
        .await?;
    for n in 0..4 {
        volery.publish(a(0, n)).await?;
    }
    volery.until_idle().await?;
    volery.dead_letter(2).await?.discard("of no use").await?;
    volery.dead_letter(3).await?.redrive().await?;
    volery.dead_letter(4).await?.redrive().await?;
    volery.until_idle().await?;
    let listed = async || -> volery::Result<Vec<u64>> {
        Ok(volery.dead_letters().await?.iter().map(|letter| letter.number).collect())
    };
    assert_eq!(listed().await?, [1, 2, 3, 4, 5], "the last one failed again");
    tokio::time::sleep(SECOND * 200).await;
    assert_eq!(listed().await?, [1, 5], "what is open stays");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_the_janitor_removes_nothing() -> Tested {
    let volery = Volery::builder("t").configure(|settings| settings.janitor_every = SECOND).start().await?;
    volery.publish(a(0, 0)).await?;
    tokio::time::sleep(SECOND * 1_000).await;
    assert!(status(&volery, "janitor").ticks > 900);
    assert_eq!(on_board::<A>(&volery).await?, [a(0, 0)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn only_a_loop_that_is_there_can_be_nudged() -> Tested {
    let volery = Volery::builder("t").start().await?;
    let error = volery.nudge("gardener").expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains("`gardener`"), "{error}");
    volery.shutdown().await?;
    assert_eq!(volery.nudge("janitor").expect_err("it has stopped").kind(), ErrorKind::Stop);
    Ok(())
}
