//! Damage in a file: what cannot be read is held or ends, visibly and once, and everything else goes on.

use volery::prelude::*;
use volery::{Fault, Severity};

use crate::place::{Place, die};
use crate::support::{A, B, Gate, Seen, Tested, a, b, soon, status_of, tally};

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
    assert_eq!(tool.execute("UPDATE started SET closed = 'no JSON'", []), Ok(1), "a job");
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
