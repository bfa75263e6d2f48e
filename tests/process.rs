//! Child processes: whatever an engine has started is gone with its attempt. Processes take real time, so it
//! is not paused; what a test waits for is the end of a pipe that every process of the group holds open.

#![cfg(unix)]

use std::future::pending;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::sync::oneshot;
use volery::Fault;
use volery::agent::Process;
use volery::prelude::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
struct Go;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

type Pipe = BufReader<ChildStdout>;

/// An agent that starts a shell with a sleeping grandchild, hands its pipe out once both run, and does `then`
/// with it.
fn parent<F, Fut>(agent: Agent, then: F) -> (Agent, oneshot::Receiver<Pipe>)
where
    F: Fn(Process) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Fault>> + Send,
{
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(Mutex::new(Some(tell)));
    let agent = agent.consumes(one::<Go>()).engine(move |_: Go, ctx: Context| {
        let (tell, then) = (Arc::clone(&tell), then.clone());
        async move {
            let mut process = ctx.process(shell("sleep 1000 & echo started; wait"))?;
            let mut pipe = BufReader::new(process.stdout.take().expect("it is piped"));
            let mut line = String::new();
            pipe.read_line(&mut line).await?;
            assert_eq!(line, "started\n");
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
            tell.expect("it is called once").send(pipe).expect("the test waits for it");
            then(process).await
        }
    });
    (agent, told)
}

/// Waits until no process holds the other end of the pipe.
async fn ended(mut pipe: Pipe) -> volery::Result<()> {
    let mut rest = String::new();
    pipe.read_to_string(&mut rest).await?;
    assert_eq!(rest, "");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_no_process_of_its_group_behind() -> volery::Result<()> {
    let (agent, started) = parent(Agent::new("parent"), |process| async move {
        let _process = process;
        pending().await
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("cancelled").publish(Go).await?;
    let pipe = started.await.expect("the engine runs");
    run.cancel();
    ended(pipe).await?;
    assert_eq!(run.settled().await?.tally.cancelled, 1);
    Ok(())
}

#[tokio::test]
async fn a_timed_out_attempt_leaves_no_process_of_its_group_behind() -> volery::Result<()> {
    let agent = Agent::new("parent").idle_timeout(HOUR);
    let (agent, started) = parent(agent, |mut process| async move {
        process.wait().await?;
        Ok(())
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("slow").publish(Go).await?;
    let pipe = started.await.expect("the engine runs");
    tokio::time::pause();
    tokio::time::advance(HOUR).await;
    tokio::time::resume();
    ended(pipe).await?;
    assert_eq!(run.settled().await?.tally.dead, 1);
    Ok(())
}

#[tokio::test]
async fn a_process_that_the_engine_forgets_ends_with_the_attempt() -> volery::Result<()> {
    let (agent, started) = parent(Agent::new("parent"), |process| async move {
        std::mem::forget(process);
        Ok(())
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("forgets").publish(Go).await?;
    ended(started.await.expect("the engine runs")).await?;
    assert_eq!(run.settled().await?.tally.consumed, 1);
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_killed_or_dropped_ends_with_its_group() -> volery::Result<()> {
    for kills in [true, false] {
        let (agent, started) = parent(Agent::new("parent"), move |mut process| async move {
            if kills {
                process.kill();
                let status = process.wait().await?;
                assert!(!status.success() && process.wait().await? == status);
            }
            drop(process);
            pending().await
        });
        let volery = Volery::builder("t").agent(agent).start().await?;
        volery.publish(Go).await?;
        ended(started.await.expect("the engine runs")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_process_gives_its_output_and_its_status() -> volery::Result<()> {
    let agent = Agent::new("parent").consumes(one::<Go>()).engine(|_: Go, ctx: Context| async move {
        let output = ctx.process(shell("echo said; exit 3"))?.output().await?;
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"said\n"[..]));
        let missing = ctx.process(Command::new("/nonexistent/program")).expect_err("there is none");
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        Ok::<_, Fault>(())
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("output").publish(Go).await?;
    assert_eq!(run.settled().await?.tally.consumed, 1, "{:?}", volery.dead_letters().limit(1).await?);
    Ok(())
}
