//! Child tasks: what an engine starts beside itself ends with its attempt, however that ends.

use std::future::pending;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use volery::Fault;
use volery::agent::ChildError;
use volery::prelude::*;

use crate::support::{A, Dropped, Gate, SECOND, Seen, Tested, a, soon, tally};

/// Says that it is being dropped, and takes until it is told to go on.
struct SlowDrop(Sender<()>, Receiver<()>);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        self.0.send(()).expect("the test listens");
        // Hands the worker's other tasks to another thread; one of them may be what the test waits for.
        tokio::task::block_in_place(|| self.1.recv()).expect("the test says so");
    }
}

/// How the attempt ends that has a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Failed,
    Panicked,
    TimedOut,
    Cancelled,
    /// The life of its agent ends.
    Killed,
}

#[tokio::test(start_paused = true)]
async fn a_child_task_ends_with_its_attempt_however_that_ends() -> Tested {
    for end in [End::Done, End::Failed, End::Panicked, End::TimedOut, End::Cancelled, End::Killed] {
        let (gate, dropped, started) = (Gate::new(), Dropped::default(), Gate::new());
        let agent = Agent::new("parent").timeout(60 * SECOND).consumes(one::<A>()).engine({
            let (gate, dropped, started) = (gate.clone(), dropped.clone(), started.clone());
            move |_: A, ctx: Context| {
                let (gate, dropped, started) = (gate.clone(), dropped.clone(), started.clone());
                async move {
                    if ctx.attempt() > 1 {
                        return Ok(());
                    }
                    let guard = dropped.guard();
                    let child = ctx.spawn(async move {
                        let _guard = guard;
                        started.pass().await;
                    });
                    gate.pass().await;
                    match end {
                        // A handle that is dropped lets the child go on.
                        End::Done => drop(child),
                        End::Failed => return Err(Fault::from("no")),
                        End::Panicked => panic!("no"),
                        End::TimedOut | End::Cancelled | End::Killed => pending::<()>().await,
                    }
                    Ok(())
                }
            }
        });
        let volery = Volery::builder("t").agent(agent).start().await?;
        let run = volery.run("parent").publish(a(0, 0)).await?;
        gate.reached().await;
        started.reached().await;
        assert!(!dropped.is_true(), "{end:?}");
        gate.open(1);
        match end {
            End::Cancelled => run.cancel(),
            End::Killed => volery.kill("parent").await?,
            _ => {}
        }
        let report = soon(run.settled()).await?;
        assert!(dropped.is_true(), "{end:?}");
        assert!(report.is_complete(), "{end:?}: {report}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_task_gives_its_result_or_says_why_it_has_none() -> Tested {
    let (seen, kept) = (Seen::new(), Arc::new(Mutex::new(None)));
    let agent = Agent::new("parent").consumes(one::<A>()).engine({
        let (seen, kept) = (seen.clone(), Arc::clone(&kept));
        move |input: A, ctx: Context| {
            let (seen, kept) = (seen.clone(), Arc::clone(&kept));
            async move {
                seen.note(ctx.spawn(async move { input.n }).await);
                seen.note(ctx.spawn(async { panic!("child in trouble") }).await);
                let stuck = ctx.spawn(pending::<u32>());
                stuck.abort();
                seen.note(stuck.await);
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(ctx.clone());
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 7)).await?;
    soon(volery.until_idle()).await?;
    assert_eq!(tally(&volery, "parent").await?.consumed, 1, "a panic of a child fails nobody else");
    let panicked = Err(ChildError::Panicked("child in trouble".to_owned()));
    assert_eq!(seen.all(), [Ok(7), panicked, Err(ChildError::CutOff)]);
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the engine kept it");
    assert_eq!(kept.spawn(async { 1 }).await, Err(ChildError::CutOff), "its attempt has ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_an_attempt_is_told_when_its_child_tasks_are_gone() -> Tested {
    let ((dropping, is_dropping), (go_on, may_go_on)) = (channel(), channel());
    let slow = Mutex::new(Some(SlowDrop(dropping, may_go_on)));
    let agent = Agent::new("parent").consumes(one::<A>()).engine(move |_: A, ctx: Context| {
        let slow = slow.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            if let Some(slow) = slow {
                drop(ctx.spawn(async move {
                    let _slow = slow;
                    pending::<()>().await;
                }));
            }
            Ok::<_, Fault>(())
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("parent").publish(a(0, 0)).await?;
    tokio::task::spawn_blocking(move || is_dropping.recv()).await.expect("it waits").expect("it is dropped");
    volery.run("other").publish(a(0, 1)).await?.settled().await?;
    assert_eq!((run.tally().await?.outstanding(), volery.running().await?.len()), (1, 1));
    go_on.send(()).expect("the child waits");
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1);
    Ok(())
}
