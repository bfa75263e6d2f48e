//! Traces of runs that outlive their process: `kill -9` at any moment, and an orderly stop.
//!
//! Lives are this test in processes of their own, one after the other on one store; all send to the same
//! receiver. `VOLERY_TRACE_KILLS` sets how many are killed (default 8), `VOLERY_SEED` the chances; the seed
//! is printed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use volery::prelude::*;
use volery::telemetry::{Environment, Otlp, Telemetry, TraceSettings, init};
use volery::{Fault, Publish, Sqlite};
use volery_otlp_receiver::{Receiver, Span, laws};

use crate::support::{LIMIT, MS, Note, Order, Payment, Receipt, Tested, named, only, order, tree};

/// Set in the child: where its receiver is, its store, which life it is, and what it is to do.
const ROLE: &str = "VOLERY_KILLED_CHILD";

/// Open spans are noted and spans exported after this long, so that a life of a tenth of a second meets every
/// case.
const WAIT_MS: u32 = 10;

/// The part of one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Starts a run whose engine never ends.
    Hangs,
    /// The same, and stops in order.
    Stops,
    /// Publishes until it is killed.
    Publishes,
    /// Ends what is there.
    Ends,
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word}").and_then(|()| out.flush()).expect("the parent reads");
}

fn telemetry(endpoint: &str, spans_max: u32) -> Telemetry {
    let environment = Environment::empty().with("OTEL_BSP_SCHEDULE_DELAY", WAIT_MS.to_string());
    let settings = TraceSettings::default().wait(MS * WAIT_MS).spans_max(spans_max);
    let started =
        init("shop").environment(environment).traces(settings).otlp(Otlp::http().endpoint(endpoint));
    started.start().expect("the endpoint is well formed")
}

/// A chance from a number: the same in every life and attempt.
fn mixed(n: u32) -> u64 {
    let mut mixed = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// Spans of the service's own, one in the other, around some waiting; the first attempt of every third fails.
async fn work(tracer: &impl Tracer<Span: Send + Sync + 'static>, n: u32, attempt: u32) -> Result<(), Fault> {
    let asked = tracer.start("query");
    let around = opentelemetry::Context::current_with_span(asked);
    tokio::time::sleep(Duration::from_millis(mixed(n) % 8)).await;
    drop(tracer.start_with_context("row", &around));
    tokio::time::sleep(Duration::from_millis(mixed(n) % 5 * 8)).await;
    around.span().end();
    tokio::time::sleep(Duration::from_millis(mixed(n) % 3 * 8)).await;
    if n.is_multiple_of(3) && attempt == 1 { Err("try again".into()) } else { Ok(()) }
}

fn agents(telemetry: &Telemetry, how: How) -> Vec<Agent> {
    let tracer = telemetry.tracer_provider().expect("spans are exported").tracer("the service");
    let ends = how == How::Ends;
    vec![
        Agent::new("act").concurrency(4).consumes(one::<Order>()).retry(Retry::fixed(3, 15 * MS)).engine(
            move |order: Order, context: Context| {
                let tracer = tracer.clone();
                async move {
                    if order.key == u32::MAX && !ends {
                        say("ready");
                        std::future::pending::<()>().await;
                    }
                    work(&tracer, order.n, context.attempt()).await?;
                    Ok::<_, Fault>(Publish(Receipt { key: order.key, n: order.n }))
                }
            },
        ),
        Agent::new("settle")
            .consumes(join(by(|o: &Receipt| o.n), by(|p: &Payment| p.n)).within(3_600_000 * MS))
            .engine(async |(receipt, _): (Receipt, Payment), _: Context| {
                Ok::<_, Fault>(Publish(Note { key: 0, n: receipt.n }))
            }),
        // Over several runs.
        Agent::new("audit")
            .consumes(one::<Note>().batch(Batch::of(4).or_after(30 * MS)))
            .retry(Retry::fixed(2, 15 * MS))
            .engine(async |notes: Vec<Note>, context: Context| {
                tokio::time::sleep(Duration::from_millis(mixed(notes[0].n) % 4 * 10)).await;
                if context.attempt() == 1 && notes[0].n.is_multiple_of(2) {
                    return Err("once more".into());
                }
                Ok::<_, Fault>(())
            }),
    ]
}

/// Publishes runs until it is killed: of one order, or of ten.
async fn publish(volery: &Volery, life: u32) -> volery::Result<()> {
    for n in 0.. {
        let (orders, first) = (if n % 4 == 3 { 10 } else { 1 }, (life * 1_000 + n) * 16);
        let run = volery.run("checkout").publish(order(first)).await?;
        for n in first..first + orders {
            if n > first {
                run.publish(order(n)).await?;
            }
            run.publish(Payment { key: n, n }).await?;
        }
        say("published");
        tokio::time::sleep(Duration::from_millis(mixed(n) % 4 * 3)).await;
    }
    Ok(())
}

/// One life, in its process.
fn live(endpoint: &str, store: &str, life: u32, how: How) -> Tested {
    // The smallest parts there are, and so several, for runs of ten orders.
    let telemetry = telemetry(endpoint, if life == 1 { 1_000 } else { 10 });
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let volery = Volery::builder("shop").store(Sqlite::open(store)?).telemetry(telemetry.providers());
        let volery = volery.configure(|settings| settings.drain_queued = false);
        let volery = volery.agents(agents(&telemetry, how)).start().await?;
        match how {
            How::Hangs | How::Stops => {
                let run = volery.run("checkout").publish(Payment { key: 1, n: 1 }).await?;
                run.publish(Order { key: u32::MAX, n: 1 }).await?;
            }
            How::Publishes => publish(&volery, life).await?,
            How::Ends => {
                volery.until_idle().await?;
                volery.shutdown().await?;
                drop(telemetry.shutdown(LIMIT).await);
                say("ended");
                return Ok(());
            }
        }
        if how == How::Stops {
            volery.interrupt();
            volery.interrupt();
            volery.stopped().await?;
            say("stopped");
        }
        std::future::pending::<Tested>().await
    })
}

