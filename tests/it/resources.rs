//! Resources: loaded once per key, leased, evicted when idle, dropped at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use volery::Resource;
use volery::agent::Lease;
use volery::prelude::*;

use crate::support::{A, Dropped, Gate, SECOND, Seen, Tested, a, is_pending, soon, turns};

/// A loaded thing that tells when it is dropped.
struct Model {
    name: String,
    _dropped: Box<dyn Send + Sync>,
}

/// Counts loads and drops of models.
#[derive(Clone, Default)]
struct Counts {
    loads: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Counts {
    fn load(&self, name: String) -> Model {
        self.loads.fetch_add(1, Ordering::AcqRel);
        Model { name, _dropped: Box::new(Count(Arc::clone(&self.drops))) }
    }

    fn all(&self) -> (usize, usize) {
        (self.loads.load(Ordering::Acquire), self.drops.load(Ordering::Acquire))
    }
}

fn models(counts: &Counts) -> Resource<Model> {
    let counts = counts.clone();
    let load = move |key: String| {
        let model = counts.load(key);
        async move { Ok::<_, Fault>(model) }
    };
    Resource::new("model", load).idle_after(SECOND * 30)
}

/// Models whose loads wait at a gate, and fail as long as the counter says so.
fn slow_models(counts: &Counts, gate: &Gate, failures: usize) -> Resource<Model> {
    let (counts, gate, left) = (counts.clone(), gate.clone(), Arc::new(AtomicUsize::new(failures)));
    Resource::new("model", move |key: String| {
        let (counts, gate, left) = (counts.clone(), gate.clone(), Arc::clone(&left));
        async move {
            gate.pass().await;
            let fails = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            match fails {
                Ok(_) => Err(Fault::from("out of memory")),
                Err(_) => Ok(counts.load(key)),
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn concurrent_leases_of_one_key_load_once() -> Tested {
    let (counts, gate) = (Counts::default(), Gate::new());
    let models = slow_models(&counts, &gate, 0);
    let (mut first, mut second) = (Box::pin(models.lease("small")), Box::pin(models.lease("small")));
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    gate.open(1);
    let (first, second): (Lease<Model>, Lease<Model>) = (soon(first).await?, soon(second).await?);
    assert_eq!((first.name.as_str(), second.key()), ("small", "small"));
    assert_eq!(counts.all(), (1, 0));
    gate.open(1);
    let other = models.lease("large").await?;
    assert_eq!((other.name.as_str(), counts.all()), ("large", (2, 0)), "another key is another value");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_is_an_error_for_all_who_wait_and_the_next_tries_again() -> Tested {
    let (counts, gate) = (Counts::default(), Gate::new());
    let models = slow_models(&counts, &gate, 1);
    let (mut first, mut second) = (Box::pin(models.lease("small")), Box::pin(models.lease("small")));
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    gate.open(1);
    let (first, second) = soon(async { tokio::join!(first, second) }).await;
    for error in [first.expect_err("it fails"), second.expect_err("it fails")] {
        let text = format!("{error:?}");
        assert!(
            text.contains("`model`") && text.contains("`small`") && text.ends_with("out of memory"),
            "{text}"
        );
    }
    assert!(models.loaded().is_empty(), "nothing is left of a failed load");
    gate.open(1);
    assert_eq!(soon(models.lease("small")).await?.name, "small");
    assert_eq!(counts.all(), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_is_a_failed_load() -> Tested {
    let calls = AtomicUsize::new(0);
    let moody = Resource::new("model", move |key: String| {
        assert!(calls.fetch_add(1, Ordering::AcqRel) > 0, "no model today");
        async move { Ok::<_, Fault>(key) }
    });
    let error = moody.lease("small").await.expect_err("it panicked");
    assert!(format!("{error:?}").ends_with("the load panicked: no model today"), "{error:?}");
    assert_eq!(*moody.lease("small").await?, "small");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_goes_on_while_one_waits_and_is_dropped_with_the_last() -> Tested {
    let (counts, gate) = (Counts::default(), Gate::new());
    let models = slow_models(&counts, &gate, 0);
    let (mut first, mut second) = (Box::pin(models.lease("small")), Box::pin(models.lease("small")));
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    drop(first);
    assert!(is_pending(&mut second).await);
    gate.open(1);
    assert_eq!(soon(second).await?.name, "small", "it went on without the one who began it");
    let mut only = Box::pin(models.lease("large"));
    assert!(is_pending(&mut only).await);
    drop(only);
    assert_eq!(models.loaded().len(), 1, "nothing is left of a load that nobody waits for");
    gate.open(1);
    assert_eq!(soon(models.lease("large")).await?.name, "large");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_its_time_is_evicted_and_what_is_leased_is_not() -> Tested {
    let counts = Counts::default();
    let models = models(&counts);
    let volery = Volery::builder("t").resource(&models).start().await?;
    let kept = models.lease("kept").await?;
    drop(models.lease("idle").await?);
    tokio::time::sleep(SECOND * 29).await;
    assert_eq!(counts.all(), (2, 0), "it is not idle for long enough");
    tokio::time::sleep(SECOND * 7).await;
    assert_eq!(counts.all(), (2, 1));
    let left = models.loaded();
    assert_eq!((left.len(), left[0].key.as_str(), left[0].leases, left[0].ready), (1, "kept", 1, true));
    drop(kept);
    tokio::time::sleep(SECOND * 36).await;
    assert_eq!(counts.all(), (2, 2));
    drop(models.lease("idle").await?);
    assert_eq!(counts.all(), (3, 2), "what was evicted is loaded again");
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn all_values_are_dropped_at_the_shutdown_after_the_agents() -> Tested {
    let (counts, gate, seen) = (Counts::default(), Gate::new(), Seen::new());
    let models = models(&counts);
    let user = Agent::new("user").consumes(one::<A>()).engine({
        let (models, gate, seen, counts) = (models.clone(), gate.clone(), seen.clone(), counts.clone());
        move |_: A, _| {
            let (models, gate, seen, counts) = (models.clone(), gate.clone(), seen.clone(), counts.clone());
            async move {
                let model = models.lease("small").await?;
                gate.pass().await;
                seen.note((model.name.clone(), counts.all()));
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(user).resource(&models).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        volery.shutdown_requested().await;
        turns().await;
        gate.open(1);
    });
    report?;
    assert_eq!(seen.all(), [("small".to_owned(), (1, 0))], "it was there while the agent used it");
    assert_eq!(counts.all(), (1, 1));
    assert!(models.loaded().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_outlives_the_runtime_keeps_its_value() -> Tested {
    let counts = Counts::default();
    let models = models(&counts);
    let volery = Volery::builder("t").resource(&models).start().await?;
    let lease = models.lease("small").await?;
    volery.shutdown().await?;
    assert_eq!((lease.name.as_str(), counts.all()), ("small", (1, 0)));
    drop(lease);
    assert_eq!(counts.all(), (1, 1), "it goes with its last lease");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_values_than_allowed() -> Tested {
    let counts = Counts::default();
    let models = models(&counts).values_max(2);
    drop(models.lease("old").await?);
    tokio::time::sleep(SECOND).await;
    drop(models.lease("new").await?);
    let third = models.lease("third").await?;
    let keys: Vec<String> = models.loaded().into_iter().map(|loaded| loaded.key).collect();
    assert_eq!(keys, ["new", "third"], "the one that was idle longest made room");
    let _new = models.lease("new").await?;
    let error = models.lease("fourth").await.expect_err("both are leased");
    assert_eq!(error.kind(), ErrorKind::Retry);
    drop(third);
    drop(models.lease("fourth").await?);
    assert_eq!(counts.all(), (4, 2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_dropped_disturbs_nobody() -> Tested {
    struct Sour(Dropped);
    impl Drop for Sour {
        fn drop(&mut self) {
            drop(self.0.guard());
            panic!("no end is good");
        }
    }
    let dropped = Dropped::default();
    let of_load = dropped.clone();
    let load = move |_: String| {
        let dropped = of_load.clone();
        async move { Ok::<_, Fault>(Sour(dropped)) }
    };
    let sour = Resource::new("sour", load).idle_after(SECOND);
    let volery = Volery::builder("t").resource(&sour).start().await?;
    drop(sour.lease("any").await?);
    tokio::time::sleep(SECOND * 10).await;
    assert!(dropped.is_true());
    let eviction = volery.loops().into_iter().find(|status| status.name == "eviction");
    assert_eq!(eviction.expect("it is listed").errors, 0);
    assert!(volery.shutdown().await?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn runtimes_that_share_a_resource_leave_its_values_to_the_last_that_stops() -> Tested {
    let counts = Counts::default();
    let models = models(&counts);
    let idle = || Agent::new("idle").consumes(one::<A>()).engine(Seen::<A>::new().engine());
    let start = async |name: &str| Volery::builder(name).agent(idle()).resource(&models).start().await;
    let (first, second) = (start("first").await?, start("second").await?);
    drop(models.lease("small").await?);
    first.shutdown().await?;
    assert_eq!((counts.all(), models.loaded().len()), ((1, 0), 1), "the other one uses it");
    drop(models.lease("small").await?);
    assert_eq!(counts.all(), (1, 0), "it is not loaded again");
    second.shutdown().await?;
    assert_eq!((counts.all(), models.loaded().len()), ((1, 1), 0));
    Ok(())
}
