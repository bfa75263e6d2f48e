//! The supervision tree: it can be seen, and its actors can be killed by name.

use volery::feed::{Event, FeedItem};
use volery::prelude::*;
use volery::supervision::{ChildState, Exit, LifeEvent};

use crate::support::{A, a};

fn two_agents() -> [Agent; 2] {
    ["left", "right"].map(|name| {
        Agent::new(name).consumes(one::<A>()).engine(async |_: A, _: Context| Ok::<_, volery::Error>(()))
    })
}

#[tokio::test(start_paused = true)]
async fn the_tree_names_every_actor_in_start_order() -> volery::Result<()> {
    let volery = Volery::builder("t").agents(two_agents()).start().await?;
    let tree = volery.tree().await;
    let names: Vec<&str> = tree.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["timekeeper", "curator", "agents", "upkeep"]);
    let agents: Vec<&str> = tree.children[2].children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(agents, ["left", "right"]);
    assert!(tree.children.iter().all(|child| child.state == ChildState::Alive));
    let drawn = tree.to_string();
    assert!(
        drawn.starts_with("t\n├─ timekeeper alive\n├─ curator alive\n├─ agents alive\n│  ├─ left alive"),
        "{drawn}"
    );
    volery.shutdown().await?;
    assert!(volery.tree().await.children.is_empty(), "a runtime that has stopped has no tree");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_killed_actor_is_seen_as_restarted_and_works_on() -> volery::Result<()> {
    let volery = Volery::builder("t").agents(two_agents()).start().await?;
    let mut feed = volery.feed();
    volery.kill("left").await?;
    while let Some(FeedItem::Event(event)) = feed.next().await {
        if matches!(event, Event::Life(LifeEvent::Started { child, life: 2 }) if child.as_str() == "left") {
            break;
        }
    }
    let tree = volery.tree().await;
    let [left, right] = &tree.children[2].children[..] else { panic!("two agents: {tree}") };
    assert_eq!((left.restarts, left.last_exit.clone()), (1, Some(Exit::Killed)));
    assert_eq!((right.restarts, right.last_exit.clone()), (0, None));
    let run = volery.run("after").open();
    run.publish(a(1, 1)).await?;
    assert_eq!(run.settled().await?.tally.consumed, 2);
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn killing_what_is_not_an_actor_is_refused() -> volery::Result<()> {
    let volery = Volery::builder("t").agents(two_agents()).start().await?;
    for name in ["nobody", "agents", "upkeep"] {
        let error = volery.kill(name).await.expect_err("there is no such actor");
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains(name), "{error}");
    }
    volery.shutdown().await?;
    Ok(())
}
