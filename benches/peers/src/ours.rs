//! The load by Volery: one agent that answers each order with a parcel, in memory or on SQLite.

use std::path::Path;

use volery::Sqlite;
use volery::prelude::*;

use crate::load::produce;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u64,
}

/// One load; with a file the store is SQLite with `Durability::Full`, the default.
pub(crate) async fn run(count: u64, slots: u32, file: Option<&Path>) {
    let ship = Agent::new("ship").concurrency(slots).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    );
    let builder = Volery::builder("peers").agent(ship);
    let builder = match file {
        Some(file) => builder.store(Sqlite::open(file).expect("it opens")),
        None => builder,
    };
    let volery = builder.start().await.expect("it starts");
    let publisher = volery.clone();
    produce(count, move |number| {
        let order = Order { number, customer: "somebody".to_owned() };
        let publishing = publisher.publish(order);
        async move {
            publishing.await.expect("the runtime runs");
        }
    })
    .await;
    volery.until_idle().await.expect("the runtime runs");
    volery.shutdown().await.expect("it stops");
}
