//! Damage in a file: what cannot be read is held or ends, visibly and once, and everything else goes on.

use volery::Fault;
use volery::Memory;
use volery::prelude::*;
use volery::report::Severity;
use volery::testing::FailingStore;

use crate::place::{Place, die};
use crate::support::{A, B, Gate, HOUR, Seen, Tested, a, b, soon, status_of, tally};

fn gated(gate: &Gate, seen: &Seen<A>) -> Agent {
    let (gate, seen) = (gate.clone(), seen.clone());
    Agent::new("gated").consumes(one::<A>()).concurrency(1).engine(move |input: A, _| {
        let (gate, seen) = (gate.clone(), seen.clone());
        async move {
            gate.pass().await;
            seen.note(input);
            Ok::<_, Fault>(())
        }
    })
}

fn file(place: &Place) -> rusqlite::Connection {
    let Place::File(path) = place else { panic!("it is a file") };
    rusqlite::Connection::open(path).expect("tools may open the file")
}

#[tokio::test]
async fn damaged_records_of_a_job_and_a_note_are_told_of_and_keep_nobody_from_starting() -> Tested {
    let place = Place::file("damage-records");
    let other = |seen: &Seen<B>| Agent::new("other").consumes(one::<B>()).engine(seen.engine());
    {
        let (store, stuck) = (place.store().await, Gate::new());
        let agents = [gated(&stuck, &Seen::new()), other(&Seen::new())];
        let first = Volery::builder("t").store(store.clone()).agents(agents).start().await?;
        first.pause("other")?;
        for n in 0..3 {
            first.publish(a(0, n)).await?;
        }
        first.publish(b(0, 0)).await?;
        soon(stuck.reached()).await;
        die(first, &store).await;
    }
    drop(place.store().await);
    let tool = file(&place);
    let mut job: Vec<u8> = tool.query_row("SELECT value FROM job", [], |row| row.get(0)).expect("a block");
    *job.last_mut().expect("it is not empty") ^= 1;
    assert_eq!(tool.execute("UPDATE job SET value = ?1", [job]), Ok(1), "a job");
    assert_eq!(tool.execute("UPDATE note SET value = 'no JSON' WHERE topic = 'paused'", []), Ok(1), "a note");
    drop(tool);
    let (gate, seen, others) = (Gate::new(), Seen::new(), Seen::new());
    let agents = [gated(&gate, &seen), other(&others)];
    let second = Volery::builder("t").store(place.store().await).agents(agents).start().await?;
    gate.open_for_good();
    soon(second.until_idle()).await?;
    assert_eq!(seen.all(), [a(0, 1), a(0, 2)], "the others run");
    let ended = tally(&second, "gated").await?;
    assert_eq!((ended.consumed, ended.discarded, ended.outstanding()), (2, 1, 0), "and the job has ended");
    assert!(status_of(&second, "other").await?.paused && others.all().is_empty(), "the agent is held");
    let health = second.health().await;
    let store: Vec<_> = health.reasons.iter().filter(|reason| reason.part == "store").collect();
    assert!(health.ready && store.len() == 1 && store[0].severity == Severity::Degraded, "{health}");
    assert!(store[0].what.starts_with("2 damaged records"), "{health}");
    second.resume("other")?;
    soon(second.until_idle()).await?;
    assert_eq!(others.all(), [b(0, 0)]);
    second.shutdown().await?;
    let third = Volery::builder("t").store(place.store().await).agent(other(&others)).start().await?;
    let health = third.health().await;
    assert!(health.reasons.iter().all(|reason| reason.part != "store"), "it is over: {health}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_inputs_in_the_log_are_damaged_is_held_until_it_is_resumed_and_others_go_on() -> Tested
{
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    let (seen, others) = (Seen::new(), Seen::new());
    let agents = [gated(&gate, &seen), Agent::new("other").consumes(one::<B>()).engine(others.engine())];
    let volery = Volery::builder("t")
        .store(store.clone())
        .agents(agents)
        .configure(|settings| settings.jobs_in_memory_max = 1)
        .start()
        .await?;
    for n in 0..20 {
        volery.publish(a(0, n)).await?;
    }
    soon(gate.reached()).await;
    store.damage_pages();
    let before = store.pages();
    gate.open_for_good();
    // Jobs in memory end; the rest does not move any more, and nobody waits for it.
    soon(volery.until_idle()).await?;
    let done = seen.all().len();
    assert!(done < 20, "some were in the log only");
    tokio::time::sleep(HOUR).await;
    assert_eq!(store.pages() - before, 1, "the damage is looked at once, whatever time passes");
    volery.publish(b(0, 1)).await?;
    volery.publish(a(0, 20)).await?;
    soon(volery.until_idle()).await?;
    assert_eq!((others.all(), seen.all().len()), (vec![b(0, 1)], done), "others go on, and order is kept");
    let health = volery.health().await;
    let reason = health.reasons.iter().find(|reason| reason.part == "gated").expect("it is told of");
    assert!(health.ready && reason.severity == Severity::Degraded, "{health}");
    assert!(reason.what.contains("damaged") && reason.what.contains("resumed"), "{health}");
    store.mend_pages();
    volery.resume("gated")?;
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all(), (0..=20).map(|n| a(0, n)).collect::<Vec<_>>(), "all of it, once, in order");
    assert!(volery.health().await.reasons.is_empty());
    Ok(())
}
