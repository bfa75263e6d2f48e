//! Calls of models and tools that engines make: their spans, and their numbers.

use tokio::time::sleep;
use volery::agent::{ModelCall, ToolCall};
use volery::prelude::*;
use volery::telemetry::{Detail, Sampling, TraceSettings};
use volery_otlp_receiver::{Metric, Span};

use crate::support::{LIMIT, MS, Order, Tested, Watched, named, only, order, tree};

/// The text of every answer here, which nothing may record.
const SECRET: &str = "the question and the answer";

/// A model that takes 300 ms.
async fn ask() -> Result<&'static str, std::io::Error> {
    sleep(300 * MS).await;
    Ok(SECRET)
}

/// A model that refuses at once.
async fn refuse() -> Result<&'static str, std::io::Error> {
    Err(std::io::Error::other("too many requests"))
}

const CHAT: ModelCall<'_> = ModelCall::chat("openai", "small").server("api.openai.com", 443);

/// Runs one engine once, and stops; the telemetry is that of `watched`.
async fn once<F, Fut>(watched: &Watched, engine: F) -> Tested
where
    F: Fn(Order, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let volery =
        watched.builder().agent(Agent::new("rate").consumes(one::<Order>()).engine(engine)).start().await?;
    let run = volery.run("rating").publish(order(1)).await?;
    run.settled().await?;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let report = watched.telemetry.flush(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    Ok(())
}

/// The only metric of a name; the last export of it.
#[track_caller]
fn metric(watched: &Watched, name: &str) -> Metric {
    watched.receiver.metrics().into_iter().rfind(|metric| metric.name == name).expect("the metric arrived")
}

/// Every point with its labels but the runtime's: `values = count`.
fn points(metric: &Metric) -> Vec<String> {
    let point = |(labels, count): &(std::collections::BTreeMap<String, String>, f64)| {
        let labels = labels.iter().filter(|(key, _)| *key != "volery.runtime.name");
        let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}: {count}", labels.join(" "))
    };
    let mut points: Vec<_> = metric.points.iter().map(point).collect();
    points.sort();
    points
}

