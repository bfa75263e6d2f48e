//! Waiting reasons: whatever does not move says why.

use volery::artifact::Key;
use volery::prelude::*;
use volery::testing::{FailingStore, Pattern, Script, Test};
use volery::{Fault, WaitingReason};

use crate::support::{A, B, Gate, HOUR, SECOND, Tested, a, b};

async fn fine<T>(_: T, _: Context) -> Result<(), Fault> {
    Ok(())
}

/// Starts one agent, publishes, and returns why the inputs wait then, as name and text.
async fn reasons(agent: Agent, inputs: Vec<A>) -> volery::Result<Vec<WaitingReason>> {
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("waits").open();
    run.publish_all(inputs).await?;
    let waiting = run.waiting().await?;
    assert!(waiting.iter().all(|one| one.run == run.id() && one.subscription == 0));
    assert_eq!(waiting, volery.waiting_for("waits").await?);
    Ok(waiting.into_iter().map(|one| one.reason).collect())
}

#[tokio::test(start_paused = true)]
async fn all_of_says_which_kinds_are_missing() -> Tested {
    let agent = Agent::new("waits").consumes(all_of::<(A, B, B)>()).engine(fine);
    let missing = WaitingReason::AllOfMissing(vec![("B".into(), 2)]);
    assert_eq!(reasons(agent, vec![a(0, 1)]).await?, [missing]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_join_says_which_key_and_kind_are_missing() -> Tested {
    let shape = join(by(|a: &A| a.key), by(|b: &B| b.key));
    let agent = Agent::new("waits").consumes(shape).engine(fine);
    let missing = WaitingReason::JoinMissing { key: Key::from("7"), missing: vec![("B".into(), 1)] };
    assert_eq!(reasons(agent, vec![a(7, 1)]).await?, [missing]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_pair_says_that_its_window_is_open() -> Tested {
    let shape = join(by(|a: &A| a.key), by(|b: &B| b.key)).within(HOUR).every_pair();
    let agent = Agent::new("waits").consumes(shape).engine(fine);
    assert_eq!(reasons(agent, vec![a(7, 1)]).await?, [WaitingReason::WindowOpen { key: Key::from("7") }]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_says_how_full_it_is() -> Tested {
    let agent = Agent::new("waits").consumes(one::<A>().per(|a| a.key).batch(Batch::of(3))).engine(fine);
    let filling =
        WaitingReason::BatchFilling { have: 2, size: Some(3), closes_at: None, key: Some(Key::from("7")) };
    assert_eq!(reasons(agent, vec![a(7, 1), a(7, 2)]).await?, [filling.clone(), filling]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_on_a_timer_says_when_it_closes() -> Tested {
    let agent = Agent::new("waits").consumes(one::<A>().batch(Batch::after(HOUR))).engine(fine);
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 1)).await?;
    let waiting = volery.waiting().await?;
    let closes_at = Some(waiting[0].since.after(HOUR));
    assert_eq!(waiting[0].reason, WaitingReason::BatchFilling { have: 1, size: None, closes_at, key: None });
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delayed_artifact_says_when_it_can_be_seen() -> Tested {
    let volery =
        Volery::builder("t").agent(Agent::new("waits").consumes(one::<A>()).engine(fine)).start().await?;
    volery.publish(a(0, 1)).visible_to(volery::Visibility::after(HOUR)).await?;
    let waiting = volery.waiting().await?;
    assert_eq!(waiting[0].reason, WaitingReason::NotVisibleUntil(waiting[0].since.after(HOUR)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_agent_says_so() -> Tested {
    let gate = Gate::new();
    let slow = Script::new().waits_for(&gate).returns(());
    let agent = Agent::new("waits").consumes(one::<A>()).concurrency(1).engine(slow);
    assert_eq!(reasons(agent, vec![a(0, 1), a(0, 2)]).await?, [WaitingReason::NoSlot]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_behind_another_of_its_key_says_so() -> Tested {
    let shape = one::<A>().ordered_by(|a| a.key);
    let agent = Agent::new("waits").consumes(shape).engine(Script::<()>::new().hangs());
    assert_eq!(reasons(agent, vec![a(7, 1), a(7, 2)]).await?, [WaitingReason::BehindKey(Key::from("7"))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_backs_off_says_until_when() -> Tested {
    let agent = Agent::new("waits")
        .consumes(one::<A>())
        .retry(Retry::fixed(2, HOUR))
        .engine(Script::<()>::new().fails("no").repeats());
    let test = Test::new().agent(agent).start().await?;
    let mut events = test.events();
    test.publish(a(0, 1)).await?;
    events.expect(Pattern::retrying("waits")).await;
    let waiting = test.waiting().await?;
    let WaitingReason::BackOffUntil(until) = waiting[0].reason else { panic!("{waiting:?}") };
    assert!(until >= waiting[0].since.after(HOUR));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_paused_agent_says_so() -> Tested {
    let volery =
        Volery::builder("t").agent(Agent::new("waits").consumes(one::<A>()).engine(fine)).start().await?;
    volery.pause("waits")?;
    volery.publish(a(0, 1)).await?;
    assert_eq!(volery.waiting().await?[0].reason, WaitingReason::AgentPaused);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_started_says_that_the_store_is_unavailable() -> Tested {
    let store = FailingStore::over(Memory::new());
    let agent = Agent::new("waits").consumes(one::<A>()).engine(fine);
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    volery.pause("waits")?;
    volery.publish(a(0, 1)).await?;
    store.refuse_writes();
    volery.resume("waits")?;
    volery.publish(a(0, 2)).await.expect_err("the store is down");
    assert_eq!(volery.waiting().await?[0].reason, WaitingReason::StoreUnavailable);
    assert_eq!(volery.waiting().await?[0].reason, WaitingReason::StoreUnavailable, "asking changes nothing");
    store.accept_writes();
    volery.until_idle().await?;
    assert!(volery.waiting().await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_after_a_command_sees_the_command() -> Tested {
    let volery =
        Volery::builder("t").agent(Agent::new("waits").consumes(one::<A>()).engine(fine)).start().await?;
    volery.pause("waits")?;
    assert!(volery.agents().await?[0].paused);
    volery.resume("waits")?;
    assert!(!volery.agents().await?[0].paused);
    let run = volery.run("cancelled").open();
    volery.pause("waits")?;
    run.publish(a(0, 1)).await?;
    run.cancel();
    assert_eq!(run.tally().await?.cancelled, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn waiting_of_an_unknown_agent_is_an_error() -> Tested {
    let volery =
        Volery::builder("t").agent(Agent::new("waits").consumes(one::<A>()).engine(fine)).start().await?;
    for error in [
        volery.waiting_for("nobody").await.expect_err("no such agent"),
        volery.pause("nobody").expect_err("no such agent"),
        volery.resume("nobody").expect_err("no such agent"),
        volery.invoke("nobody", b(0, 0)).await.expect_err("no such agent"),
    ] {
        assert_eq!(error.kind(), volery::ErrorKind::FixInput);
        assert!(error.to_string().contains("nobody"), "{error}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_once_everything_has_its_outcome() -> Tested {
    let agent = Agent::new("waits").consumes(one::<A>()).retry(Retry::fixed(2, SECOND)).engine(fine);
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((0..50).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    assert!(volery.waiting().await?.is_empty());
    Ok(())
}