/// Runs this process' life, if it has one.
fn role() -> Option<Tested> {
    let role = std::env::var(ROLE).ok()?;
    let [endpoint, store, life, how] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let all = [How::Hangs, How::Stops, How::Publishes, How::Ends];
    let how = all.into_iter().find(|known| format!("{known:?}") == how).expect("the parent wrote it");
    Some(live(endpoint, store, life.parse().expect("the parent wrote it"), how))
}

/// A life, seen from the test.
struct Life {
    child: Child,
    words: Box<dyn Iterator<Item = String>>,
}

impl Life {
    fn begin(test: &str, receiver: &Receiver, store: &Path, life: u32, how: How) -> Self {
        let role = format!("{} {} {life} {how:?}", receiver.http_endpoint(), store.display());
        let mut child: Child = Command::new(std::env::current_exe().expect("a test has a path"))
            .args(["--exact", &format!("killed::{test}"), "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test can be run again");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let words = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix('@').map(str::to_owned));
        Self { child, words: Box::new(words) }
    }

    fn until(&mut self, word: &str) {
        assert!(self.words.any(|said| said == word), "the life ended before it said `{word}`");
    }

    /// Waits for its end.
    fn end(mut self) {
        self.until("ended");
        self.words.by_ref().for_each(drop);
        assert!(self.child.wait().expect("it is a child of this process").success());
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child of this process");
    }
}

fn store(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seen-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder.join("shop.db")
}

fn remove(store: &Path) {
    drop(store.parent().map(std::fs::remove_dir_all));
}

/// The arrived spans, without shutdowns.
fn arrived(receiver: &Receiver) -> Vec<Span> {
    receiver.spans().into_iter().filter(|span| !span.name.contains("shutdown")).collect()
}

/// Two roots for the run, of which the later links to the earlier.
#[track_caller]
fn resumed(checkout: &[Span]) {
    let roots = named(checkout, "run checkout");
    let [before, after] = roots[..] else { panic!("{}", tree(checkout)) };
    let resume = only(checkout, "resume run");
    assert_eq!(resume.parent_id, after.span_id);
    assert_eq!(resume.links.iter().map(|link| &link.span_id).collect::<Vec<_>>(), [&before.span_id]);
    assert_eq!(before.attribute("volery.run.id"), after.attribute("volery.run.id"));
    let ended = [before, after].map(|root| root.attribute("volery.run.status"));
    assert_eq!(ended, ["interrupted", "completed"]);
    assert_eq!([before, after].map(|root| root.attribute("volery.run.attempt")), ["1", "2"]);
    laws::assert_all(checkout);
}

#[test]
fn a_run_cut_by_a_kill_gets_its_open_spans_from_the_next_process_which_goes_on_in_a_linked_trace() -> Tested {
    let test =
        "a_run_cut_by_a_kill_gets_its_open_spans_from_the_next_process_which_goes_on_in_a_linked_trace";
    if let Some(lived) = role() {
        return lived;
    }
    let (store, receiver) = (store("killed"), Receiver::start());
    let mut first = Life::begin(test, &receiver, &store, 0, How::Hangs);
    first.until("ready");
    // It arrives once the root, which is open, is in the log.
    let mut arrived_so_far = 0;
    while named(&arrived(&receiver), "publish Order").is_empty() {
        arrived_so_far = receiver.wait_for(arrived_so_far + 1, LIMIT).len();
    }
    first.kill();
    Life::begin(test, &receiver, &store, 1, How::Ends).end();
    let spans = arrived(&receiver);
    resumed(&spans);
    let cut = spans.iter().filter(|span| span.attribute("volery.outcome") == "interrupted");
    let cut: BTreeSet<_> = cut.map(|span| span.name.as_str()).collect();
    assert!(cut.contains("run checkout"), "{cut:?}");
    remove(&store);
    Ok(())
}

