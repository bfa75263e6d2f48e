//! Health and the watchdog: what counts against readiness and liveness, and that the answer comes whoever is
//! stuck.

use volery::Fault;
use volery::feed::Event;
use volery::prelude::*;
use volery::report::{Health, Severity};
use volery::supervision::Intensity;
use volery::testing::FailingStore;

use crate::support::{A, Gate, SECOND, Tested, a, event, is_pending, turns};

fn waiting(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("waiting").consumes(one::<A>()).concurrency(1).engine(move |_: A, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

/// The reasons, as part and severity.
fn reasons(health: &Health) -> Vec<(&str, Severity)> {
    health.reasons.iter().map(|reason| (reason.part.as_str(), reason.severity)).collect()
}

/// A memory store whose writes never end.
fn stuck() -> FailingStore {
    let store = FailingStore::over(Memory::new());
    store.delay_commits(std::future::pending);
    store
}

#[tokio::test(start_paused = true)]
async fn a_started_runtime_is_live_and_ready() -> Tested {
    let volery = Volery::builder("well").agent(waiting(&Gate::new())).start().await?;
    let health = volery.health().await;
    assert!(health.live && health.ready && health.reasons.is_empty(), "{health}");
    assert_eq!(health.to_string(), "well is ready");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_stops_is_live_and_not_ready_and_neither_when_it_has_stopped() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(waiting(&gate)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let mut shutdown = Box::pin(volery.shutdown());
    assert!(is_pending(&mut shutdown).await);
    tokio::time::advance(SECOND).await;
    let health = volery.health().await;
    assert_eq!((health.live, health.ready), (true, false), "{health}");
    assert_eq!(health.at.since(health.reasons[0].since), SECOND, "since the request");
    gate.open(1);
    shutdown.await?;
    let health = volery.health().await;
    assert_eq!((health.live, health.ready), (false, false), "{health}");
    assert_eq!(reasons(&health), [("runtime", Severity::NotLive)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_writes_makes_it_not_ready_until_it_works_again() -> Tested {
    let store = FailingStore::over(Memory::new());
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).store(store.clone()).start().await?;
    store.refuse_writes();
    volery.publish(a(0, 0)).await.expect_err("the store is down");
    let health = volery.health().await;
    assert_eq!(reasons(&health), [("store", Severity::NotReady)]);
    assert!(health.live && !health.ready, "{health}");
    assert!(health.reasons[0].what.contains("refuse"), "the cause is named: {health}");
    store.accept_writes();
    volery.publish(a(0, 1)).await?;
    assert!(volery.health().await.ready);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_at_its_bound_makes_it_not_ready() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(waiting(&gate))
        .configure(|settings| settings.queued_max = 2)
        .start()
        .await?;
    volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
    gate.reached().await;
    let health = volery.health().await;
    assert_eq!(reasons(&health), [("backlog", Severity::NotReady)]);
    gate.open(2);
    volery.until_idle().await?;
    assert!(volery.health().await.ready);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_agent_and_a_finding_of_the_lookout_are_told_and_degrade_only() -> Tested {
    let brittle = Agent::new("brittle")
        .intensity(Intensity { restarts: 0, within: SECOND })
        .consumes(one::<A>())
        .engine(|_: A, _| async { panic!("an invariant is broken") as Result<(), Fault> });
    let volery = Volery::builder("t")
        .agents([brittle, waiting(&Gate::new())])
        .configure(|settings| settings.oldest_age = SECOND)
        .start()
        .await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    event(&mut feed, |event| matches!(event, Event::Quarantined { .. }).then_some(())).await;
    let health = volery.health().await;
    assert_eq!(reasons(&health), [("brittle", Severity::Degraded)]);
    assert!(health.ready && health.to_string().contains("quarantined since"), "{health}");
    volery.publish(a(0, 1)).await?;
    event(&mut feed, |event| matches!(event, Event::Found(_)).then_some(())).await;
    let health = volery.health().await;
    assert!(health.ready && health.to_string().contains("has been waiting for agent"), "{health}");
    Ok(())
}

/// A runtime whose curator waits for ever for a part of its log, and not for a commit.
async fn silent() -> volery::Result<Volery> {
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    gate.open_for_good();
    let volery = Volery::builder("t")
        .agent(waiting(&gate))
        .configure(|settings| settings.jobs_in_memory_max = 1)
        .store(store.clone())
        .start()
        .await?;
    store.delay_reads(std::future::pending);
    volery.publish_all((0..4).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    turns().await;
    Ok(volery)
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_end_makes_it_not_ready_and_leaves_it_live() -> Tested {
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).store(stuck()).start().await?;
    let mut publishing = std::future::IntoFuture::into_future(volery.publish(a(0, 0)));
    assert!(is_pending(&mut publishing).await);
    turns().await;
    tokio::time::advance(10 * SECOND).await;
    let health = volery.health().await;
    assert_eq!(reasons(&health), [("store", Severity::NotReady)]);
    assert!(health.live && !health.ready);
    assert_eq!(health.at.since(health.reasons[0].since), 11 * SECOND, "since the commit began");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_curator_that_does_not_answer_makes_it_not_live_and_the_answer_comes_all_the_same() -> Tested {
    let volery = silent().await?;
    let before = volery.health().await.at;
    let health = volery.health().await;
    assert_eq!(reasons(&health), [("curator", Severity::NotLive)]);
    assert!(!health.live && !health.ready);
    assert_eq!(health.reasons[0].since, before, "since the first look that found it");
    assert_eq!(health.at.since(before), SECOND, "it waited no longer");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_curator_between_two_lives_makes_it_not_ready_and_its_restart_is_told_afterwards() -> Tested {
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
    let mut feed = volery.feed();
    volery.kill("curator").await?;
    turns().await;
    let health = volery.health().await;
    assert_eq!((health.live, health.ready), (true, false), "{health}");
    assert!(reasons(&health).contains(&("curator", Severity::NotReady)), "{health}");
    event(&mut feed, |event| match event {
        Event::Life(volery::supervision::LifeEvent::Started { child, .. }) => {
            (child.as_str() == "correlation-cleanup").then_some(())
        }
        _ => None,
    })
    .await;
    let health = volery.health().await;
    assert!(health.ready, "{health}");
    assert!(reasons(&health).contains(&("curator", Severity::Degraded)), "{health}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_told_until_it_no_longer_counts() -> Tested {
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
    let mut feed = volery.feed();
    for _ in 0..2 {
        volery.kill("waiting").await?;
        event(&mut feed, |event| match event {
            Event::Life(volery::supervision::LifeEvent::Started { child, .. }) => {
                (child.as_str() == "waiting").then_some(())
            }
            _ => None,
        })
        .await;
        tokio::time::advance(10 * SECOND).await;
        let health = volery.health().await;
        assert_eq!(reasons(&health), [("waiting", Severity::Degraded)]);
        assert_eq!(health.at.since(health.reasons[0].since), 10 * SECOND, "since it happened");
        tokio::time::advance(SECOND).await;
        let health = volery.health().await;
        assert!(health.ready && health.reasons.is_empty(), "{health}");
    }
    let tree = volery.tree().await.to_string();
    assert!(tree.contains("waiting alive, restarts: 2"), "the tree still knows: {tree}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_and_one_that_restarts_are_told_and_leave_it_ready() -> Tested {
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
    volery.pause("waiting")?;
    let health = volery.health().await;
    assert_eq!((health.ready, reasons(&health)), (true, vec![("waiting", Severity::Degraded)]));
    volery.resume("waiting")?;
    volery.kill("waiting").await?;
    turns().await;
    let health = volery.health().await;
    assert_eq!((health.ready, reasons(&health)), (true, vec![("waiting", Severity::Degraded)]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_health_is_the_same_after_a_way_through_json() -> Tested {
    let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
    volery.pause("waiting")?;
    let health = volery.health().await;
    let json = serde_json::to_string(&health).expect("it is data");
    assert_eq!(serde_json::from_str::<Health>(&json).expect("and comes back"), health);
    assert!(health.to_string().contains("waiting: paused with 0 jobs waiting (degraded)"), "{health}");
    Ok(())
}

#[cfg(unix)]
mod systemd {
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;

    use volery::runtime::Systemd;

    use super::*;
    use crate::child::{Child, is_child, say};

    /// A manager that listens.
    struct Manager {
        socket: UnixDatagram,
        path: PathBuf,
    }

    impl Manager {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("volery-{name}-{}", std::process::id()));
            drop(std::fs::remove_file(&path));
            Self { socket: UnixDatagram::bind(&path).expect("a socket can be made"), path }
        }

        /// Takes what has come by now.
        fn heard(&self) -> Vec<String> {
            self.socket.set_nonblocking(true).expect("it can be");
            std::iter::from_fn(|| self.read().ok()).collect()
        }

        fn read(&self) -> std::io::Result<String> {
            let mut text = [0; 4_096];
            let read = self.socket.recv(&mut text)?;
            Ok(String::from_utf8_lossy(&text[..read]).into_owned())
        }
    }

    impl Drop for Manager {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.path));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn systemd_is_told_of_the_start_the_stop_and_in_between_twice_per_interval() -> Tested {
        let manager = Manager::new("told");
        let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
        volery.notify_systemd_at(Systemd::new(&manager.path, Some(10 * SECOND))?)?;
        turns().await;
        assert_eq!(manager.heard(), ["READY=1\nSTATUS=ready"]);
        for _ in 0..3 {
            tokio::time::advance(5 * SECOND).await;
            turns().await;
            assert_eq!(manager.heard(), ["WATCHDOG=1\nSTATUS=t is ready"]);
        }
        let again = volery.notify_systemd_at(Systemd::new(&manager.path, None)?);
        assert!(again.is_err(), "it is told already");
        volery.shutdown().await?;
        turns().await;
        assert_eq!(manager.heard(), ["STOPPING=1\nSTATUS=stopping"]);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_not_fed_while_the_runtime_is_not_live() -> Tested {
        let manager = Manager::new("starved");
        let volery = silent().await?;
        volery.notify_systemd_at(Systemd::new(&manager.path, Some(10 * SECOND))?)?;
        for _ in 0..60 {
            tokio::time::advance(SECOND).await;
            turns().await;
        }
        let heard = manager.heard();
        assert!(heard.len() > 10, "it is looked at all the time: {heard:?}");
        assert!(heard.iter().all(|text| !text.contains("WATCHDOG=1")), "{heard:?}");
        assert!(heard.last().expect("there are some").contains("not live"), "{heard:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_handle_ends_what_systemd_is_told() -> Tested {
        let manager = Manager::new("dropped");
        let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
        volery.notify_systemd_at(Systemd::new(&manager.path, Some(10 * SECOND))?)?;
        turns().await;
        drop(volery);
        tokio::time::advance(100 * SECOND).await;
        turns().await;
        assert!(manager.heard().iter().all(|text| !text.contains("WATCHDOG=1")));
        Ok(())
    }

    #[test]
    fn the_environment_says_where_systemd_listens() {
        if is_child() {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let told = tokio.expect("a runtime can be started").block_on(async {
                let volery = Volery::builder("t").agent(waiting(&Gate::new())).start().await?;
                let told = volery.notify_systemd()?;
                volery.shutdown().await?;
                Ok::<_, volery::Error>(told)
            });
            return say(&told.expect("it starts and stops").to_string());
        }
        let test = "health::systemd::the_environment_says_where_systemd_listens";
        let manager = Manager::new("environment");
        let path = manager.path.display().to_string();
        let mut service = Child::start_with(test, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "5000000")]);
        service.hears("true");
        assert!(service.ended().success());
        assert_eq!(manager.heard(), ["READY=1\nSTATUS=ready", "STOPPING=1\nSTATUS=stopping"]);
        let mut service = Child::start_with(test, &[]);
        service.hears("false");
    }
}
