//! The durable store under a runtime: what one life of the process leaves, the next one goes on with.
//!
//! Time is not paused here: the store has threads of its own, which paused time would not wait for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use volery::Sqlite;
use volery::prelude::*;
use volery::store::StoreError;

use crate::place::open;
use crate::support::{A, B, Gate, Seen, Tested, a, b, soon};

/// A file that no other test uses, and that is not there yet.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("durable").join(name);
    drop(std::fs::remove_dir_all(&folder).err());
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder.join("store.db")
}

async fn start(path: &Path, agent: Agent) -> volery::Result<Volery> {
    Volery::builder("t").store(open(path)?).agent(agent).start().await
}

fn noting(seen: &Seen<A>) -> Agent {
    Agent::new("noting").consumes(one::<A>()).concurrency(1).engine(seen.engine())
}

#[tokio::test]
async fn what_was_accepted_runs_in_the_next_life() -> Tested {
    let (path, seen) = (file("accepted"), Seen::new());
    let first = start(&path, noting(&seen)).await?;
    first.pause("noting")?;
    for n in 0..3 {
        first.publish(a(0, n)).await?;
    }
    // The last handle goes: nothing is drained, as little as when the process dies.
    drop(first);
    soon(async {
        while matches!(open(&path), Err(StoreError::InUse { .. })) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = start(&path, noting(&seen)).await?;
    second.resume("noting")?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [a(0, 0), a(0, 1), a(0, 2)], "all of it, once, in log order");
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_half_filled_join_meets_its_partner_in_the_next_life() -> Tested {
    let (path, seen) = (file("join"), Seen::new());
    let pairing = || {
        let shape = join(by(|a: &A| a.key), by(|b: &B| b.key)).within(Duration::from_secs(3_600));
        Agent::new("pairing").consumes(shape).engine(seen.engine())
    };
    let first = start(&path, pairing()).await?;
    first.publish(a(1, 0)).await?;
    first.publish(a(2, 1)).await?;
    first.shutdown().await?;
    let second = start(&path, pairing()).await?;
    second.publish(b(2, 2)).await?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [(a(2, 1), b(2, 2))]);
    assert_eq!(second.waiting().await?.len(), 1, "the other one waits on");
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_is_known_in_the_next_life() -> Tested {
    let (path, seen) = (file("idempotent"), Seen::new());
    let first = start(&path, noting(&seen)).await?;
    let published = first.publish(a(0, 1)).idempotency_key("order 7").await?;
    soon(first.until_idle()).await?;
    first.shutdown().await?;
    let second = start(&path, noting(&seen)).await?;
    let again = second.publish(a(0, 2)).idempotency_key("order 7").await?;
    assert_eq!((again.id, again.repeat), (published.id, true));
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [a(0, 1)]);
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn dead_letters_and_payloads_are_read_back() -> Tested {
    let path = file("dead");
    let failing = || {
        Agent::new("failing")
            .consumes(one::<A>())
            .engine(|_: A, _: Context| async { Err::<(), volery::Fault>("no luck".into()) })
    };
    let first = start(&path, failing()).await?;
    let run = first.run("checkout").publish(a(0, 1)).await?;
    soon(run.settled()).await?;
    let id = run.id();
    drop(run);
    first.shutdown().await?;
    let second = start(&path, failing()).await?;
    let letters = second.dead_letters().await?;
    assert_eq!(
        (letters.len(), letters[0].run, letters[0].error.clone()),
        (1, id, vec!["no luck".to_owned()])
    );
    let page = second.artifacts(&Filter::all().run(id)).await?;
    assert_eq!(*page.artifacts[0].payload::<A>()?, a(0, 1));
    assert_eq!(page.artifacts.len(), 2, "the input and the failure");
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_job_cut_off_by_the_shutdown_runs_again_in_the_next_life() -> Tested {
    let (path, seen, gate) = (file("cut"), Seen::new(), Gate::new());
    let slow = |seen: &Seen<A>| {
        let (seen, gate) = (seen.clone(), gate.clone());
        Agent::new("noting").consumes(one::<A>()).engine(move |input: A, _: Context| {
            let (seen, gate) = (seen.clone(), gate.clone());
            async move {
                gate.pass().await;
                seen.note(input);
                Ok::<_, volery::Fault>(())
            }
        })
    };
    let first = start(&path, slow(&seen)).await?;
    first.publish(a(0, 1)).await?;
    gate.reached().await;
    // The first asks for draining, the second cuts it off.
    assert!(first.interrupt() && first.interrupt());
    soon(first.stopped()).await?;
    assert_eq!(seen.all(), []);
    gate.open(1);
    let second = start(&path, slow(&seen)).await?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [a(0, 1)]);
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_store_in_use_is_refused_before_anything_starts() -> Tested {
    let (path, seen) = (file("used"), Seen::new());
    let first = start(&path, noting(&seen)).await?;
    let error = start(&path, noting(&seen)).await.expect_err("it is in use");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    first.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_partial_batch_waits_for_the_next_life_unless_told_otherwise() -> Tested {
    let (path, seen) = (file("partial"), Seen::new());
    let batching = || Agent::new("batching").consumes(one::<A>().batch(Batch::of(3))).engine(seen.engine());
    let first = start(&path, batching()).await?;
    first.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    let report = first.shutdown().await?;
    assert_eq!(report.phase(volery::report::Phase::Board).map(|board| board.remaining), Some(2), "{report}");
    let second = start(&path, batching()).await?;
    second.publish(a(0, 3)).await?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [vec![a(0, 1), a(0, 2), a(0, 3)]], "one batch over two lives");
    second.publish(a(0, 4)).await?;
    second.shutdown().await?;
    let told = Volery::builder("t")
        .store(open(&path)?)
        .agent(batching())
        .configure(|settings| settings.partial_batches = volery::runtime::Partial::Flush)
        .start()
        .await?;
    told.shutdown().await?;
    assert_eq!(seen.all().last(), Some(&vec![a(0, 4)]), "flushed when told to");
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_accepted_runs_when_there_is_room() -> Tested {
    let (path, seen) = (file("full"), Seen::new());
    let store = Sqlite::options(&path).size_max(600_000).open()?;
    let first = Volery::builder("t").store(store).agent(noting(&seen)).start().await?;
    first.pause("noting")?;
    let mut accepted = 0;
    let error = loop {
        match first.publish_all((accepted..accepted + 50).map(|n| a(0, n)).collect::<Vec<_>>()).await {
            Ok(_) => accepted += 50,
            Err(error) => break error,
        }
        assert!(accepted < 100_000, "it fills up at last");
    };
    assert_eq!(error.kind(), volery::ErrorKind::Retry, "{error}");
    let health = first.health().await;
    assert!(health.live && !health.ready, "{health}");
    assert!(
        health.reasons.iter().any(|reason| reason.part == "store" && reason.what.contains("full")),
        "{health}"
    );
    first.interrupt();
    soon(first.shutdown()).await?;
    let second = start(&path, noting(&seen)).await?;
    second.resume("noting")?;
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), (0..accepted).map(|n| a(0, n)).collect::<Vec<_>>(), "all of it, once");
    second.shutdown().await?;
    Ok(())
}