#[test]
fn a_run_that_an_orderly_stop_leaves_has_its_root_once() -> Tested {
    let test = "a_run_that_an_orderly_stop_leaves_has_its_root_once";
    if let Some(lived) = role() {
        return lived;
    }
    let (store, receiver) = (store("stopped"), Receiver::start());
    let mut first = Life::begin(test, &receiver, &store, 0, How::Stops);
    first.until("ready");
    first.until("stopped");
    first.kill();
    Life::begin(test, &receiver, &store, 1, How::Ends).end();
    resumed(&arrived(&receiver));
    remove(&store);
    Ok(())
}

/// How often: as the variable says.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("it is a number"))
}

/// Spans that the life which is being killed had exported in the last requests before it died: whether it
/// could note that in its store before it died, nobody knows.
fn in_doubt(spans: &[Span]) -> BTreeSet<(String, String)> {
    const REQUESTS: usize = 2 * 512;
    let last = spans.iter().rev().take(REQUESTS);
    last.map(|span| (span.trace_id.clone(), span.span_id.clone())).collect()
}

#[test]
fn whenever_a_process_is_killed_no_parent_is_broken_and_every_trace_has_one_root() -> Tested {
    let test = "whenever_a_process_is_killed_no_parent_is_broken_and_every_trace_has_one_root";
    if let Some(lived) = role() {
        return lived;
    }
    let drawn = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let (mut seed, kills) =
        (number("VOLERY_SEED").unwrap_or_else(drawn), number("VOLERY_TRACE_KILLS").unwrap_or(8));
    #[expect(clippy::print_stderr, reason = "the seed stands in the output of a test that failed")]
    {
        eprintln!("{test}: VOLERY_SEED={seed}");
    }
    let mut below = |end: u64| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (seed >> 33) % end
    };
    let (store, receiver) = (store("whenever"), Receiver::start());
    let mut doubt = BTreeSet::new();
    for life in 0..u32::try_from(kills).expect("few kills") {
        let mut process = Life::begin(test, &receiver, &store, 2 + life, How::Publishes);
        // Some die while they begin, and end what the one before left.
        for _ in 0..below(20) {
            process.until("published");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the moment is the chance itself; nothing waits for it"
        )]
        std::thread::sleep(Duration::from_micros(below(40_000)));
        process.kill();
        doubt.extend(in_doubt(&receiver.spans()));
    }
    Life::begin(test, &receiver, &store, 1_000, How::Ends).end();
    let spans = arrived(&receiver);
    whole(&spans, &doubt);
    remove(&store);
    Ok(())
}

/// All that must be true of what several lives sent. A span may have arrived twice if it is in doubt.
#[track_caller]
fn whole(spans: &[Span], doubt: &BTreeSet<(String, String)>) {
    let (mut seen, mut once, mut twice) = (HashSet::new(), Vec::new(), 0);
    for span in spans {
        let place = (span.trace_id.clone(), span.span_id.clone());
        if seen.insert(place.clone()) {
            once.push(span.clone());
        } else {
            // The first is what the span was; the second one's end is made up.
            twice += 1;
            assert!(doubt.contains(&place), "{span:?} is there twice");
        }
    }
    let spans: Vec<Span> = once;
    let broken: Vec<String> = [
        laws::no_broken_parents(&spans, &[]),
        laws::one_root_per_trace(&spans, &[]),
        laws::durations_nest(&spans),
    ]
    .into_iter()
    .filter_map(Result::err)
    .flatten()
    .collect();
    assert!(broken.is_empty(), "traces break laws:\n  {}", broken.join("\n  "));
    // Each run's attempts count up, one trace after the other.
    let mut attempts: BTreeMap<&str, Vec<(u64, u32)>> = BTreeMap::new();
    for root in spans.iter().filter(|span| span.parent_id.is_empty() && span.name == "run checkout") {
        let attempt = root.attribute("volery.run.attempt").parse().expect("it is a number");
        attempts.entry(root.attribute("volery.run.id")).or_default().push((root.start_ns, attempt));
    }
    for (run, attempts) in &mut attempts {
        attempts.sort_unstable();
        let up = attempts.windows(2).all(|pair| pair[0].1 < pair[1].1);
        assert!(up, "run {run} has the attempts {attempts:?}");
    }
    let cut = spans.iter().filter(|span| span.attribute("volery.outcome") == "interrupted").count();
    #[expect(clippy::print_stderr, reason = "figures")]
    {
        eprintln!("{} spans, {cut} of them cut off, {twice} there twice", spans.len());
    }
    assert!(cut > 0, "something was cut off");
}
