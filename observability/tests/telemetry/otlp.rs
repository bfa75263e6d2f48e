//! The synthetic run arrives whole, over gRPC and over HTTP, in the shape that is documented.

use std::time::Duration;

use volery_observability::{Environment, Otlp, Telemetry, init};
use volery_otlp_receiver::{Receiver, laws, tree};

use crate::scenario::checkout;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The trace as it stands in the documentation of its shape.
pub(crate) const TREE: &str = "\
run checkout
  run started
  publish Order (producer)
  join settle -> publish Order -> publish Payment
  publish Payment (producer)
  job settle volery.outcome=ok !agent.restarted !retry.scheduled -> join settle
    wait settle
    attempt settle (consumer) ERROR volery.outcome=failed !agent.restarted !exception !exception !exception
      evaluate settle ERROR volery.outcome=failed !exception !exception !exception
    backoff
    attempt settle (consumer) volery.outcome=ok !step
      pre_evaluate
      evaluate settle volery.outcome=ok
      publish Receipt (producer)
        store.commit (client)
  batch audit -> publish Receipt
  job mail volery.outcome=ok -> publish Receipt
    attempt mail (consumer) volery.outcome=ok
      evaluate mail volery.outcome=ok
  job print volery.outcome=cancelled !cancel.requested -> publish Receipt
    attempt print (consumer) volery.outcome=cancelled !cancel.requested
      evaluate print volery.outcome=cancelled !cancel.requested
  job audit ERROR volery.outcome=dead !exception -> batch audit
    attempt audit (consumer) ERROR volery.outcome=panicked !exception
  dead_letter Failure (producer)
";

pub(crate) fn set_up(otlp: Otlp) -> Telemetry {
    let environment = Environment::empty().with("OTEL_RESOURCE_ATTRIBUTES", "team=birds");
    let builder = init("shop").version("1.2.3").deployment("test").environment(environment);
    builder.otlp(otlp).start().expect("the endpoint is well formed")
}

/// Sends the run and checks what arrived; over a runtime with several threads.
async fn arrives(receiver: &Receiver, otlp: Otlp) {
    let telemetry = set_up(otlp);
    checkout(&telemetry.providers().spans());
    let report = telemetry.shutdown(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    let spans = receiver.spans();
    assert_eq!(tree(&spans, &["volery.outcome"]), TREE);
    laws::assert_all(&spans);
    assert_eq!(report.exported, spans.len() as u64);
    for span in &spans {
        assert_eq!(span.attribute("volery.run.id"), "run-7", "{}", span.name);
        assert_eq!(span.attribute("volery.workflow.name"), "checkout", "{}", span.name);
        assert_eq!(span.resource.get("service.name").map(String::as_str), Some("shop"));
        assert_eq!(span.resource.get("service.version").map(String::as_str), Some("1.2.3"));
        assert_eq!(span.resource.get("team").map(String::as_str), Some("birds"));
        assert!(span.resource.contains_key("service.instance.id"));
        assert_eq!(span.scope, "volery");
    }
    let root = spans.iter().find(|span| span.name == "run checkout").expect("the root arrived");
    let ended = ["volery.run.status", "volery.artifacts.published", "volery.jobs.failed", "volery.run.part"];
    assert_eq!(ended.map(|key| root.attribute(key)), ["completed", "3", "1", "1"]);
    let failed = spans.iter().find(|span| span.name == "attempt settle" && span.status == "error");
    let failed = failed.expect("the first attempt arrived");
    assert_eq!((failed.attribute("error.type"), failed.status_message.as_str()), ("Settle", "cannot settle"));
    let causes: Vec<_> = failed
        .events_named("exception")
        .map(|event| event.attributes["exception.message"].as_str())
        .collect();
    assert_eq!(causes, ["connection refused", "bank says no", "cannot settle"], "the root cause comes first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_arrives_whole_over_grpc() {
    let receiver = Receiver::start();
    arrives(&receiver, Otlp::grpc().endpoint(receiver.grpc_endpoint())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_arrives_whole_over_http() {
    let receiver = Receiver::start();
    arrives(&receiver, Otlp::http().endpoint(receiver.http_endpoint())).await;
}

#[test]
fn metrics_arrive_over_both_transports() {
    for grpc in [true, false] {
        let receiver = Receiver::start();
        let otlp = if grpc {
            Otlp::grpc().endpoint(receiver.grpc_endpoint())
        } else {
            Otlp::http().endpoint(receiver.http_endpoint())
        };
        let telemetry = set_up(otlp);
        let providers = telemetry.providers();
        let metrics = providers.metrics("shop", &providers.spans());
        metrics.artifact_published("Order", "external");
        metrics.artifact_published("Order", "external");
        let report = telemetry.shutdown_blocking(LIMIT);
        assert!(report.is_complete(), "{report}");
        let arrived = receiver.metrics();
        let metric = arrived.iter().find(|metric| metric.name == "volery.artifacts.published");
        let metric = metric.expect("the counter arrived");
        assert_eq!(metric.points.len(), 1);
        assert!((metric.points[0].1 - 2.0).abs() < f64::EPSILON, "{metric:?}");
        assert_eq!(metric.points[0].0["volery.kind"], "Order");
        assert_eq!(metric.points[0].0["volery.runtime.name"], "shop");
    }
}
