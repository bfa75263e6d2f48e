//! The feed: events as they happen. It never holds the board up.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use volery::feed::{Event, FeedItem};
use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Question {
    text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Answer {
    text: String,
}

async fn answer(question: Question, _: Context) -> volery::Result<Publish<Answer>> {
    Ok(Publish(Answer { text: question.text.to_uppercase() }))
}

/// Puts an event into one line; what is of no interest here is left out.
fn line(event: &Event) -> Option<String> {
    match event {
        Event::Published { artifact, claims } => {
            Some(format!("published {} by {}, claims: {claims}", artifact.kind().name(), artifact.producer()))
        }
        Event::Started { start, .. } => Some(format!("started attempt {}", start.attempt)),
        Event::Done { .. } => Some("done".to_owned()),
        Event::RunSettled { workflow, tally, .. } => Some(format!("run {workflow} settled: {tally}")),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let oracle = Agent::new("oracle").consumes(one::<Question>()).engine(answer);
    let volery = Volery::builder("temple").agent(oracle).start().await?;

    let mut feed = volery.feed();
    volery.publish(Question { text: "why?".into() }).await?;

    let mut lines = Vec::new();
    while let Some(item) = feed.next().await {
        match item {
            FeedItem::Event(event) => {
                lines.extend(line(&event));
                if matches!(event, Event::RunSettled { .. }) {
                    break;
                }
            }
            // A reader that is too slow misses events, and is told how many.
            FeedItem::Skipped(count) => lines.push(format!("skipped {count}")),
            _ => {}
        }
    }
    for line in &lines {
        println!("{line}");
    }
    assert_eq!(
        lines,
        [
            "published Question by external, claims: 1",
            "started attempt 1",
            "published Answer by oracle, claims: 0",
            "done",
            "run Question settled: 1 consumed",
        ]
    );

    volery.shutdown().await?;
    Ok(())
}
