//! Restarts: agents and the curator are killed while they work; every job still ends exactly once.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::feed::{Event, FeedItem, FeedReader};
use volery::prelude::*;
use volery::supervision::LifeEvent;

const ORDERS: u32 = 300;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u32,
}

async fn pack(order: Order, _: Context) -> volery::Result<Publish<Parcel>> {
    tokio::task::yield_now().await;
    Ok(Publish(Parcel { number: order.number }))
}

async fn ship(_: Parcel, _: Context) -> volery::Result<()> {
    tokio::task::yield_now().await;
    Ok(())
}

/// Waits until `actor` lives again, and prints what its supervisor did meanwhile.
async fn restarted(feed: &mut FeedReader, actor: &str) {
    while let Some(item) = feed.next().await {
        let FeedItem::Event(Event::Life(event)) = item else { continue };
        match event {
            LifeEvent::Ended { child, life, exit } => println!("  life {life} of {child} ended: {exit:?}"),
            LifeEvent::Started { child, life } => {
                println!("  life {life} of {child} began");
                if child.as_str() == actor {
                    return;
                }
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let volery = Volery::builder("warehouse")
        .agent(Agent::new("pack").consumes(one::<Order>()).engine(pack))
        .agent(Agent::new("ship").consumes(one::<Parcel>()).engine(ship))
        // Enough for every event of this example, so that the reader misses none.
        .configure(|settings| settings.feed_capacity = 65_536)
        .start()
        .await?;

    let run = volery.run("orders").open();
    for number in 0..ORDERS {
        run.publish(Order { number }).await?;
        // Somebody pulls a plug every now and then, each time another one.
        let victim = match number {
            50 => "pack",
            120 => "ship",
            200 => "curator",
            _ => continue,
        };
        let mut feed = volery.feed();
        println!("killing {victim}");
        volery.kill(victim).await?;
        restarted(&mut feed, victim).await;
    }

    let report = run.settled().await?;
    println!("{}", volery.tree().await);
    println!("{report}");
    // An order and its parcel, for each of them: no one is lost, none is counted twice.
    assert_eq!(report.tally.consumed, u64::from(ORDERS) * 2);
    assert_eq!(run.artifacts::<Parcel>().await?.len(), ORDERS as usize);

    volery.shutdown().await?;
    Ok(())
}
