//! Feeding: publishes lines and changes in a run, no faster than the agents take them: the runtime's
//! `queued_max` sees to that.
//!
//! Lines are read by a thread of their own, a few chunks ahead. Each line is an artifact by itself, so that a
//! dead letter is about one line; publishing them in chunks saves commits. Lines that an earlier start has
//! published already, by its input and place, are not published again. Does not wait for results.

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use volery::agent::IntoOutputs;
use volery::{Error, Outputs, Payload, Run};

use super::changes::Change;
use super::scan::Log;
use super::source::{RawLine, SourceError};
use super::trouble::Trouble;

/// Lines per commit. Fewer cost commits; more come in surges.
const CHUNK_LINES_MAX: usize = 1_000;

/// Text per commit: lines can be as long as 64 KiB.
const CHUNK_BYTES_MAX: usize = 1_024 * 1_024;

/// Chunks read ahead: one is being published, one is ready.
const CHUNKS_AHEAD: usize = 2;

/// Publishes every line of the logs.
///
/// # Errors
/// Where a log cannot be opened any more, or the runtime stops.
pub(crate) async fn publish_lines(run: &Run, logs: Vec<Log>, progress: &ProgressBar) -> Result<(), Trouble> {
    let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
    let reading = tokio::task::spawn_blocking(move || read(logs, &sender));
    while let Some(chunk) = chunks.recv().await {
        let lines = chunk.len() as u64;
        run.publish_all(keyed(run, chunk, |line| format!("{}:{}", line.source, line.number))).await?;
        progress.inc(lines);
    }
    reading.await.map_err(Error::other)?.map_err(Trouble::Input)
}

/// Publishes the changes. After the lines, because they are held until the run is finished, and the memory
/// store releases the room of what is finished from the oldest artifact on.
///
/// # Errors
/// Where the runtime stops.
pub(crate) async fn publish_changes(run: &Run, mut changes: Vec<Change>) -> Result<(), Trouble> {
    let mut place = 0_u64;
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(CHUNK_LINES_MAX));
        let chunk = std::mem::replace(&mut changes, rest);
        let next = |_: &Change| {
            place += 1;
            format!("change {place}")
        };
        run.publish_all(keyed(run, chunk, next)).await?;
    }
    Ok(())
}

/// Names each by its run and place, so that the same place is published once, however often the program is
/// started.
fn keyed<T: Payload>(run: &Run, chunk: Vec<T>, mut place: impl FnMut(&T) -> String) -> impl IntoOutputs {
    chunk.into_iter().fold(Outputs::none(), |outputs, one| {
        let key = format!("{}/{}", run.id(), place(&one));
        outputs.with(one).idempotency_key(key)
    })
}

/// Reads the logs in chunks until the receiver is gone.
fn read(logs: Vec<Log>, chunks: &mpsc::Sender<Vec<RawLine>>) -> Result<(), SourceError> {
    let mut chunk = Chunk::default();
    for log in logs {
        let lines: Box<dyn Iterator<Item = RawLine>> = match log.held {
            Some(held) => Box::new(held.into_iter()),
            // Where the input broke off during the scan, it ends here; the scan has noted it.
            None => Box::new(log.input.open()?.map_while(Result::ok)),
        };
        for line in lines.take(usize::try_from(log.lines).unwrap_or(usize::MAX)) {
            if let Some(full) = chunk.add(line)
                && chunks.blocking_send(full).is_err()
            {
                return Ok(());
            }
        }
    }
    // The receiver may be gone by now; then nobody wants the rest.
    drop(chunks.blocking_send(chunk.lines));
    Ok(())
}

#[derive(Default)]
struct Chunk {
    lines: Vec<RawLine>,
    bytes: usize,
}

impl Chunk {
    /// Adds a line; returns the lines when they are enough.
    fn add(&mut self, line: RawLine) -> Option<Vec<RawLine>> {
        self.bytes += line.text.len();
        self.lines.push(line);
        let full = self.lines.len() >= CHUNK_LINES_MAX || self.bytes >= CHUNK_BYTES_MAX;
        full.then(|| std::mem::take(self).lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: usize) -> RawLine {
        RawLine { source: "a".into(), number: 1, text: "x".repeat(bytes), truncated: false, lossy: false }
    }

    #[test]
    fn a_chunk_is_full_by_lines_or_by_bytes() {
        let full_after = |bytes: usize| {
            let mut chunk = Chunk::default();
            (1..).find_map(|count| chunk.add(line(bytes)).map(|lines| (count, lines.len())))
        };
        assert_eq!(full_after(10), Some((CHUNK_LINES_MAX, CHUNK_LINES_MAX)));
        assert_eq!(full_after(CHUNK_BYTES_MAX / 4), Some((4, 4)));
    }
}
