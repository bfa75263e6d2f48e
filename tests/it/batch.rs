//! Batches: what closes them, and that each says why.

use volery::prelude::*;
use volery::runtime::Partial;
use volery::shape::CloseReason;
use volery::testing::{Probe, Script};

use crate::support::{A, B, Gate, HOUR, SECOND, Tested, a, b, closes, tally, turns};

/// One batching agent, what it was given, and why its batches closed.
async fn check(
    shape: impl Shape<Input = Vec<A>> + 'static,
    inputs: &[(u32, u32)],
    batches: &[&[u32]],
    reasons: &[CloseReason],
) -> Tested {
    let probe = Probe::new("batch");
    let agent = Agent::new("batch").consumes(shape).concurrency(1).engine(probe.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("batch").open();
    run.publish_all(inputs.iter().map(|(key, n)| a(*key, *n)).collect::<Vec<_>>()).await?;
    run.settled().await?;
    let given: Vec<Vec<u32>> =
        probe.received().iter().map(|batch| batch.iter().map(|a| a.n).collect()).collect();
    assert_eq!(given, batches);
    assert_eq!(closes(&mut feed).await, reasons);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_at_its_size() -> Tested {
    let inputs = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)];
    let reasons = [CloseReason::Size, CloseReason::Size];
    check(one::<A>().batch(Batch::of(2)), &inputs, &[&[1, 2], &[3, 4]], &reasons).await
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_when_its_first_input_has_waited_long_enough() -> Tested {
    let inputs = [(0, 1), (0, 2)];
    check(one::<A>().batch(Batch::after(SECOND)), &inputs, &[&[1, 2]], &[CloseReason::Deadline]).await
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_at_whichever_bound_comes_first() -> Tested {
    let inputs = [(0, 1), (0, 2), (0, 3)];
    let reasons = [CloseReason::Size, CloseReason::Deadline];
    check(one::<A>().batch(Batch::of(2).or_after(SECOND)), &inputs, &[&[1, 2], &[3]], &reasons).await
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_at_its_weight() -> Tested {
    // 6 + 4 reach the weight; 7 + 8 would pass it; 30 is heavier than a whole batch.
    let inputs = [(0, 6), (0, 4), (0, 7), (0, 8), (0, 30)];
    let shape = one::<A>().weight(|a| a.n).batch(Batch::weighing(10));
    let reasons = [CloseReason::Weight; 4];
    check(shape, &inputs, &[&[6, 4], &[7], &[8], &[30]], &reasons).await
}

#[tokio::test(start_paused = true)]
async fn every_key_has_a_batch_of_its_own() -> Tested {
    let inputs = [(1, 1), (2, 2), (1, 3), (3, 4), (2, 5)];
    let shape = one::<A>().per(|a| a.key).batch(Batch::of(2));
    check(shape, &inputs, &[&[1, 3], &[2, 5]], &[CloseReason::Size; 2]).await
}

#[tokio::test(start_paused = true)]
async fn count_gates_come_in_batches_too() -> Tested {
    let probe = Probe::new("batch");
    let agent = Agent::new("batch").consumes(count::<A>(2).batch(Batch::of(2))).engine(probe.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((0..5).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    assert_eq!(probe.received(), [vec![vec![a(0, 0), a(0, 1)], vec![a(0, 2), a(0, 3)]]]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_when_a_run_in_it_is_finished() -> Tested {
    let probe = Probe::new("batch");
    let agent =
        Agent::new("batch").consumes(one::<A>().batch(Batch::until_finished())).engine(probe.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("batch").open();
    run.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    run.settled().await?;
    assert!(probe.received().is_empty(), "it holds everything until then");
    let report = run.finish().await?;
    assert_eq!(probe.received(), [vec![a(0, 1), a(0, 2), a(0, 3)]]);
    assert_eq!(closes(&mut feed).await, [CloseReason::EndOfInput]);
    assert!(report.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn batches_of_a_finished_run_close_one_after_the_other_down_the_pipeline() -> Tested {
    let probe = Probe::new("batch");
    let first =
        Agent::new("first").consumes(one::<A>().batch(Batch::of(2))).engine(|batch: Vec<A>, _| async move {
            let sum = batch.iter().map(|a| a.n).sum();
            Ok::<_, volery::Fault>(Publish(b(0, sum)))
        });
    let second =
        Agent::new("second").consumes(one::<B>().batch(Batch::until_finished())).engine(probe.engine());
    let volery = Volery::builder("t").agents([first, second]).start().await?;
    let run = volery.run("two").open();
    run.publish_all((1..=5).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    let report = run.finish().await?;
    let sums: Vec<Vec<u32>> =
        probe.received().iter().map(|batch| batch.iter().map(|b| b.n).collect()).collect();
    assert_eq!(sums, [[3, 7, 5]], "the last batch saw everything that the first let go");
    assert!(report.is_complete(), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_flushes_partial_batches() -> Tested {
    let probe = Probe::new("batch");
    let agent = Agent::new("batch").consumes(one::<A>().batch(Batch::of(9))).engine(probe.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    let report = volery.shutdown().await?;
    assert_eq!(probe.received(), [vec![a(0, 1), a(0, 2)]]);
    assert_eq!(closes(&mut feed).await, [CloseReason::Shutdown]);
    assert!(report.is_graceful(), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_flushes_what_comes_into_a_batch_while_it_drains() -> Tested {
    let probe = Probe::new("batch");
    let gate = Gate::new();
    let script = Script::new().waits_for(&gate).returns(Publish(b(0, 1)));
    let first = Agent::new("first").consumes(one::<A>()).engine(script);
    let shape = one::<B>().batch(Batch::of(9).or_after(HOUR));
    let second = Agent::new("second").consumes(shape).engine(probe.engine());
    let volery = Volery::builder("t").agents([first, second]).start().await?;
    volery.publish(a(0, 1)).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        volery.shutdown_requested().await;
        turns().await;
        gate.open(1);
    });
    assert_eq!(probe.received(), [vec![b(0, 1)]]);
    assert!(report?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_partial_batches_when_told_to_and_does_not_wait_for_them() -> Tested {
    for batch in [Batch::of(9), Batch::of(9).or_after(HOUR)] {
        let probe = Probe::new("batch");
        let agent = Agent::new("batch").consumes(one::<A>().batch(batch.clone())).engine(probe.engine());
        let volery = Volery::builder("t")
            .agent(agent)
            .configure(|settings| settings.partial_batches = Partial::Keep)
            .start()
            .await?;
        volery.publish(a(0, 1)).await?;
        assert_eq!(tally(&volery, "batch").await?.outstanding(), 1);
        let report = volery.shutdown().await?;
        assert!(probe.received().is_empty(), "{batch:?}");
        assert!(report.is_graceful(), "{batch:?}: {report}");
        let board = report.phase(volery::report::Phase::Board).expect("the board has a row");
        assert_eq!(board.remaining, 1, "the report says what is left");
    }
    Ok(())
}
