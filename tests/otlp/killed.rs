//! What is seen of a run that outlives its process: `kill -9`, and an orderly stop.
//!
//! The first process is this test in a process of its own; the second is this one. Both send to the same receiver.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use volery::Fault;
use volery::Sqlite;
use volery::prelude::*;
use volery::telemetry::{Environment, Otlp, init};
use volery_otlp_receiver::{Receiver, Span, laws};

use crate::support::{LIMIT, Order, Tested, named, only, order, tree};

/// Set in the child: where its receiver is, and its store.
const ROLE: &str = "VOLERY_KILLED_CHILD";

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word}").and_then(|()| out.flush()).expect("the parent reads");
}

/// Runs one order whose engine never ends. `how` says what follows: a stop, or nothing until somebody kills it.
fn serve(endpoint: &str, store: &str, how: &str) -> Tested {
    let telemetry =
        init("shop").environment(Environment::empty()).otlp(Otlp::http().endpoint(endpoint)).start();
    let telemetry = telemetry.expect("the endpoint is well formed");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    tokio.block_on(async {
        let (started, running) = tokio::sync::oneshot::channel();
        let started = std::sync::Mutex::new(Some(started));
        let act = Agent::new("act").consumes(one::<Order>()).engine(move |_: Order, _: Context| {
            let told = started.lock().expect("nobody panics").take().map(|started| started.send(()));
            assert_ne!(told, Some(Err(())), "somebody waits");
            std::future::pending::<Result<(), Fault>>()
        });
        let volery = Volery::builder("shop").store(Sqlite::open(store)?).telemetry(telemetry.providers());
        let volery = volery.configure(|settings| settings.drain_queued = false).agent(act).start().await?;
        volery.run("checkout").publish(order(1)).await?;
        running.await.expect("the engine is called");
        drop(telemetry.flush(LIMIT).await);
        if how == "stopped" {
            volery.interrupt();
            volery.interrupt();
            volery.stopped().await?;
        }
        say("ready");
        std::future::pending::<Tested>().await
    })
}

/// Starts the first process and waits until its part is done, then kills it.
fn first_process(test: &str, receiver: &Receiver, store: &Path, how: &str) {
    let role = format!("{} {} {how}", receiver.http_endpoint(), store.display());
    let mut child: Child = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", &format!("killed::{test}"), "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be run again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "@ready");
    child.kill().expect("it runs");
    child.wait().expect("it is a child of this process");
    assert!(ready, "the first process failed");
}

/// Runs both processes and returns what arrived.
fn both(test: &str, how: &str) -> volery::Result<Option<Vec<Span>>> {
    if let Ok(role) = std::env::var(ROLE) {
        let [endpoint, store, how] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
        return serve(endpoint, store, how).map(|()| None);
    }
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seen-{how}-{}.db", std::process::id()));
    let receiver = Receiver::start();
    first_process(test, &receiver, &store, how);
    let telemetry = init("shop")
        .environment(Environment::empty())
        .otlp(Otlp::http().endpoint(receiver.http_endpoint()))
        .start();
    let telemetry = telemetry.expect("the endpoint is well formed");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    tokio.block_on(async {
        let act = Agent::new("act")
            .consumes(one::<Order>())
            .engine(async |_: Order, _: Context| Ok::<_, Fault>(()));
        let volery = Volery::builder("shop").store(Sqlite::open(&store)?).telemetry(telemetry.providers());
        let volery = volery.agent(act).start().await?;
        volery.until_idle().await?;
        volery.shutdown().await
    })?;
    drop(telemetry.shutdown_blocking(LIMIT));
    drop(std::fs::remove_file(&store));
    Ok(Some(receiver.spans()))
}

/// Two roots for the run, of which the later links to the earlier.
#[track_caller]
fn resumed(spans: &[Span]) {
    let checkout: Vec<Span> = spans.iter().filter(|span| !span.name.contains("shutdown")).cloned().collect();
    let roots = named(&checkout, "run checkout");
    let [before, after] = roots[..] else { panic!("{}", tree(&checkout)) };
    let resume = only(&checkout, "resume run");
    assert_eq!(resume.parent_id, after.span_id);
    assert_eq!(resume.links.iter().map(|link| &link.span_id).collect::<Vec<_>>(), [&before.span_id]);
    assert_eq!(before.attribute("volery.run.id"), after.attribute("volery.run.id"));
    let ended = [before, after].map(|root| root.attribute("volery.run.status"));
    assert_eq!(ended, ["interrupted", "completed"]);
    laws::no_span_twice(&checkout).expect("no span arrived twice");
    laws::no_broken_parents(&checkout, &[]).expect("every parent arrived");
    laws::one_root_per_trace(&checkout, &[]).expect("every trace has a root");
}

#[test]
fn a_run_cut_by_a_kill_gets_its_root_from_the_next_process_which_goes_on_in_a_linked_trace() -> Tested {
    let test = "a_run_cut_by_a_kill_gets_its_root_from_the_next_process_which_goes_on_in_a_linked_trace";
    if let Some(spans) = both(test, "killed")? {
        resumed(&spans);
    }
    Ok(())
}

#[test]
fn a_run_that_an_orderly_stop_leaves_has_its_root_once() -> Tested {
    if let Some(spans) = both("a_run_that_an_orderly_stop_leaves_has_its_root_once", "stopped")? {
        resumed(&spans);
    }
    Ok(())
}
