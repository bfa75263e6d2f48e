//! Traces: each run is a trace of OpenTelemetry's; `-- http://localhost:4318` sends them to a receiver.
//!
//! `cargo run --features otlp --example 14_traces`.
//! One run works in its second attempt, one is dead, two share a batch, and one is so big that its trace goes
//! on in another. docs/observability.md has pictures.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io;
use std::time::Duration;

use tokio::time::sleep;
use volery::prelude::*;
use volery::telemetry::{Otlp, TraceSettings, init};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Paid {
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Row(u32);

#[derive(Debug, thiserror::Error)]
#[error("the card was not charged")]
struct NotCharged(#[source] BankError);

#[derive(Debug, thiserror::Error)]
#[error("the bank did not answer")]
struct BankError(#[source] io::Error);

/// Grace's bank answers in the second attempt, Nobody's never.
async fn charge(order: Order, context: Context) -> Result<Publish<Paid>, NotCharged> {
    sleep(20 * MS).await;
    let Order { customer } = order;
    if customer == "Nobody" || (customer == "Grace" && context.attempt() == 1) {
        return Err(NotCharged(BankError(io::ErrorKind::ConnectionReset.into())));
    }
    Ok(Publish(Paid { customer }))
}

async fn pack(orders: Vec<Paid>, _: Context) -> volery::Result<()> {
    sleep(10 * MS).await;
    println!("packed     {:?}", orders.iter().map(|order| &order.customer).collect::<Vec<_>>());
    Ok(())
}

async fn apologise(failure: Failure, _: Context) -> volery::Result<()> {
    println!("apology    {}", failure.error.join(": "));
    Ok(())
}

async fn read(_: Row, _: Context) -> volery::Result<()> {
    sleep(2 * MS).await;
    Ok(())
}

async fn checkout(volery: &Volery, customer: &str) -> volery::Result<()> {
    let run = volery.run("checkout").publish(Order { customer: customer.to_owned() }).await?;
    println!("{customer:<10} {}", run.settled().await?);
    Ok(())
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    // A trace of more spans than this goes on in another, so that each can be read. The default is 1,000.
    let set_up = init("shop").traces(TraceSettings::default().spans_max(100));
    let set_up = match std::env::args().nth(1) {
        Some(endpoint) => set_up.otlp(Otlp::http().endpoint(endpoint)),
        None => set_up,
    };
    let telemetry = set_up.start().map_err(volery::Error::other)?;

    let retry = Retry::fixed(2, 30 * MS);
    let volery = Volery::builder("shop")
        .agent(Agent::new("charge").consumes(one::<Order>()).retry(retry).engine(charge))
        .agent(Agent::new("pack").consumes(one::<Paid>().batch(Batch::of(2))).concurrency(1).engine(pack))
        .agent(Agent::new("apologise").consumes(one::<Failure>()).engine(apologise))
        .agent(Agent::new("read").consumes(one::<Row>()).concurrency(4).engine(read))
        .telemetry(telemetry.providers())
        .start()
        .await?;

    // Ada's and Grace's orders are packed together: a job over two runs, with a trace of its own.
    let order = |customer| checkout(&volery, customer);
    tokio::try_join!(order("Ada"), order("Grace"), order("Nobody"))?;
    let import = volery.run("import").open();
    import.publish_all((0..40).map(Row).collect::<Vec<_>>()).await?;
    println!("import     {}", import.finish().await?);

    // The shutdown sends what waits; the report says whether all of it arrived.
    volery.shutdown().await?;
    let report = telemetry.shutdown(Duration::from_secs(5)).await;
    println!("telemetry  {report}");
    assert!(report.is_complete());
    Ok(())
}
