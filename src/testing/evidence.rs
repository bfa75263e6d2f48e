//! The evidence of a failed expectation: claims that wait and why, attempts that run, dead letters, the last
//! events.

use std::collections::VecDeque;

use volery_blackboard::store::DeadLetter;

use super::events::{LISTED, line};
use super::{answered, list};
use crate::feed::{Event, FeedItem, FeedReader};
use crate::{Result, Run, Volery, Waiting};

/// Dead letters that are looked through: more than a test has, and few enough to be read at once.
pub(super) const LETTERS: usize = 1_000;

/// The last events of a runtime, read when they are asked for.
#[derive(Debug)]
pub(super) struct LastEvents {
    reader: FeedReader,
    last: VecDeque<Event>,
}

impl LastEvents {
    pub(super) fn of(reader: FeedReader) -> Self {
        Self { reader, last: VecDeque::new() }
    }

    fn lines(&mut self) -> VecDeque<String> {
        while let Some(item) = self.reader.try_next() {
            // Events that were skipped are older than those that come now.
            let FeedItem::Event(event) = item else { continue };
            if self.last.len() == LISTED {
                self.last.pop_front();
            }
            self.last.push_back(event);
        }
        self.last.iter().map(line).collect()
    }

    /// The list of them, for a failure.
    pub(super) fn text(&mut self) -> String {
        list("last events", &self.lines())
    }
}

/// Claims that wait, attempts that run, and dead letters, as text; of one run, or of all.
pub(super) async fn evidence(volery: &Volery, run: Option<&Run>) -> String {
    let mut text = String::new();
    let waiting = match run {
        Some(run) => answered(run.waiting()).await,
        None => answered(volery.waiting()).await,
    };
    text.push_str(&part("waiting", waiting_lines(volery, waiting).await));
    text.push_str(&part("at work", agent_lines(volery).await));
    let letters = answered(volery.dead_letters().limit(LETTERS).into_future()).await.map(|letters| {
        let of_run = |letter: &DeadLetter| run.is_none_or(|run| run.id() == letter.run);
        letters.into_iter().filter(of_run).map(|letter| letter_line(&letter)).collect()
    });
    text.push_str(&part("dead letters", letters));
    text
}

fn part(heading: &str, lines: Result<VecDeque<String>>) -> String {
    match lines {
        Ok(mut lines) if lines.len() > LISTED => {
            let more = lines.len() - LISTED;
            lines.truncate(LISTED);
            format!("{}\n    … and {more} more", list(heading, &lines))
        }
        Ok(lines) => list(heading, &lines),
        Err(error) => format!("\n  {heading}: not known, since {error}"),
    }
}

async fn waiting_lines(volery: &Volery, waiting: Result<Vec<Waiting>>) -> Result<VecDeque<String>> {
    let mut lines = VecDeque::new();
    for one in waiting? {
        // The artifact may be gone by the time it is read; the text has its offset in any case.
        let kind = match answered(volery.read(&[one.offset])).await {
            Ok(found) => found.first().map(|artifact| format!("{} at ", artifact.kind().name())),
            Err(_) => None,
        };
        let (kind, offset) = (kind.unwrap_or_default(), one.offset);
        lines.push_back(format!("{kind}offset {offset} for agent `{}`: {}", one.agent, one.reason));
    }
    Ok(lines)
}

async fn agent_lines(volery: &Volery) -> Result<VecDeque<String>> {
    let agents = answered(volery.agents()).await?;
    let at_work = agents.iter().filter(|agent| agent.running > 0 || agent.queued > 0);
    Ok(at_work
        .map(|agent| {
            let paused = if agent.paused { ", paused" } else { "" };
            format!("agent `{}`: {} running, {} queued{paused}", agent.name, agent.running, agent.queued)
        })
        .collect())
}

/// Tells a dead letter in a line.
pub(super) fn letter_line(letter: &DeadLetter) -> String {
    let (agent, attempts) = (&letter.agent, letter.attempts);
    let offsets: Vec<String> = letter.inputs.iter().map(ToString::to_string).collect();
    let attempts = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let error = letter.error.join(": ");
    format!("agent `{agent}`, {attempts} with what is at offset {}: {error}", offsets.join(", "))
}
