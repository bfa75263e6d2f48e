//! Failures: an attempt that fails is repeated by policy; a job that fails for good is a fact like any other.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Letter {
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Delivered {
    to: String,
    attempt: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Apology {
    reason: String,
}

async fn deliver(letter: Letter, context: Context) -> Result<Publish<Delivered>, String> {
    match letter.to.as_str() {
        "Nobody" => Err("no such address".to_owned()),
        // The attempt's number is the context's: the engine keeps no count.
        _ if context.attempt() < 3 => Err("the road is closed".to_owned()),
        _ => Ok(Publish(Delivered { to: letter.to, attempt: context.attempt() })),
    }
}

async fn apologise(failure: Failure, _: Context) -> volery::Result<Publish<Apology>> {
    Ok(Publish(Apology { reason: failure.error.join(": ") }))
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let retry = Retry::fixed(3, Duration::from_millis(10))
        .only_if(|error| !error.to_string().contains("no such address"));
    let volery = Volery::builder("post")
        .agent(Agent::new("carrier").consumes(one::<Letter>()).retry(retry).engine(deliver))
        .agent(Agent::new("clerk").consumes(one::<Failure>()).engine(apologise))
        .start()
        .await?;

    let run = volery.run("mail").open();
    run.publish_all(vec![Letter { to: "Ada".into() }, Letter { to: "Nobody".into() }]).await?;
    let report = run.settled().await?;

    let delivered: Vec<Delivered> = run.artifacts().await?;
    println!("delivered  {delivered:?}");
    assert_eq!(delivered, [Delivered { to: "Ada".into(), attempt: 3 }]);

    // The other letter is dead: it has a dead letter for queries, and a `Failure` artifact for agents.
    let dead = volery.dead_letters().await?;
    println!("dead       {} after {} attempt", dead[0].error[0], dead[0].attempts);
    assert_eq!((dead.len(), dead[0].attempts), (1, 1));
    let apologies: Vec<Apology> = run.artifacts().await?;
    println!("apology    {}", apologies[0].reason);
    assert_eq!(apologies[0].reason, "no such address");

    println!("{report}");
    assert_eq!((report.tally.consumed, report.tally.dead), (2, 1));
    volery.shutdown().await?;
    Ok(())
}