fn attributes(span: &Span) -> Vec<String> {
    let ours = |key: &&String| {
        !["volery.run.id", "volery.workflow.name", "volery.agent.name"].contains(&key.as_str())
    };
    span.attributes.keys().filter(ours).map(|key| format!("{key}={}", span.attribute(key))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_model_is_a_client_span_below_the_engine_with_what_the_author_says() -> Tested {
    let watched = Watched::new();
    once(&watched, async |_: Order, context: Context| {
        let mut call = context.model_call(CHAT);
        call.run(ask()).await?;
        call.response_model("small-2026").response_id("answer-7").finish_reasons(["length"]);
        call.finish_reasons(["stop"]).tokens_input(1_200).tokens_output(30).tokens_cached(1_000);
        // The time after it is the engine's, and not the model's.
        sleep(50 * MS).await;
        Ok(())
    })
    .await?;
    let spans = watched.spans();
    let chat = only(&spans, "chat small");
    assert_eq!((chat.kind, chat.status), ("client", "unset"));
    assert_eq!(chat.parent_id, only(&spans, "evaluate rate").span_id, "{}", tree(&spans));
    assert_eq!((chat.end_ns - chat.start_ns).div_ceil(1_000_000), 300);
    assert_eq!(
        attributes(chat),
        [
            "gen_ai.operation.name=chat",
            "gen_ai.provider.name=openai",
            "gen_ai.request.model=small",
            "gen_ai.response.finish_reasons=[stop]",
            "gen_ai.response.id=answer-7",
            "gen_ai.response.model=small-2026",
            "gen_ai.usage.cache_read.input_tokens=1000",
            "gen_ai.usage.input_tokens=1200",
            "gen_ai.usage.output_tokens=30",
            "peer.service=openai",
            "server.address=api.openai.com",
            "server.port=443",
            "volery.outcome=ok",
        ]
    );
    assert_eq!(chat.attribute("volery.workflow.name"), "rating");
    assert_eq!(chat.attribute("volery.agent.name"), "rate");
    let everything = format!("{spans:?}{:?}", watched.receiver.metrics());
    assert!(!everything.contains(SECRET), "nothing is recorded of what was asked and answered");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_of_models_are_measured_with_their_own_boundaries() -> Tested {
    let watched = Watched::new();
    once(&watched, async |_: Order, context: Context| {
        let mut call = context.model_call(CHAT);
        call.run(ask()).await?;
        call.tokens_input(1_200).tokens_output(30);
        drop(call);
        let mut unknown = context.model_call(ModelCall::embeddings("local", "words"));
        unknown.run(ask()).await?;
        Ok(())
    })
    .await?;
    let duration = metric(&watched, "gen_ai.client.operation.duration");
    let tokens = metric(&watched, "gen_ai.client.token.usage");
    let chat = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=small";
    assert_eq!(
        points(&duration),
        [
            format!("{chat}: 1"),
            "gen_ai.operation.name=embeddings gen_ai.provider.name=local gen_ai.request.model=words: 1"
                .into()
        ]
    );
    assert!(duration.sums.iter().all(|sum| (sum - 0.3).abs() < 0.001), "{duration:?}");
    assert_eq!((duration.unit.as_str(), tokens.unit.as_str()), ("s", "{token}"));
    assert_eq!(duration.bounds.first(), Some(&0.01));
    assert_eq!(duration.bounds.last(), Some(&81.92));
    assert_eq!(tokens.bounds[..4], [1.0, 4.0, 16.0, 64.0]);
    assert_eq!(tokens.bounds.last(), Some(&67_108_864.0));
    assert_eq!(
        points(&tokens),
        [format!("{chat} gen_ai.token.type=input: 1"), format!("{chat} gen_ai.token.type=output: 1"),],
        "tokens that nobody knows are not counted"
    );
    let mut sums = tokens.sums.clone();
    sums.sort_by(f64::total_cmp);
    assert_eq!(sums, [30.0, 1_200.0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_an_error_with_its_class_and_one_that_is_repeated_is_none() -> Tested {
    let watched = Watched::new();
    once(&watched, async |_: Order, context: Context| {
        let mut plain = context.model_call(ModelCall::chat("openai", "plain"));
        plain.run(refuse()).await.ok();
        drop(plain);
        let mut named = context.model_call(ModelCall::chat("openai", "named"));
        if let Err(error) = named.run(refuse()).await {
            named.fail("429", &error);
        }
        let mut lost = context.model_call(ModelCall::chat("openai", "lost"));
        lost.run(async { Err::<(), Fault>("gone".into()) }).await.ok();
        drop(lost);
        let mut again = context.model_call(ModelCall::chat("openai", "again"));
        again.run(refuse()).await.ok();
        again.run(ask()).await?;
        Ok(())
    })
    .await?;
    let spans = watched.spans();
    let says = |name: &str| {
        let span = only(&spans, name);
        let message =
            span.events_named("exception").map(|event| event.attributes["exception.message"].clone());
        (span.status, span.attribute("error.type").to_owned(), message.collect::<Vec<_>>())
    };
    let refused = vec!["too many requests".to_owned()];
    assert_eq!(says("chat plain"), ("error", "std::io::error::Error".to_owned(), refused.clone()));
    assert_eq!(says("chat named"), ("error", "429".to_owned(), refused));
    assert_eq!(says("chat lost"), ("error", "_OTHER".to_owned(), vec!["gone".to_owned()]));
    assert_eq!(says("chat again"), ("unset", String::new(), Vec::new()));
    let duration = points(&metric(&watched, "gen_ai.client.operation.duration"));
    assert_eq!(duration.iter().filter(|point| point.starts_with("error.type=")).count(), 3, "{duration:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_was_cancelled_and_one_whose_engine_panics_panicked() -> Tested {
    let watched = Watched::new();
    once(&watched, async |_: Order, context: Context| {
        let mut call = context.model_call(ModelCall::chat("openai", "slow"));
        tokio::time::timeout(100 * MS, call.run(ask())).await.ok();
        drop(call);
        let _broken = context.model_call(ModelCall::chat("openai", "broken"));
        panic!("boom")
    })
    .await?;
    let spans = watched.spans();
    let slow = only(&spans, "chat slow");
    assert_eq!((slow.status, slow.attribute("volery.outcome")), ("unset", "cancelled"));
    assert_eq!((slow.attribute("volery.reason"), slow.attribute("error.type")), ("caller", ""));
    assert_eq!((slow.end_ns - slow.start_ns).div_ceil(1_000_000), 100);
    let broken = only(&spans, "chat broken");
    assert_eq!((broken.status, broken.attribute("error.type")), ("error", "panic"));
    let duration = points(&metric(&watched, "gen_ai.client.operation.duration"));
    assert!(duration[0].starts_with("error.type=cancelled"), "{duration:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_tool_is_a_span_of_the_tool_and_calls_in_it_are_its_children() -> Tested {
    let watched = Watched::new();
    once(&watched, async |_: Order, context: Context| {
        let mut search = context.tool_call("search");
        let inner = context.clone();
        search
            .run(async {
                let mut call = inner.model_call(CHAT);
                call.run(ask()).await.map(drop)
            })
            .await?;
        drop(search);
        let remote = ToolCall::new("stock").id("call-3").server("tools.shop", 8080);
        context.tool_call(remote).run_blocking(|| Ok::<_, Fault>(()))?;
        Ok(())
    })
    .await?;
    let spans = watched.spans();
    let (search, stock) = (only(&spans, "execute_tool search"), only(&spans, "execute_tool stock"));
    assert_eq!((search.kind, stock.kind), ("internal", "client"));
    assert_eq!(only(&spans, "chat small").parent_id, search.span_id);
    assert_eq!(
        attributes(stock),
        [
            "gen_ai.operation.name=execute_tool",
            "gen_ai.tool.call.id=call-3",
            "gen_ai.tool.name=stock",
            "peer.service=stock",
            "server.address=tools.shop",
            "server.port=8080",
            "volery.outcome=ok",
        ]
    );
    let duration = points(&metric(&watched, "gen_ai.client.operation.duration"));
    assert!(
        duration.contains(&"gen_ai.operation.name=execute_tool gen_ai.tool.name=search: 1".into()),
        "{duration:?}"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_and_its_run_say_that_a_model_is_called_when_one_is_or_the_agent_says_so() -> Tested {
    let watched = Watched::new();
    let pass = async |_: Order, _: Context| Ok::<_, Fault>(());
    let learns =
        Agent::new("learns").consumes(one::<Order>()).engine(async |order: Order, context: Context| {
            for _ in 0..2 * order.n {
                context.model_call(CHAT).run(ask()).await?;
            }
            Ok::<_, Fault>(())
        });
    let says = Agent::new("says")
        .calls_models()
        .consumes(one::<Order>().filter(|order: &Order| order.n == 2))
        .engine(pass);
    let plain = Agent::new("plain").consumes(one::<Order>()).engine(pass);
    let volery = watched.builder().agents([learns, says, plain]).start().await?;
    for (workflow, n) in [("none", 0), ("some", 1), ("said", 2)] {
        let run = volery.run(workflow).publish(order(n)).await?;
        run.settled().await?;
    }
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let told = |span: &&Span| {
        (span.attribute("gen_ai.operation.name").to_owned(), span.attribute("gen_ai.agent.name").to_owned())
    };
    let of = |name: &str| named(&spans, name).iter().map(told).collect::<Vec<_>>();
    let agent = |name: &str| ("invoke_agent".to_owned(), name.to_owned());
    assert_eq!(of("attempt learns"), [<_>::default(), agent("learns"), agent("learns")]);
    assert_eq!(of("attempt says"), [agent("says")]);
    assert_eq!(of("attempt plain"), vec![<_>::default(); 3]);
    let run = |name: &str| {
        let run = only(&spans, name);
        (run.attribute("gen_ai.operation.name"), run.attribute("gen_ai.workflow.name"))
    };
    assert_eq!(run("run none"), ("", ""));
    assert_eq!(run("run some"), ("invoke_workflow", "some"));
    assert_eq!(run("run said"), ("invoke_workflow", "said"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_in_a_run_that_is_not_recorded_has_numbers_and_no_span() -> Tested {
    let watched = Watched::with(|telemetry| telemetry.sampling(Sampling::Never));
    once(&watched, async |_: Order, context: Context| {
        let mut call = context.model_call(CHAT);
        assert!(call.is_on(), "somebody counts");
        assert_eq!(call.traceparent(), context.traceparent());
        let header = call.traceparent().unwrap_or_default();
        assert!(header.ends_with("-00"), "whoever is called is told that nothing is recorded: {header}");
        call.run(ask()).await?;
        call.tokens_input(7);
        Ok(())
    })
    .await?;
    assert_eq!(tree(&watched.spans()), "");
    assert_eq!(metric(&watched, "gen_ai.client.operation.duration").points.len(), 1);
    assert_eq!(metric(&watched, "gen_ai.client.token.usage").sums, [7.0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_without_telemetry_is_nothing_and_gives_what_it_ran() -> Tested {
    let call = Agent::new("rate").consumes(one::<Order>()).engine(async |order: Order, context: Context| {
        let mut call = context.model_call(CHAT);
        let answer = call.run(ask()).await?;
        call.response_model("small").tokens_output(3);
        let nobody = !call.is_on() && call.traceparent().is_none();
        call.end();
        context.tool_call("search").fail("429", &"too many requests");
        Ok::<_, Fault>((nobody && answer == SECRET).then_some(crate::support::Note { key: 0, n: order.n }))
    });
    let volery = Volery::builder("shop").agent(call).start().await?;
    let run = volery.run("rating").publish(order(1)).await?;
    run.settled().await?;
    assert_eq!(run.artifacts::<crate::support::Note>().await?.len(), 1);
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_below_the_level_of_detail_are_counted_and_not_shown() -> Tested {
    let watched = Watched::traced(TraceSettings::default().agent_detail("rate", Detail::Job));
    once(&watched, async |_: Order, context: Context| {
        let mut call = context.model_call(CHAT);
        call.run(ask()).await?;
        Ok(())
    })
    .await?;
    let spans = watched.spans();
    assert_eq!(named(&spans, "chat small").len(), 0);
    assert_eq!(only(&spans, "attempt rate").attribute("gen_ai.operation.name"), "invoke_agent");
    assert_eq!(metric(&watched, "gen_ai.client.operation.duration").points.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_calls_a_model_has_its_span_below_its_own() -> Tested {
    let watched = Watched::new();
    let act = Agent::new("act")
        .consumes(one::<Order>())
        .fallback(async |_: (Order, volery::agent::GaveUp), context: Context| {
            context.model_call(CHAT).run(ask()).await.map(drop)
        })
        .engine(async |_: Order, _: Context| Err::<(), Fault>("no".into()));
    let volery = watched.builder().agent(act).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(
        only(&spans, "chat small").parent_id,
        only(&spans, "fallback act").span_id,
        "{}",
        tree(&spans)
    );
    Ok(())
}
