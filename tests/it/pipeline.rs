//! Pipelines: agents that feed each other, who publishes what, order and lanes.

use volery::artifact::Producer;
use volery::prelude::*;
use volery::{ErrorKind, Fault};

use crate::support::{A, B, C, Gate, SECOND, Seen, Tested, a, b, c, drain, on_board, tally};

#[tokio::test(start_paused = true)]
async fn what_one_agent_publishes_the_next_is_given() -> Tested {
    let seen = Seen::new();
    let double = Agent::new("double")
        .consumes(one::<A>())
        .engine(|input: A, _| async move { Ok::<_, Fault>(Publish(b(input.key, input.n * 2))) });
    let next = Agent::new("next")
        .consumes(one::<B>())
        .engine(|input: B, _| async move { Ok::<_, Fault>(vec![c(input.key, input.n + 1)]) });
    let last = Agent::new("last").consumes(one::<C>()).engine(seen.engine());
    let volery = Volery::builder("t").agents([double, next, last]).start().await?;

    let run = volery.run("chain").publish(a(0, 5)).await?;
    let report = run.settled().await?;

    assert_eq!(seen.all(), [c(0, 11)]);
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.tally.matched, report.tally.consumed), (3, 3));
    assert_eq!(run.artifacts::<C>().await?, [c(0, 11)], "outputs belong to the run of their inputs");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_return_type_publishes_what_it_holds() -> Tested {
    let all = Agent::new("all").consumes(one::<A>()).engine(|_: A, _| async {
        let particular = Outputs::none().with(b(9, 9)).tagged("last");
        Ok::<_, Fault>((Some(b(0, 1)), vec![b(0, 2), b(0, 3)], [c(0, 4)], particular))
    });
    let none =
        Agent::new("none").consumes(one::<A>()).engine(|_: A, _| async { Ok::<Option<B>, Fault>(None) });
    let volery = Volery::builder("t").agents([all, none]).start().await?;

    let run = volery.run("outputs").publish(a(0, 0)).await?;
    run.settled().await?;

    assert_eq!(run.artifacts::<B>().await?, [b(0, 1), b(0, 2), b(0, 3), b(9, 9)]);
    assert_eq!(run.artifacts::<C>().await?, [c(0, 4)]);
    let tagged = volery.artifacts(&Filter::all().tagged("last")).await?;
    assert_eq!(tagged.artifacts.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_output_knows_its_producer_and_its_causes() -> Tested {
    let agent = Agent::new("maker")
        .consumes(all_of::<(A, B)>())
        .engine(|_: (A, B), _| async { Ok::<_, Fault>(Publish(c(0, 0))) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("causes").open();
    let second = run.publish(b(0, 0)).await?;
    let first = run.publish(a(0, 0)).await?;
    run.settled().await?;

    let page = volery.artifacts(&Filter::all().kind("C")).await?;
    let output = &page.artifacts[0];
    assert_eq!(*output.producer(), Producer::Agent("maker".into()));
    assert_eq!(output.causes(), [first.id, second.id], "causes stand in input order");
    assert_eq!(output.generation(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn several_subscriptions_of_one_agent_are_alternatives() -> Tested {
    let (seen_a, seen_b) = (Seen::new(), Seen::new());
    let agent = Agent::new("either")
        .consumes(one::<A>())
        .engine(seen_a.engine())
        .consumes(one::<B>())
        .engine(seen_b.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![a(0, 1)], vec![b(0, 2)])).await?;
    volery.until_idle().await?;
    assert_eq!((seen_a.all(), seen_b.all()), (vec![a(0, 1)], vec![b(0, 2)]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shared_input_is_the_published_value_itself_for_every_agent() -> Tested {
    let seen = Seen::new();
    let readers = (0..100).map(|number| {
        let seen = seen.clone();
        Agent::new(format!("reader-{number}")).consumes(one::<Shared<A>>()).engine(
            move |input: Shared<A>, _| {
                seen.note(std::ptr::from_ref::<A>(&input).addr());
                async { Ok::<_, Fault>(()) }
            },
        )
    });
    let volery = Volery::builder("t").agents(readers).start().await?;
    volery.publish(a(0, 1)).await?;
    volery.until_idle().await?;
    let places = seen.all();
    assert_eq!(places.len(), 100);
    assert!(places.iter().all(|place| *place == places[0]), "no agent got a copy");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_subscription_start_in_log_order() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("in-order").consumes(one::<A>()).concurrency(1).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let all: Vec<A> = (0..100).map(|n| a(n % 3, n)).collect();
    volery.publish_all(all.clone()).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), all);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn jobs_of_one_key_run_one_at_a_time_while_keys_run_in_parallel() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let agent = Agent::new("lanes").consumes(one::<A>().ordered_by(|a| a.key)).engine({
        let (gate, seen) = (gate.clone(), seen.clone());
        move |input: A, _| {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                seen.note(input);
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(1, 1), a(1, 2), a(2, 3), a(1, 4)]).await?;
    gate.reached().await;
    gate.reached().await;

    assert_eq!(seen.all(), [a(1, 1), a(2, 3)], "one of each key runs");
    let behind = volery.waiting().await?;
    assert_eq!(behind.len(), 2);
    assert!(behind.iter().all(|waiting| waiting.reason.name() == "behind_key"), "{behind:?}");

    gate.open(4);
    volery.until_idle().await?;
    let of_key_1: Vec<A> = seen.all().into_iter().filter(|a| a.key == 1).collect();
    assert_eq!(of_key_1, [a(1, 1), a(1, 2), a(1, 4)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lane_stays_in_order_over_retries() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("lanes")
        .consumes(one::<A>().ordered_by(|a| a.key))
        .retry(Retry::fixed(2, SECOND))
        .engine({
            let seen = seen.clone();
            move |input: A, ctx: Context| {
                seen.note((input.n, ctx.attempt()));
                async move { if input.n == 1 && ctx.attempt() == 1 { Err("once") } else { Ok(()) } }
            }
        });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(1, 1), a(1, 2)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(1, 1), (1, 2), (2, 1)], "the second waits until the first is through");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_runs_no_more_jobs_at_once_than_it_says() -> Tested {
    let gate = Gate::new();
    let agent = Agent::new("two").consumes(one::<A>()).concurrency(2).engine({
        let gate = gate.clone();
        move |_: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((0..5).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    gate.reached().await;
    gate.reached().await;
    let status = &volery.agents().await?[0];
    assert_eq!((status.running, status.queued), (2, 3));
    assert_eq!(gate.arrivals(), 2, "nobody else entered");
    gate.open(5);
    volery.until_idle().await?;
    assert_eq!(tally(&volery, "two").await?.consumed, 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_loop_guard_ends_agents_that_feed_each_other() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("echo").consumes(one::<A>()).engine({
        let seen = seen.clone();
        move |input: A, _| {
            seen.note(input.n);
            async move { Ok::<_, Fault>(Publish(a(0, input.n + 1))) }
        }
    });
    let volery =
        Volery::builder("t").agent(agent).configure(|settings| settings.generations_max = 3).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("loop").publish(a(0, 0)).await?;
    let report = run.settled().await?;

    assert_eq!(seen.all(), [0, 1, 2, 3]);
    assert_eq!((report.tally.consumed, report.tally.discarded), (4, 1));
    let discards: Vec<_> = drain(&mut feed)
        .await
        .into_iter()
        .filter_map(|event| match event {
            volery::feed::Event::Settled { settled, .. } => Some(settled.outcome),
            _ => None,
        })
        .filter(|outcome| *outcome != volery::Outcome::Consumed)
        .collect();
    assert_eq!(discards, [volery::Outcome::Discarded(volery::artifact::Discard::LoopGuard)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publish_all_puts_everything_into_one_run_in_order() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let published = volery.publish_all((vec![a(0, 1), a(0, 2)], [b(0, 3)])).await?;
    assert_eq!(published.len(), 3);
    assert!(published.iter().all(|one| one.run == published[0].run));
    assert!(published.windows(2).all(|pair| pair[0].offset.next() == pair[1].offset));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_between_many_publishers_and_threads() -> Tested {
    const PUBLISHERS: u32 = 8;
    const EACH: u32 = 250;
    let seen = Seen::new();
    let first = Agent::new("first")
        .consumes(one::<A>())
        .engine(|input: A, _| async move { Ok::<_, Fault>(Publish(b(input.key, input.n))) });
    let pairs = Agent::new("pairs")
        .consumes(join(by(|a: &A| (a.key, a.n)), by(|b: &B| (b.key, b.n))))
        .engine(|(left, _): (A, B), _| async move { Ok::<_, Fault>(Publish(c(left.key, left.n))) });
    let last = Agent::new("last").consumes(one::<C>().batch(Batch::of(10))).engine(seen.engine());
    let volery = Volery::builder("t").agents([first, pairs, last]).start().await?;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|key| {
            let volery = volery.clone();
            tokio::spawn(async move {
                let run = volery.run("many").open();
                for n in 0..EACH {
                    run.publish(a(key, n)).await?;
                }
                run.settled().await
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("it does not panic")?;
    }
    volery.until_idle().await?;
    let mut all: Vec<(u32, u32)> = seen.all().concat().iter().map(|c| (c.key, c.n)).collect();
    all.sort_unstable();
    let wanted: Vec<_> = (0..PUBLISHERS).flat_map(|key| (0..EACH).map(move |n| (key, n))).collect();
    assert_eq!(all, wanted);
    assert!(volery.shutdown().await?.is_graceful());
    Ok(())
}

mod impostor {
    /// Another type with the kind name of [`crate::support::B`].
    #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    pub(super) struct B {
        pub(super) text: String,
    }
}

#[tokio::test(start_paused = true)]
async fn publish_all_publishes_nothing_when_one_is_not_in_order() -> Tested {
    let agent = Agent::new("any").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let wrong = impostor::B { text: String::new() };
    let refused = volery.publish_all((vec![a(0, 1)], [wrong])).await.expect_err("the name B is taken");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
    assert!(refused.to_string().contains("impostor::B"), "{refused}");
    assert!(on_board::<A>(&volery).await?.is_empty(), "the good one was not published either");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kind_name_claimed_by_two_types_is_refused_at_the_start_naming_both() {
    let one_type = Agent::new("one").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let other = Agent::new("other")
        .consumes(one::<impostor::B>())
        .engine(|b: impostor::B, _| async move { b.text.parse::<u32>().map(drop) });
    let error = Volery::builder("t").agents([one_type, other]).start().await.expect_err("names are unique");
    assert_eq!(error.kind(), ErrorKind::FixInput);
    let text = error.to_string();
    assert!(text.contains("support::B") && text.contains("impostor::B"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_same_idempotency_key_returns_the_first_artifact() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("once").consumes(one::<A>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let first = volery.publish(a(0, 1)).idempotency_key("order-1").await?;
    let again = volery.publish(a(0, 2)).idempotency_key("order-1").await?;
    let elsewhere = volery.publish(a(0, 3)).idempotency_key("order-1").tenant("acme").await?;
    volery.until_idle().await?;

    assert!(!first.repeat && again.repeat && !elsewhere.repeat, "a key counts per tenant");
    assert_eq!((again.id, again.offset, again.run), (first.id, first.offset, first.run));
    assert_eq!(seen.all(), [a(0, 1), a(0, 3)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_attempt_of_a_job_has_the_same_idempotency_key_and_no_other_job_has() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("keys").consumes(one::<A>()).retry(Retry::fixed(2, SECOND)).engine({
        let seen = seen.clone();
        move |input: A, ctx: Context| {
            seen.note((input.n, ctx.idempotency_key()));
            async move { if ctx.attempt() == 1 { Err("again") } else { Ok(()) } }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    volery.until_idle().await?;
    let seen = seen.all();
    let keys = |n| seen.iter().filter(|(of, _)| *of == n).map(|(_, key)| key.clone()).collect::<Vec<_>>();
    assert_eq!((keys(1).len(), keys(2).len()), (2, 2));
    assert_eq!(keys(1)[0], keys(1)[1]);
    assert_ne!(keys(1)[0], keys(2)[0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tags_and_producers_select_what_a_subscription_takes() -> Tested {
    let (urgent, made, both) = (Seen::new(), Seen::new(), Seen::new());
    let maker = Agent::new("maker")
        .consumes(one::<B>())
        .engine(|_: B, _| async { Ok::<_, Fault>(Outputs::none().with(a(0, 7)).tagged("made")) });
    let by_tag = Agent::new("by-tag").consumes(one::<A>().tagged("urgent")).engine(urgent.engine());
    let by_agent = Agent::new("by-agent").consumes(one::<A>().from_agent("maker")).engine(made.engine());
    let either =
        Agent::new("either").consumes(one::<A>().tagged("urgent").tagged("made")).engine(both.engine());
    let volery = Volery::builder("t").agents([maker, by_tag, by_agent, either]).start().await?;
    volery.publish(a(0, 1)).await?;
    volery.publish(a(0, 2)).tagged("urgent").tagged("night").await?;
    volery.publish(b(0, 0)).await?;
    volery.until_idle().await?;
    assert_eq!(urgent.all(), [a(0, 2)]);
    assert_eq!(made.all(), [a(0, 7)]);
    assert_eq!(both.all(), [a(0, 2), a(0, 7)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_predicate_selects_what_a_subscription_takes() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("even").consumes(one::<A>().filter(|a| a.n % 2 == 0)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("filter").open();
    run.publish_all((0..5).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    let report = run.settled().await?;
    assert_eq!(seen.all(), [a(0, 0), a(0, 2), a(0, 4)]);
    assert_eq!(report.tally.matched, 3, "what is not taken does not count");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn artifacts_come_in_pages_that_join_up() -> Tested {
    let agent = Agent::new("any").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let all: Vec<A> = (0..5).map(|n| a(0, n)).collect();
    volery.publish_all(all.clone()).await?;
    volery.publish(b(0, 0)).await?;
    for newest_first in [false, true] {
        let mut filter = Filter::all().kind("A").limit(2);
        if newest_first {
            filter = filter.newest_first();
        }
        let (mut found, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let page = volery.artifacts(&filter).await?;
            sizes.push(page.artifacts.len());
            for artifact in &page.artifacts {
                found.push(*artifact.payload::<A>()?);
            }
            match page.next {
                Some(next) => filter = filter.after(next),
                None => break,
            }
        }
        let mut wanted = all.clone();
        if newest_first {
            wanted.reverse();
        }
        assert_eq!(found, wanted);
        assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
    }
    Ok(())
}
