//! The throughput benches again with mimalloc as the global allocator: what a service gains by that one line.
//!
//! Artifacts are made in one thread and freed in another, which the system's allocator is slow at.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "throughput.rs"]
mod throughput;

fn main() {
    throughput::main();
}
