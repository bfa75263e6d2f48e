//! One agent: it takes one kind of artifact and publishes another.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Visitor {
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Greeting {
    text: String,
}

/// The engine: a plain async function. Its result is published.
async fn greet(visitor: Visitor, _context: Context) -> volery::Result<Publish<Greeting>> {
    Ok(Publish(Greeting { text: format!("Hello, {}!", visitor.name) }))
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let greeter = Agent::new("greeter").consumes(one::<Visitor>()).engine(greet);
    let volery = Volery::builder("hello").agent(greeter).start().await?;

    // A run is everything that follows from what is published in it.
    let run = volery.run("visit").publish(Visitor { name: "Ada".into() }).await?;
    let report = run.settled().await?;
    let greetings: Vec<Greeting> = run.artifacts().await?;

    println!("{report}");
    println!("{}", greetings[0].text);
    assert!(report.is_complete());
    assert_eq!(greetings[0].text, "Hello, Ada!");

    volery.shutdown().await?;
    Ok(())
}
