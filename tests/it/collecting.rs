//! Collecting without keys: all-of and count gates, what is left over, and the order of inputs.

use volery::prelude::*;
use volery::{Fault, Outcome};

use crate::support::{A, B, C, Gate, Seen, Tested, a, b, c, outcome, tally};

#[tokio::test(start_paused = true)]
async fn all_of_waits_for_every_kind_and_gives_them_in_declaration_order() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("all").consumes(all_of::<(A, B, C)>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("all").open();
    run.publish(c(0, 3)).await?;
    run.publish(b(0, 2)).await?;
    run.settled().await?;
    assert!(seen.all().is_empty(), "A is missing");
    run.publish(a(0, 1)).await?;
    let report = run.settled().await?;
    assert_eq!(seen.all(), [(a(0, 1), b(0, 2), c(0, 3))]);
    assert_eq!(report.tally.consumed, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kind_named_twice_is_needed_twice_and_comes_in_log_order() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("twice").consumes(all_of::<(A, B, A)>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![a(0, 1)], vec![b(0, 9)], vec![a(0, 2)])).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(0, 1), b(0, 9), a(0, 2))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn all_of_filters_one_kind_without_touching_the_others() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("all").consumes(all_of::<(A, B)>().filter(|a: &A| a.n > 1)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![a(0, 1), a(0, 2)], vec![b(0, 0)])).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(0, 2), b(0, 0))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_count_gate_keeps_its_surplus_for_the_next_job() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("three").consumes(count::<A>(3)).concurrency(1).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("count").open();
    run.publish_all((0..7).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    let report = run.settled().await?;
    assert_eq!(seen.all(), [vec![a(0, 0), a(0, 1), a(0, 2)], vec![a(0, 3), a(0, 4), a(0, 5)]]);
    assert_eq!((report.tally.consumed, report.tally.outstanding()), (6, 1), "the seventh waits");

    run.publish_all(vec![a(0, 7), a(0, 8)]).await?;
    run.settled().await?;
    assert_eq!(seen.all()[2], [a(0, 6), a(0, 7), a(0, 8)], "the surplus comes first");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_count_gate_per_key_counts_every_key_by_itself() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("two").consumes(count::<A>(2).per(|a| a.key)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(1, 1), a(2, 2), a(3, 3), a(2, 4), a(1, 5)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [vec![a(2, 2), a(2, 4)], vec![a(1, 1), a(1, 5)]]);
    assert_eq!(tally(&volery, "two").await?.outstanding(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn surplus_is_kept_while_the_job_before_it_runs() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let agent = Agent::new("two").consumes(count::<A>(2)).concurrency(1).engine({
        let (gate, seen) = (gate.clone(), seen.clone());
        move |input: Vec<A>, _| {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                gate.pass().await;
                seen.note(input);
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
    gate.reached().await;
    volery.publish_all(vec![a(0, 2), a(0, 3), a(0, 4)]).await?;
    gate.open(2);
    volery.until_idle().await?;
    assert_eq!(seen.all(), [vec![a(0, 0), a(0, 1)], vec![a(0, 2), a(0, 3)]]);
    assert_eq!(tally(&volery, "two").await?.outstanding(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn inputs_of_several_runs_open_a_run_of_their_own() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("both").consumes(all_of::<(A, B)>()).engine({
        let seen = seen.clone();
        move |_: (A, B), ctx: Context| {
            seen.note(ctx.run());
            async { Ok::<_, Fault>(Publish(c(0, 0))) }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let first = volery.run("first").publish(a(0, 0)).await?;
    let second = volery.run("second").publish(b(0, 0)).await?;
    let (one, two) = (first.settled().await?, second.settled().await?);
    assert!(one.is_complete() && two.is_complete());
    let opened = seen.all()[0];
    assert!(opened != first.id() && opened != second.id());
    let page = volery.artifacts(&Filter::all().kind("C")).await?;
    assert_eq!(page.artifacts[0].run(), opened);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_an_input_waits_for_expires_when_its_run_is_finished() -> Tested {
    let agent =
        Agent::new("all").consumes(all_of::<(A, B)>()).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("half").publish(a(0, 0)).await?;
    let report = run.finish().await?;
    assert!(report.is_complete(), "{report}");
    assert_eq!(outcome(&mut feed).await.1, Outcome::Expired(volery::artifact::Expiry::EndOfInput));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_artifact_has_one_outcome_for_each_subscription() -> Tested {
    let fine = Agent::new("fine").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let fails = Agent::new("fails").consumes(one::<A>()).engine(|_: A, _| async { Err::<(), _>("no") });
    let waits =
        Agent::new("waits").consumes(all_of::<(A, B)>()).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agents([fine, fails, waits]).start().await?;
    let run = volery.run("many").publish(a(0, 0)).await?;
    let settled = run.settled().await?.tally;
    assert_eq!((settled.matched, settled.consumed, settled.dead, settled.outstanding()), (3, 1, 1, 1));
    let finished = run.finish().await?.tally;
    assert_eq!((finished.expired, finished.outstanding()), (1, 0));
    Ok(())
}
