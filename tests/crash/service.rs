//! The service that is put to death: a chain, a join, a batch with a deadline, a retrying agent, and who
//! publishes for them.
//!
//! | agent | takes | publishes |
//! | --- | --- | --- |
//! | `price`, `ship` | `Order`, `Priced` | `Priced`, `Shipped`: the chain |
//! | `pair` | `Left` and `Right` of one number | `Paired` |
//! | `bundle` | up to five `Item`s, or those of a minute | `Bundle` |
//! | `collect` | the `Slow`s of a minute, of which a life publishes one | `Parcel` |
//! | `flaky` | `Flaky`; its first attempt fails, every seventh job fails for good | `Done` |
//!
//! Lives of the service are [`LIFE`] apart by their clocks, so that minutes pass without waiting.

use std::path::Path;
use std::time::Duration;

use volery::Sqlite;
use volery::prelude::*;
use volery::runtime::Clock;
use volery::sqlite::Durability;
use volery::{Fault, Published, Timestamp};

use crate::child::say;

macro_rules! payloads {
    ($($name:ident)+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            pub(crate) n: u64,
        }
    )+};
}

payloads! { Order Priced Shipped Left Right Item Slow Flaky Done Bad Doomed }

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Paired {
    pub(crate) left: u64,
    pub(crate) right: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Bundle {
    pub(crate) items: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Parcel {
    pub(crate) slow: Vec<u64>,
}

/// How long bundles and parcels stay open.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(60);

/// From the beginning of one life to that of the next, by their clocks. The minute is no multiple of it, so
/// that no deadline comes while a life has just begun.
pub(crate) const LIFE: Duration = Duration::from_secs(11);

/// A `Right` comes this many steps after its `Left`.
const LAG: u64 = 5;

/// Artifacts without a key are numbered by life: this many numbers each, and the same number for pairs of
/// artifacts.
const NUMBERS: u64 = 1_000_000;

/// Tells whether a `Flaky` of this number fails for good.
pub(crate) fn is_hopeless(n: u64) -> bool {
    n % 7 == 6
}

pub(crate) fn agents() -> Vec<Agent> {
    let price = Agent::new("price")
        .consumes(one::<Order>())
        .engine(async |order: Order, _: Context| Ok::<_, Fault>(Publish(Priced { n: order.n })));
    let ship = Agent::new("ship")
        .consumes(one::<Priced>())
        .engine(async |priced: Priced, _: Context| Ok::<_, Fault>(Publish(Shipped { n: priced.n })));
    let pair = Agent::new("pair")
        .consumes(join(by(|left: &Left| left.n), by(|right: &Right| right.n)))
        .engine(async |(left, right): (Left, Right), _: Context| {
            Ok::<_, Fault>(Publish(Paired { left: left.n, right: right.n }))
        });
    let bundle = Agent::new("bundle").consumes(one::<Item>().batch(Batch::of(5).or_after(OPEN_FOR))).engine(
        async |items: Vec<Item>, _: Context| {
            let items = items.iter().map(|item| item.n).collect();
            Ok::<_, Fault>(Publish(Bundle { items }))
        },
    );
    let collect = Agent::new("collect").consumes(one::<Slow>().batch(Batch::after(OPEN_FOR))).engine(
        async |slow: Vec<Slow>, _: Context| {
            let slow = slow.iter().map(|slow| slow.n).collect();
            Ok::<_, Fault>(Publish(Parcel { slow }))
        },
    );
    let flaky = Agent::new("flaky")
        .consumes(one::<Flaky>())
        .retry(Retry::fixed(3, Duration::from_millis(1)))
        .engine(async |flaky: Flaky, ctx: Context| {
            if ctx.attempt() == 1 || is_hopeless(flaky.n) {
                return Err(Fault::from("no luck"));
            }
            Ok(Publish(Done { n: flaky.n }))
        });
    vec![price, ship, pair, bundle, collect, flaky]
}

/// The clock of a life: later than the one before, with ids of its own.
pub(crate) fn clock(life: u64) -> Clock {
    let began = Timestamp::from_micros_since_epoch(1_700_000_000_000_000);
    Clock::fixed(began.after(LIFE * u32::try_from(life).expect("few lives")), life)
}

/// Starts a life on the file.
pub(crate) async fn start(path: &Path, durability: Durability, life: u64) -> volery::Result<Volery> {
    let store = Sqlite::options(path).durability(durability).open()?;
    Volery::builder("shop").store(store).clock(clock(life)).agents(agents()).start().await
}

/// How far the numbered publishes had come when the process died: the next numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) orders: u64,
    pub(crate) sides: u64,
}

/// Publishes in four streams at once, saying each acknowledgement, `steps` steps each.
pub(crate) async fn publish(volery: &Volery, from: Progress, life: u64, steps: u64) -> volery::Result<()> {
    acknowledged("slow", life, &volery.publish(Slow { n: life }).await?);
    tokio::try_join!(
        orders(volery, from.orders, steps),
        sides(volery, from.sides, steps),
        items(volery, life * NUMBERS, steps),
        together(volery, life * NUMBERS + NUMBERS / 2, steps),
    )?;
    Ok(())
}

/// Publishes every partner that is still to come, as numbers up to `progress` say.
pub(crate) async fn complete(volery: &Volery, progress: Progress) -> volery::Result<()> {
    for n in 0..=progress.sides {
        acknowledged("left", n, &left(volery, n).await?);
        acknowledged("right", n, &right(volery, n).await?);
    }
    Ok(())
}

async fn orders(volery: &Volery, from: u64, steps: u64) -> volery::Result<()> {
    for n in from..from + steps {
        let published = volery.publish(Order { n }).idempotency_key(format!("order {n}")).await?;
        acknowledged("order", n, &published);
    }
    Ok(())
}

async fn sides(volery: &Volery, from: u64, steps: u64) -> volery::Result<()> {
    for n in from..from + steps {
        acknowledged("left", n, &left(volery, n).await?);
        if let Some(n) = n.checked_sub(LAG) {
            acknowledged("right", n, &right(volery, n).await?);
        }
    }
    Ok(())
}

async fn left(volery: &Volery, n: u64) -> volery::Result<Published> {
    volery.publish(Left { n }).idempotency_key(format!("left {n}")).await
}

async fn right(volery: &Volery, n: u64) -> volery::Result<Published> {
    volery.publish(Right { n }).idempotency_key(format!("right {n}")).await
}

async fn items(volery: &Volery, from: u64, steps: u64) -> volery::Result<()> {
    for n in from..from + steps {
        acknowledged("item", n, &volery.publish(Item { n }).await?);
    }
    Ok(())
}

async fn together(volery: &Volery, from: u64, steps: u64) -> volery::Result<()> {
    for n in from..from + steps {
        for published in volery.publish_all((Publish(Item { n }), Publish(Flaky { n }))).await? {
            acknowledged("together", n, &published);
        }
    }
    Ok(())
}

fn acknowledged(stream: &str, n: u64, published: &Published) {
    say(&format!("ack {stream} {n} {} {}", published.id, published.offset));
}

/// An acknowledgement, as the service said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) stream: String,
    pub(crate) n: u64,
    pub(crate) id: String,
    pub(crate) offset: String,
}

impl Ack {
    /// Notes what a publish returned.
    pub(crate) fn of(published: &Published) -> Self {
        let (id, offset) = (published.id.to_string(), published.offset.to_string());
        Self { stream: String::new(), n: 0, id, offset }
    }

    /// Reads a word of the service; `None` if it is none.
    pub(crate) fn read(word: &str) -> Option<Self> {
        let mut parts = word.strip_prefix("ack ")?.split(' ').map(str::to_owned);
        let (stream, n) = (parts.next()?, parts.next()?.parse().ok()?);
        Some(Self { stream, n, id: parts.next()?, offset: parts.next()? })
    }
}

impl Progress {
    /// Learns from an acknowledgement.
    pub(crate) fn learn(&mut self, ack: &Ack) {
        match ack.stream.as_str() {
            "order" => self.orders = self.orders.max(ack.n + 1),
            "left" => self.sides = self.sides.max(ack.n + 1),
            _ => {}
        }
    }
}
