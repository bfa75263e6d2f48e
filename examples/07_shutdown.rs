//! A shutdown: running jobs may finish, late ones are cut off, and a report has the counts.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use volery::prelude::*;
use volery::report::{Phase, PhaseStatus};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Quick {
    number: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Endless {}

async fn work(_: Quick, _: Context) -> volery::Result<()> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

async fn hang(_: Endless, _: Context) -> volery::Result<()> {
    std::future::pending().await
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let volery = Volery::builder("factory")
        .agent(Agent::new("worker").consumes(one::<Quick>()).concurrency(2).engine(work))
        .agent(Agent::new("sleeper").consumes(one::<Endless>()).engine(hang))
        // Of this, half, at most one second, is kept to cancel what is left and to stop what comes after the
        // agents.
        .configure(|settings| settings.shutdown_within = Duration::from_millis(1500))
        .start()
        .await?;
    // A service would also call `volery.shutdown_on_signals()?` here.

    volery.publish_all((0..4).map(|number| Quick { number }).collect::<Vec<_>>()).await?;
    volery.publish(Endless {}).await?;

    let report = volery.shutdown().await?;
    for row in &report.phases {
        println!("{:<9} {}", row.phase.name(), row.status);
    }
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    println!("completed {}, cancelled {} ({})", agents.completed, agents.cancelled, agents.names.join(", "));
    assert_eq!(agents.status, PhaseStatus::TimedOut);
    assert_eq!((agents.completed, agents.cancelled), (4, 1));
    assert!(!report.is_graceful());

    // From then on, publishing fails, and the kind of the error says what to do.
    let error = volery.publish(Endless {}).await.expect_err("the runtime has stopped");
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Stop);
    // Asking again gives the same report.
    assert_eq!(volery.shutdown().await?, report);
    Ok(())
}
