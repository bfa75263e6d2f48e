//! Visibility: who is given an artifact, and when.

use volery::artifact::Tenant;
use volery::prelude::*;
use volery::{Fault, Visibility};

use crate::support::{A, HOUR, SECOND, Seen, Tested, a, is_pending};

/// Publishes one artifact and returns the names of the agents that were given it.
async fn given(visibility: Visibility) -> volery::Result<Vec<String>> {
    let seen = Seen::new();
    let agent = |name: &'static str| {
        let seen = seen.clone();
        Agent::new(name).concurrency(1).consumes(one::<A>()).engine(move |_: A, _| {
            seen.note(name.to_owned());
            async { Ok::<_, Fault>(()) }
        })
    };
    let agents = [agent("plain"), agent("labelled").labels(["eu", "pii"]), agent("acme").tenant("acme")];
    let volery = Volery::builder("t").agents(agents).start().await?;
    volery.publish(a(0, 1)).visible_to(visibility).await?;
    volery.until_idle().await?;
    let mut names = seen.all();
    names.sort();
    Ok(names)
}

#[tokio::test(start_paused = true)]
async fn only_whom_an_artifact_admits_is_given_it() -> Tested {
    for (visibility, names) in [
        (Visibility::Public, &["acme", "labelled", "plain"][..]),
        (Visibility::only(["plain"]), &["plain"]),
        (Visibility::only(["plain", "acme", "nobody"]), &["acme", "plain"]),
        (Visibility::labelled(["eu"]), &["labelled"]),
        (Visibility::labelled(["eu", "pii"]), &["labelled"]),
        (Visibility::labelled(["eu", "secret"]), &[]),
        (Visibility::Tenant(Tenant::from("acme")), &["acme"]),
        (Visibility::Tenant(Tenant::default()), &["labelled", "plain"]),
        (Visibility::after(HOUR), &["acme", "labelled", "plain"]),
        (Visibility::After { delay: HOUR, then: Box::new(Visibility::only(["plain"])) }, &["plain"]),
    ] {
        assert_eq!(given(visibility.clone()).await?, names, "{visibility:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delayed_artifact_is_matched_when_the_delay_ends() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("later").consumes(one::<A>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("delay").open();
    run.publish(a(0, 1)).visible_to(Visibility::after(10 * SECOND)).await?;
    run.publish(a(0, 2)).await?;
    let mut settled = Box::pin(run.settled());
    assert!(is_pending(&mut settled).await, "what is delayed will move without further input");
    assert_eq!(seen.all(), [a(0, 2)]);
    let report = settled.await?;
    assert_eq!(seen.all(), [a(0, 2), a(0, 1)]);
    assert!(report.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn not_before_hides_an_artifact_until_a_point_in_time() -> Tested {
    let clock = volery::runtime::Clock::system();
    let seen = Seen::new();
    let agent = Agent::new("later").consumes(one::<A>()).engine({
        let seen = seen.clone();
        move |_: A, ctx: Context| {
            seen.note(ctx.now());
            async { Ok::<_, Fault>(()) }
        }
    });
    let volery = Volery::builder("t").agent(agent).clock(clock.clone()).start().await?;
    let then = clock.now().after(10 * SECOND);
    volery.publish(a(0, 1)).not_before(then).await?;
    volery.until_idle().await?;
    assert!(seen.all()[0] >= then);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn particulars_of_a_publish_do_not_depend_on_their_order() -> Tested {
    let clock = volery::runtime::Clock::system();
    let seen = Seen::new();
    let agent = |name: &'static str| {
        let seen = seen.clone();
        Agent::new(name).consumes(one::<A>()).engine(move |_: A, ctx: Context| {
            seen.note((ctx.agent().to_string(), ctx.now()));
            async { Ok::<_, Fault>(()) }
        })
    };
    let agents = [agent("friend"), agent("stranger")];
    let volery = Volery::builder("t").agents(agents).clock(clock.clone()).start().await?;
    let then = clock.now().after(10 * SECOND);
    let friend = || Visibility::only(["friend"]);
    volery.publish(a(0, 1)).not_before(then).visible_to(friend()).await?;
    volery.publish(a(0, 2)).visible_to(friend()).not_before(then).await?;
    volery.run("with").publish(a(0, 3)).with(|it| it.not_before(then).visible_to(friend())).await?;
    volery.until_idle().await?;
    let seen = seen.all();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(agent, at)| agent == "friend" && *at >= then), "{seen:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn queries_see_one_tenant() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 1)).await?;
    volery.publish(a(0, 2)).tenant("acme").await?;
    for (filter, n) in [(Filter::all(), 1), (Filter::all().tenant("acme"), 2)] {
        let page = volery.artifacts(&filter).await?;
        let found: Vec<u32> =
            page.artifacts.iter().map(|one| one.payload::<A>().map(|a| a.n)).collect::<Result<_, _>>()?;
        assert_eq!(found, [n]);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_output_says_who_may_see_it() -> Tested {
    let (friend, stranger) = (Seen::new(), Seen::new());
    let teller =
        Agent::new("teller").consumes(one::<crate::support::B>()).engine(|_: crate::support::B, _| async {
            Ok::<_, Fault>(Outputs::none().with(a(0, 1)).visible_to(Visibility::only(["friend"])))
        });
    let agents = [
        teller,
        Agent::new("friend").consumes(one::<A>()).engine(friend.engine()),
        Agent::new("stranger").consumes(one::<A>()).engine(stranger.engine()),
    ];
    let volery = Volery::builder("t").agents(agents).start().await?;
    volery.publish(crate::support::b(0, 0)).await?;
    volery.until_idle().await?;
    assert_eq!((friend.all(), stranger.all()), (vec![a(0, 1)], vec![]));
    Ok(())
}
