//! The one-to-one throughput of a build without telemetry: what `benches/tracing` compares with, and starts.
//!
//! `volery-unseen --way NAME --count N` prints how many nanoseconds N artifacts took; the name says nothing
//! here.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

#[path = "../../tracing/one_to_one.rs"]
mod one_to_one;

fn main() {
    let count = std::env::args().nth(4).and_then(|count| count.parse().ok()).expect("a number of artifacts");
    println!("{}", one_to_one::measured(|builder| builder, count).as_nanos());
}
