//! Payloads that the process dies of, and stops that are none of their fault.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use volery::Sqlite;
use volery::letters::DeadFilter;
use volery::prelude::*;
use volery::store::{History, Letters};
use volery::{ArtifactId, Fault, Outcome};

use crate::child::{self, Child, say};
use crate::kills::folder;
use crate::service;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Grain {
    is_poison: bool,
}

/// Jobs in flight beside the poison when the process dies of it.
const INNOCENTS: u64 = 4;

/// Deaths with others in flight, after which each of them runs alone.
const TOGETHER: u64 = 2;

/// Deaths while it runs alone, after which a job is given up.
const ALONE: u64 = 3;

#[derive(serde::Serialize, serde::Deserialize)]
struct Role {
    path: PathBuf,
    life: u64,
}

impl Role {
    fn start(test: &str, path: &std::path::Path, life: u64) -> Child {
        let role = Self { path: path.to_owned(), life };
        Child::start(test, &serde_json::to_string(&role).expect("it is data"))
    }

    /// The part of this process, if it is a child.
    fn own() -> Option<Self> {
        child::role().map(|role| serde_json::from_str(&role).expect("the parent wrote it"))
    }

    fn builder(&self, agent: Agent) -> volery::Result<volery::Builder> {
        let clock = service::clock(self.life);
        Ok(Volery::builder("mill").store(Sqlite::open(&self.path)?).clock(clock).agent(agent))
    }
}

/// An agent whose process dies of poison: in the first lives once the innocents are in flight, later at once.
fn mill(life: u64) -> Agent {
    let (running, all) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    Agent::new("mill").consumes(one::<Grain>()).engine(move |grain: Grain, _: Context| {
        let (running, all) = (Arc::clone(&running), Arc::clone(&all));
        async move {
            if grain.is_poison {
                if life < TOGETHER {
                    all.notified().await;
                }
                std::process::abort();
            }
            if life < TOGETHER {
                if running.fetch_add(1, Ordering::AcqRel) + 1 == INNOCENTS {
                    all.notify_one();
                }
                std::future::pending::<()>().await;
            }
            Ok::<_, Fault>(())
        }
    })
}

async fn grind(role: Role) -> volery::Result<()> {
    let volery = role.builder(mill(role.life))?.start().await?;
    if role.life == 0 {
        let grains = (0..=INNOCENTS).map(|n| Grain { is_poison: n == 0 });
        volery.publish_all(grains.collect::<Vec<_>>()).await?;
    }
    volery.until_idle().await?;
    volery.shutdown().await?;
    say("settled");
    Ok(())
}

/// Every grain, and how it ended.
async fn ends(store: &Sqlite) -> volery::Result<Vec<(Grain, Option<Outcome>)>> {
    let page = store.find(&Filter::all().kind("Grain")).await?;
    let mut ends = Vec::new();
    for artifact in &page.artifacts {
        let id: ArtifactId = artifact.id();
        let lineage = store.lineage(id).await?.expect("what is listed has a lineage");
        let [claim] = lineage.claims.as_slice() else { panic!("one agent takes it: {:?}", lineage.claims) };
        ends.push((*artifact.payload::<Grain>()?, claim.outcome.clone()));
    }
    Ok(ends)
}

#[test]
fn a_payload_that_the_process_dies_of_is_a_dead_letter_and_the_innocent_are_consumed() {
    const TEST: &str =
        "deaths::a_payload_that_the_process_dies_of_is_a_dead_letter_and_the_innocent_are_consumed";
    if let Some(role) = Role::own() {
        return child::run(grind(role));
    }
    let path = folder("poison").join("mill.db");
    let mut deaths = 0;
    loop {
        let mut life = Role::start(TEST, &path, deaths);
        let settled = life.next_word().is_some_and(|word| word == "settled");
        assert_eq!(life.ended().success(), settled);
        if settled {
            break;
        }
        deaths += 1;
        assert!(deaths <= TOGETHER + ALONE, "the process dies of it again and again");
    }
    assert_eq!(deaths, TOGETHER + ALONE);
    child::run(async {
        let store = Sqlite::open(&path)?;
        let ends = ends(&store).await?;
        assert_eq!(ends.len() as u64, INNOCENTS + 1);
        for (grain, outcome) in ends {
            let wanted = if grain.is_poison { Outcome::Dead } else { Outcome::Consumed };
            assert_eq!(outcome, Some(wanted), "{grain:?}");
        }
        let letters = store.dead_letters(&DeadFilter::all()).await?;
        let [letter] = letters.as_slice() else { panic!("one is dead: {letters:?}") };
        assert!(letter.error.iter().any(|line| line.contains("died")), "{:?}", letter.error);
        Ok(())
    });
}

async fn hold_or_finish(role: Role, finish: bool) -> volery::Result<()> {
    let runs = Arc::new(Notify::new());
    let tell = Arc::clone(&runs);
    let engine = move |_: Grain, _: Context| {
        let tell = Arc::clone(&tell);
        async move {
            if !finish {
                tell.notify_one();
                std::future::pending::<()>().await;
            }
            Ok::<_, Fault>(())
        }
    };
    let builder = role.builder(Agent::new("mill").consumes(one::<Grain>()).engine(engine))?;
    let volery = builder.configure(|settings| settings.drain_within = Some(Duration::ZERO)).start().await?;
    volery.shutdown_on_signals()?;
    if role.life == 0 {
        volery.publish(Grain { is_poison: false }).await?;
    }
    if finish {
        volery.until_idle().await?;
        volery.shutdown().await?;
        return Ok(());
    }
    // Signals are listened to by now.
    runs.notified().await;
    say("running");
    volery.wait_for_shutdown().await?.exit()
}

#[test]
fn an_orderly_stop_with_unfinished_work_counts_as_nothing() {
    const TEST: &str = "deaths::an_orderly_stop_with_unfinished_work_counts_as_nothing";
    /// More than a job survives if each counted.
    const STOPS: u64 = TOGETHER + ALONE + 1;
    if let Some(role) = Role::own() {
        let finish = role.life == STOPS;
        return child::run(hold_or_finish(role, finish));
    }
    let path = folder("orderly").join("mill.db");
    for life in 0..STOPS {
        let mut service = Role::start(TEST, &path, life);
        assert_eq!(service.next_word().as_deref(), Some("running"), "life {life}");
        service.terminate();
        assert_eq!(service.ended().code(), Some(0), "life {life}");
    }
    assert!(Role::start(TEST, &path, STOPS).ended().success());
    child::run(async {
        let store = Sqlite::open(&path)?;
        let ends = ends(&store).await?;
        assert_eq!(ends, [(Grain { is_poison: false }, Some(Outcome::Consumed))]);
        assert!(store.dead_letters(&DeadFilter::all()).await?.is_empty());
        Ok(())
    });
}
