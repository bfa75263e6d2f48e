//! Dead letters: jobs that failed for good are listed, inspected, edited and driven again, or discarded with
//! a reason.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::letters::DeadFilter;
use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Transfer {
    to: String,
    cents: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Booked {
    to: String,
    cents: u64,
}

async fn book(transfer: Transfer, _: Context) -> Result<Publish<Booked>, String> {
    let Transfer { to, cents } = transfer;
    match to.as_str() {
        "" => Err("nobody to pay".to_owned()),
        name if name.starts_with(char::is_lowercase) => Err(format!("`{name}` is no name")),
        _ => Ok(Publish(Booked { to, cents })),
    }
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let volery = Volery::builder("bank")
        .agent(Agent::new("bookkeeper").consumes(one::<Transfer>()).concurrency(1).engine(book))
        .start()
        .await?;
    let run = volery.run("payday").open();
    let transfer = |to: &str, cents| Transfer { to: to.to_owned(), cents };
    for (to, cents) in [("Ada", 500), ("grace", 700), ("", 900)] {
        run.publish(transfer(to, cents)).await?;
    }
    println!("{}", run.settled().await?);

    // Listed by agent, run, kind or time. One letter tells its inputs, every attempt, and the chain of
    // causes.
    for letter in volery.dead_letters().agent("bookkeeper").only_open().await? {
        println!("{}", volery.dead_letter(letter.number).await?);
    }

    // Edited: the same place in the same run, with another payload. JSON would do as well, checked by the
    // kind.
    volery.dead_letter(1).await?.redrive_with(transfer("Grace", 700)).await?;
    // Given up: it stays in the list, with the reason.
    volery.dead_letter(2).await?.discard("asked the sender to write again").await?;
    let error = volery.dead_letter(2).await?.redrive().await.expect_err("a letter is decided once");
    println!("refused    {error}");
    // All that are open, at a rate that the service behind can bear. Here none is left.
    let report = volery.redrive(DeadFilter::all().agent("bookkeeper")).per_second(50).await?;
    println!("in bulk    {report}");
    assert_eq!(report.redriven, 0);

    run.settled().await?;
    let booked: Vec<Booked> = run.artifacts().await?;
    println!("booked     {booked:?}");
    assert_eq!(booked.len(), 2);

    // Where the booking came from, and what became of everything before it.
    let page = volery.query().kind_of::<Booked>().newest_first().limit(1).await?;
    if let Some(tree) = volery.lineage(page.artifacts[0].id()).await? {
        println!("{tree}");
    }
    volery.shutdown().await?;
    Ok(())
}
