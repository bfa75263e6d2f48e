//! A pipeline: agents know kinds, not each other, and one run holds everything that follows from one publish.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Page {
    text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Sentence {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
struct Length {
    words: usize,
}

/// A `Vec` publishes each of its elements.
async fn split(page: Page, _: Context) -> volery::Result<Vec<Sentence>> {
    Ok(page.text.split_terminator(". ").map(|text| Sentence { text: text.to_owned() }).collect())
}

/// An `Option` publishes something or nothing.
async fn measure(sentence: Sentence, _: Context) -> volery::Result<Option<Length>> {
    let words = sentence.text.split_whitespace().count();
    Ok((words > 1).then_some(Length { words }))
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let volery = Volery::builder("reader")
        .agent(Agent::new("splitter").consumes(one::<Page>()).engine(split))
        .agent(Agent::new("measurer").consumes(one::<Sentence>()).concurrency(4).engine(measure))
        .start()
        .await?;

    let text = "The board decides. Stop. The curator performs what it decided".to_owned();
    let run = volery.run("read").publish(Page { text }).await?;
    let report = run.settled().await?;

    // Jobs of one agent run side by side, so their outputs have no fixed order.
    let mut lengths: Vec<Length> = run.artifacts().await?;
    lengths.sort();
    println!("{report}");
    println!("words per sentence: {lengths:?}");
    assert_eq!(lengths, [Length { words: 3 }, Length { words: 6 }]);
    assert_eq!(report.tally.consumed, 4, "one page and three sentences");

    // Every artifact names its producer and its causes.
    let page = volery.artifacts(&Filter::all().run(run.id()).kind("Length")).await?;
    for length in &page.artifacts {
        assert_eq!(length.producer().to_string(), "measurer");
        assert_eq!(length.causes().len(), 1);
        assert_eq!(length.generation(), 2, "two jobs lie between the page and a length");
    }

    volery.shutdown().await?;
    Ok(())
}
