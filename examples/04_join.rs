//! A join: an agent waits for artifacts of two kinds that share a key, in whatever order they come.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    id: u32,
    cents: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Payment {
    order: u32,
    cents: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    order: u32,
}

/// Nothing is published for a payment that is too small.
async fn settle((order, payment): (Order, Payment), _: Context) -> volery::Result<Option<Receipt>> {
    Ok((payment.cents >= order.cents).then_some(Receipt { order: order.id }))
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let cashier = Agent::new("cashier")
        .consumes(
            join(by(|order: &Order| order.id), by(|payment: &Payment| payment.order))
                .within(Duration::from_secs(3600)),
        )
        .concurrency(1)
        .engine(settle);
    let volery = Volery::builder("shop").agent(cashier).start().await?;

    let run = volery.run("checkout").open();
    // The payment of order 2 comes before the order; order 3 is never paid.
    run.publish(Payment { order: 2, cents: 900 }).await?;
    for id in 1..=3 {
        run.publish(Order { id, cents: 900 }).await?;
    }
    run.publish(Payment { order: 1, cents: 100 }).await?;
    run.settled().await?;

    let receipts: Vec<Receipt> = run.artifacts().await?;
    println!("receipts  {receipts:?}");
    assert_eq!(receipts, [Receipt { order: 2 }]);

    // An input without a partner is not forgotten: it waits with a reason, and in the end it expires,
    // counted.
    let waiting = run.waiting().await?;
    println!("waiting   {}", waiting[0].reason);
    assert_eq!(waiting.len(), 1);
    let report = run.finish().await?;
    println!("finished  {report}");
    assert_eq!((report.tally.consumed, report.tally.expired), (4, 1));

    volery.shutdown().await?;
    Ok(())
}
