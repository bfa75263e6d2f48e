//! Batches: an agent is given several inputs at once, and a last batch that is not full is not lost.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Reading {
    celsius: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Mean {
    of: usize,
    celsius: i32,
}

async fn average(readings: Vec<Reading>, _: Context) -> volery::Result<Publish<Mean>> {
    let of = readings.len();
    let total: i32 = readings.iter().map(|reading| reading.celsius).sum();
    Ok(Publish(Mean { of, celsius: total / i32::try_from(of).map_err(volery::Error::other)? }))
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    // A batch closes when it is full. `.or_after(duration)` would close it also when its first input is that
    // old.
    let averager =
        Agent::new("averager").consumes(one::<Reading>().batch(Batch::of(3))).concurrency(1).engine(average);
    let volery = Volery::builder("weather").agent(averager).start().await?;

    let run = volery.run("day").open();
    run.publish_all((10..17).map(|celsius| Reading { celsius }).collect::<Vec<_>>()).await?;

    // Two batches were full. The seventh reading waits for company, and says so.
    let settled = run.settled().await?;
    println!("settled   {settled}");
    println!("waiting   {}", run.waiting().await?[0].reason);
    assert_eq!(settled.tally.outstanding(), 1);

    // `finish` says that no more input comes: the last batch closes with what it has.
    let finished = run.finish().await?;
    let means: Vec<Mean> = run.artifacts().await?;
    println!("finished  {finished}");
    println!("means     {means:?}");
    assert!(finished.is_complete());
    assert_eq!(means.iter().map(|mean| mean.of).collect::<Vec<_>>(), [3, 3, 1]);

    volery.shutdown().await?;
    Ok(())
}
