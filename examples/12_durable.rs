//! A store in a file: a join is left half filled, the runtime ends, and the next one completes it.
//!
//! `cargo run --example 12_durable [FILE]`; without a file it makes one in the folder for temporary files.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::time::Duration;

use volery::Sqlite;
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

/// Agents are code and are declared anew in every life; what they wait for is in the file.
async fn start(file: &Path) -> volery::Result<Volery> {
    let orders = by(|order: &Order| order.id);
    let payments = by(|payment: &Payment| payment.order);
    let settle = Agent::new("settle")
        .consumes(join(orders, payments).within(Duration::from_secs(3_600)))
        .engine(async |(order, payment): (Order, Payment), _: Context| {
            println!("order {} of {} cents is paid with {}", order.id, order.cents, payment.cents);
            Ok::<_, volery::Error>(())
        });
    Volery::builder("shop").store(Sqlite::open(file)?).agent(settle).start().await
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let given = std::env::args_os().nth(1).map(std::path::PathBuf::from);
    let file =
        given.unwrap_or_else(|| std::env::temp_dir().join(format!("volery-{}.db", std::process::id())));

    let first = start(&file).await?;
    // The key makes it the same artifact if this program is run again on the same file.
    first.publish(Order { id: 7, cents: 500 }).idempotency_key("order 7").await?;
    for waiting in first.waiting().await? {
        println!("{} waits: {}", waiting.agent, waiting.reason);
    }
    first.shutdown().await?;

    let second = start(&file).await?;
    println!("{}", second.recovered());
    second.publish(Payment { order: 7, cents: 500 }).idempotency_key("payment 7").await?;
    second.until_idle().await?;
    second.shutdown().await?;
    println!("everything is in {}", file.display());
    Ok(())
}
