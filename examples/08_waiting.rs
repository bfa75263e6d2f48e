//! Why does it not move? Everything that waits has a reason, and one call lists them.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    id: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Payment {
    order: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Reading {
    value: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Letter {}

async fn ignore<T>(_: T, _: Context) -> volery::Result<()> {
    Ok(())
}

async fn fail(_: Letter, _: Context) -> Result<(), &'static str> {
    Err("the road is closed")
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let orders_and_payments = join(by(|order: &Order| order.id), by(|payment: &Payment| payment.order));
    let volery = Volery::builder("depot")
        .agent(Agent::new("cashier").consumes(orders_and_payments).engine(ignore))
        .agent(Agent::new("averager").consumes(one::<Reading>().batch(Batch::of(3))).engine(ignore))
        .agent(Agent::new("auditor").consumes(one::<Order>()).engine(ignore))
        .agent(
            Agent::new("carrier")
                .consumes(one::<Letter>())
                .retry(Retry::fixed(2, Duration::from_secs(3600)).jitter(0.0))
                .engine(fail),
        )
        .start()
        .await?;

    volery.pause("auditor")?;
    volery.publish(Order { id: 7 }).await?;
    volery.publish(Reading { value: 20 }).await?;
    volery.publish(Letter {}).await?;
    // Looks again after everything that happens: here, until the letter's first attempt has failed.
    let backs_off = async || {
        let waiting = volery.waiting_for("carrier").await?;
        Ok(waiting.iter().any(|waiting| waiting.reason.name() == "back_off_until"))
    };
    assert!(volery.until(backs_off).await?);

    let mut reasons: Vec<(String, &str)> = Vec::new();
    for waiting in volery.waiting().await? {
        reasons.push((waiting.agent.to_string(), waiting.reason.name()));
    }
    reasons.sort();
    for (agent, reason) in &reasons {
        println!("{agent:<9} {reason}");
    }
    assert_eq!(
        reasons.iter().map(|(agent, reason)| (agent.as_str(), *reason)).collect::<Vec<_>>(),
        [
            ("auditor", "agent_paused"),
            ("averager", "batch_filling"),
            ("carrier", "back_off_until"),
            ("cashier", "join_missing"),
        ]
    );

    // The reason says what is missing, in words.
    let cashier = volery.waiting_for("cashier").await?;
    println!("cashier: {}", cashier[0].reason);
    assert_eq!(cashier[0].reason.to_string(), "missing 1 × Payment with key 7");

    // The last handle is dropped here: the runtime stops at once, and the letter is not waited for.
    Ok(())
}
