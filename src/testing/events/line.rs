//! One event as one line of text, for failures. Pure: no I/O, no clock.

use crate::feed::Event;

/// Tells an event in a line.
pub(in crate::testing) fn line(event: &Event) -> String {
    match event {
        Event::Published { artifact, claims } => {
            let (kind, offset) = (artifact.kind().name(), artifact.offset());
            format!("published {kind} at offset {offset}, taken by {claims} subscriptions")
        }
        Event::Started { agent, start } => {
            let offsets: Vec<String> = start.members.iter().map(|member| member.offset.to_string()).collect();
            let (attempt, offsets) = (start.attempt, offsets.join(", "));
            format!("agent `{agent}` started attempt {attempt} with what is at offset {offsets}")
        }
        Event::Done { agent, .. } => format!("agent `{agent}` is done with a job"),
        Event::Retrying { agent, attempt, until, error, .. } => {
            format!("agent `{agent}` failed attempt {attempt}, again at {until}: {}", error.join(": "))
        }
        Event::Dead { agent, error, .. } => {
            format!("agent `{agent}` gave a job up: {}", error.join(": "))
        }
        Event::Cancelled { agent, .. } => format!("a job of agent `{agent}` was cancelled"),
        Event::Released { agent, .. } => format!("agent `{agent}` handed a job back"),
        Event::Settled { agent, settled } => {
            format!("offset {} ended for agent `{agent}`: {:?}", settled.offset, settled.outcome)
        }
        Event::RunSettled { workflow, tally, .. } => {
            format!("run `{workflow}` has all its outcomes: {tally}")
        }
        Event::Life(life) => format!("life: {life:?}"),
        // The enum is open to further events.
        other => format!("{other:?}"),
    }
}
