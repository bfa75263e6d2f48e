//! A synthetic run in the shape of the recorder, as a runtime would make it: with a join, a batch, a retry,
//! a panic and a cancellation. All times are made up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use volery_observability::trace::{
    BatchClosed, Commit, DeadLetter, Ending, Failure, Input, JobStart, JoinClosed, Propagation, Publish,
    Restart, RunEnd, RunStart, RunStatus, RunTrace, Spans,
};

/// A time, in milliseconds after the begin of everything.
pub(crate) fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(ms)
}

pub(crate) fn run_end(ms: u64) -> RunEnd {
    RunEnd {
        status: RunStatus::Completed,
        published: 3,
        jobs_ok: 3,
        jobs_failed: 1,
        jobs_cancelled: 1,
        at: at(ms),
    }
}

/// Publishes from outside, and returns what the artifact carries.
pub(crate) fn publish(run: &RunTrace, kind: &str, start: u64, end: u64) -> Propagation {
    let publish =
        run.publish(&Publish { size: Some(12), ..Publish::new(kind, &format!("{kind}-1"), at(start)) });
    let Some(publish) = publish else { return run.propagation().expect("the run has a trace") };
    let propagation = publish.propagation().clone();
    publish.end(at(end));
    propagation
}

/// A job with one attempt that does `ending`.
pub(crate) fn small_job(run: &RunTrace, agent: &str, input: &Propagation, start: u64, ending: &Ending<'_>) {
    let inputs = [Input { id: "Receipt-1", kind: "Receipt", propagation: Some(input.clone()) }];
    let job = run
        .job(&JobStart::new(agent, &format!("job-{agent}"), at(start)), inputs)
        .expect("the run is sampled");
    let attempt = job.attempt(1, 0, at(start + 1));
    let call = attempt.evaluate(agent, at(start + 1));
    call.end(ending, at(start + 8));
    attempt.end(ending, at(start + 9));
    job.end(ending, at(start + 10));
}

/// Spans of the whole run.
pub(crate) const SPANS: usize = 25;

/// The whole run.
pub(crate) fn checkout(spans: &Spans) {
    let run = spans.run(RunStart::new(&"run-7", "checkout", at(0)));
    let order = publish(&run, "Order", 0, 2);
    let payment = publish(&run, "Payment", 3, 5);

    let join =
        JoinClosed { agent: "settle", key: "7", result: "matched", missing: &[], start: at(2), end: at(5) };
    let joined = run.join(&join, [order.clone(), payment.clone()]);
    let receipt = settle(&run, joined.as_ref(), [order, payment]);

    small_job(&run, "mail", &receipt, 70, &Ending::Ok);
    small_job(&run, "print", &receipt, 71, &Ending::Cancelled("run"));
    let batch = BatchClosed { agent: "audit", reason: "deadline", key: None, start: at(65), end: at(85) };
    let collected = run.batch(&batch, [receipt.clone()]);
    let start = JobStart {
        trigger: "batch",
        collected: collected.as_ref(),
        ..JobStart::new("audit", &"job-audit", at(85))
    };
    let job = run.job(&start, [Input { id: "Receipt-1", kind: "Receipt", propagation: Some(receipt) }]);
    let job = job.expect("the run is sampled");
    let attempt = job.attempt(1, 1, at(86));
    attempt.end(&Ending::Panicked("index out of bounds"), at(90));
    let causes = ["index out of bounds".to_owned()];
    let failure = Failure { class: "panic", causes: &causes };
    job.end(&Ending::Dead { reason: "attempts", failure }, at(91));
    run.dead_letter(DeadLetter {
        agent: "audit",
        kind: "Failure",
        id: &"Failure-1",
        reason: "attempts",
        start: at(90),
        end: at(91),
    });
    run.end(run_end(92));
}

/// A job that fails once, waits, and succeeds. Returns what its output carries.
fn settle(run: &RunTrace, joined: Option<&Propagation>, inputs: [Propagation; 2]) -> Propagation {
    let [order, payment] = inputs;
    let inputs = [
        Input { id: "Order-1", kind: "Order", propagation: Some(order) },
        Input { id: "Payment-1", kind: "Payment", propagation: Some(payment) },
    ];
    let start =
        JobStart { trigger: "join", collected: joined, ..JobStart::new("settle", &"job-settle", at(5)) };
    let job = run.job(&start, inputs).expect("the run is sampled");
    job.wait("concurrency", at(5), at(10));
    let attempt = job.attempt(1, 0, at(10));
    let causes = ["cannot settle".to_owned(), "bank says no".to_owned(), "connection refused".to_owned()];
    let failure = Failure { class: "Settle", causes: &causes };
    let call = attempt.evaluate("settle", at(11));
    call.end(&Ending::Failed(failure), at(19));
    let restart =
        Restart { count: 1, strategy: "one_for_one", backoff: Duration::from_millis(5), cause: "panic" };
    attempt.agent_restarted(&restart, at(19));
    job.agent_restarted(&restart, at(19));
    attempt.end(&Ending::Failed(failure), at(20));
    job.retry_scheduled(2, Duration::from_millis(20), &failure, at(20));
    job.backoff(at(20), at(40));

    let attempt = job.attempt(2, 1, at(40));
    attempt.step("pre_evaluate", at(40), at(44));
    attempt.step("post_evaluate", at(50), at(50));
    let call = attempt.evaluate("settle", at(44));
    call.end(&Ending::Ok, at(50));
    let output = attempt.publish(&Publish::new("Receipt", &"Receipt-1", at(51)));
    let commit = Commit { store: "sqlite", changes: 4, error: None, start: at(52), end: at(60) };
    output.commit(&commit);
    let propagation = output.propagation().clone();
    output.end(at(60));
    attempt.end(&Ending::Ok, at(61));
    job.end(&Ending::Ok, at(62));
    propagation
}
