//! Plain limits: what the same machine does with bare tokio channels and bare ractor casts for as many hops.
//!
//! Every figure of ours is printed beside these, from the same run, because machines are shared and noisy.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{mpsc, oneshot};

/// A message of the size of an id and a pointer.
#[derive(Debug)]
#[expect(dead_code, reason = "it only has to travel")]
pub(crate) struct Parcel(u64, Option<Box<u64>>);

struct Hop;

#[derive(Debug)]
enum Next {
    Actor(ActorRef<Parcel>),
    Done(u64, Option<oneshot::Sender<()>>),
}

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl Actor for Hop {
    type Msg = Parcel;
    type State = Next;
    type Arguments = Next;

    async fn pre_start(&self, _: ActorRef<Parcel>, next: Next) -> Result<Next, ActorProcessingErr> {
        Ok(next)
    }

    async fn handle(
        &self,
        _: ActorRef<Parcel>,
        parcel: Parcel,
        next: &mut Next,
    ) -> Result<(), ActorProcessingErr> {
        match next {
            Next::Actor(actor) => actor.cast(parcel)?,
            Next::Done(left, done) => {
                *left -= 1;
                if *left == 0
                    && let Some(done) = done.take()
                {
                    done.send(()).map_err(|()| "nobody waits")?;
                }
            }
        }
        Ok(())
    }
}

/// Sends `count` boxed messages through `hops` actors in a row, one cast per hop.
pub(crate) async fn ractor_casts(count: u64, hops: usize) -> Duration {
    let (done, finished) = oneshot::channel();
    let spawned = Actor::spawn(None, Hop, Next::Done(count, Some(done))).await;
    let (mut first, _) = spawned.expect("an actor without a name always starts");
    let mut all = vec![first.clone()];
    for _ in 1..hops {
        let spawned = Actor::spawn(None, Hop, Next::Actor(first)).await;
        first = spawned.expect("an actor without a name always starts").0;
        all.push(first.clone());
    }
    let begun = Instant::now();
    for number in 0..count {
        first.cast(Parcel(number, Some(Box::new(number)))).expect("the actor lives");
        if number % 256 == 0 {
            tokio::task::yield_now().await;
        }
    }
    finished.await.expect("the last actor counts every message");
    let taken = begun.elapsed();
    for actor in all {
        actor.stop(None);
    }
    taken
}

/// Sends `count` boxed messages through `hops` bounded tokio channels in a row, each drained by a task.
pub(crate) async fn tokio_channels(count: u64, hops: usize) -> Duration {
    let (first, mut from) = mpsc::channel::<Parcel>(1_024);
    for _ in 1..hops {
        let (to, next) = mpsc::channel(1_024);
        tokio::spawn(async move {
            while let Some(parcel) = from.recv().await {
                if to.send(parcel).await.is_err() {
                    return;
                }
            }
        });
        from = next;
    }
    let last = tokio::spawn(async move {
        for _ in 0..count {
            from.recv().await.expect("as many come as were sent");
        }
    });
    let begun = Instant::now();
    for number in 0..count {
        first.send(Parcel(number, Some(Box::new(number)))).await.expect("the next hop lives");
    }
    last.await.expect("the last hop does not panic");
    begun.elapsed()
}
