//! Panics of engines, counted against the intensity of their agents.
//!
//! A value in the ingress, which outlives the curator's lives; the curator counts and tells the board the
//! verdict. Pure: no I/O, no clock.

use volery_blackboard::outcome::Quarantine;
use volery_blackboard::{AgentIndex, Timestamp};

use crate::intensity::{PastIntensity, Rule};
use crate::supervision::RestartWindow;

/// The panics of every agent in the recent past.
#[derive(Debug, Default)]
pub(crate) struct Panics(Vec<AgentPanics>);

#[derive(Debug)]
struct AgentPanics {
    rule: Rule,
    window: RestartWindow,
    quarantine: Option<Quarantine>,
}

/// The consequence of one more panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PanicVerdict {
    /// Nothing: this many are in the window. An agent in quarantine is not counted.
    Tolerated(u32),
    /// The agent is to be given no jobs.
    Quarantined(Quarantine),
    /// The agent is to be given no jobs, and the runtime is to stop.
    Escalated(Quarantine),
}

impl Panics {
    /// Starts counting, with a rule for each agent in registration order.
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let fresh =
            |rule: Rule| AgentPanics { rule, window: RestartWindow::new(rule.intensity), quarantine: None };
        Self(rules.into_iter().map(fresh).collect())
    }

    /// Counts a panic.
    pub(crate) fn count(&mut self, agent: AgentIndex, now: Timestamp) -> PanicVerdict {
        let Some(record) = self.0.get_mut(agent.at()) else { return PanicVerdict::Tolerated(0) };
        if let Some(quarantine) = record.quarantine {
            return PanicVerdict::Tolerated(quarantine.restarts);
        }
        let holds = record.window.record(now.since(Timestamp::default()));
        let restarts = record.window.count();
        if holds {
            return PanicVerdict::Tolerated(restarts);
        }
        let (resumes_at, escalates) = match record.rule.past {
            PastIntensity::Quarantine { resume_after } => (resume_after.map(|span| now.after(span)), false),
            PastIntensity::Escalate => (None, true),
        };
        let quarantine = Quarantine { since: now, restarts, resumes_at };
        record.quarantine = Some(quarantine);
        if escalates { PanicVerdict::Escalated(quarantine) } else { PanicVerdict::Quarantined(quarantine) }
    }

    /// Ends a quarantine, and forgets what was counted.
    pub(crate) fn lift(&mut self, agent: AgentIndex) {
        if let Some(record) = self.0.get_mut(agent.at()) {
            record.quarantine = None;
            record.window = RestartWindow::new(record.rule.intensity);
        }
    }

    /// Puts an agent into the quarantine that it was in when the process before this one ended.
    pub(crate) fn restore(&mut self, agent: AgentIndex, quarantine: Quarantine) {
        if let Some(record) = self.0.get_mut(agent.at()) {
            record.quarantine = Some(quarantine);
        }
    }

    /// Lists the quarantines that outlive the process. An escalation does not: its agent begins anew.
    pub(crate) fn durable(&self) -> impl Iterator<Item = (AgentIndex, Quarantine)> {
        let escalates = |agent: AgentIndex| matches!(self.0[agent.at()].rule.past, PastIntensity::Escalate);
        self.quarantines().into_iter().filter(move |(agent, _)| !escalates(*agent))
    }

    /// Lists the agents in quarantine.
    pub(crate) fn quarantines(&self) -> Vec<(AgentIndex, Quarantine)> {
        let all = (0..).map(AgentIndex).zip(&self.0);
        all.filter_map(|(agent, record)| record.quarantine.map(|quarantine| (agent, quarantine))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::supervision::Intensity;

    const AGENT: AgentIndex = AgentIndex(0);

    fn panics(past: PastIntensity) -> Panics {
        let intensity = Intensity { restarts: 2, within: Duration::from_millis(100) };
        Panics::new([Rule { intensity, past }])
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis_since_epoch(millis)
    }

    #[test]
    fn one_panic_too_many_within_the_window_is_a_quarantine() {
        let mut panics = panics(PastIntensity::Quarantine { resume_after: Some(Duration::from_millis(7)) });
        let counted: Vec<PanicVerdict> = [0, 90, 101, 110].map(|now| panics.count(AGENT, at(now))).into();
        let quarantine = Quarantine { since: at(110), restarts: 3, resumes_at: Some(at(117)) };
        let held = [1, 2, 2].map(PanicVerdict::Tolerated);
        assert_eq!(counted, [&held[..], &[PanicVerdict::Quarantined(quarantine)]].concat());
        assert_eq!(panics.quarantines(), [(AGENT, quarantine)]);
        assert_eq!(panics.count(AGENT, at(111)), PanicVerdict::Tolerated(3), "it is in quarantine already");
    }

    #[test]
    fn a_lifted_quarantine_begins_with_an_empty_window() {
        let mut panics = panics(PastIntensity::default());
        let counted: Vec<PanicVerdict> = [0, 1, 2].map(|now| panics.count(AGENT, at(now))).into();
        let quarantine = Quarantine { since: at(2), restarts: 3, resumes_at: None };
        assert_eq!(counted[2], PanicVerdict::Quarantined(quarantine));
        panics.lift(AGENT);
        assert_eq!(panics.quarantines(), []);
        assert_eq!(panics.count(AGENT, at(3)), PanicVerdict::Tolerated(1));
    }

    #[test]
    fn an_agent_that_escalates_is_given_nothing_more() {
        let mut panics = panics(PastIntensity::Escalate);
        let last = [0, 1, 2].map(|now| panics.count(AGENT, at(now)))[2];
        assert_eq!(last, PanicVerdict::Escalated(Quarantine { since: at(2), restarts: 3, resumes_at: None }));
        assert_eq!(panics.quarantines().len(), 1);
    }
}
