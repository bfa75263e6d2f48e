//! The inspection: asks the parts of a runtime how they are, and never waits for one that does not answer.
//!
//! It is a function of the supervision tree, of what the curator says, and of a few counts; it changes
//! nothing.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::timeout;
use volery_blackboard::board::AgentStanding;
use volery_blackboard::board::Board;
use volery_blackboard::{AgentName, Timestamp};

use super::Volery;
use super::builder::INTENSITY;
use super::tree::{Tree, TreeNode};
use crate::error::Result;
use crate::health::{Findings, Health, Severity};
use crate::root::Stopping;
use crate::supervision::ChildState;

/// How long an actor may take to answer. It takes microseconds; a curator that waits for a slow disk may take
/// tens of milliseconds. The platform's own patience (a probe's failure threshold, the watchdog's interval)
/// comes on top.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Volery {
    /// Tells whether the runtime is live and ready, with the reasons against it.
    ///
    /// It asks the supervisors and the curator, and answers within a second whichever actor is dead or stuck,
    /// as long as the async runtime runs tasks at all; when engines block every worker thread nothing
    /// answers, and the platform's probe runs into its time-out. Cheap: a probe may call it every second.
    /// Cancel safe.
    ///
    /// A runtime that stops is live and not ready; one that has stopped is neither. `docs/supervision.md` has
    /// the table of what affects what, `examples/11_service.rs` answers probes with it, and `deploy/` has the
    /// platform's side.
    pub async fn health(&self) -> Health {
        let mut findings = Findings::default();
        if let Some(report) = self.0.root.reported() {
            findings.add(Severity::NotLive, "runtime", "stopped", format!("stopped {}", report.cause));
        } else if self.0.root.stopping() > Stopping::No {
            let what = "stopping; no new work is accepted".to_owned();
            match self.0.root.stopping_since() {
                Some(since) => findings.add_since(Severity::NotReady, "runtime", "stopping", (what, since)),
                None => findings.add(Severity::NotReady, "runtime", "stopping", what),
            }
        } else {
            self.inspect(&mut findings).await;
        }
        let mut seen = self.0.first_seen.lock().unwrap_or_else(PoisonError::into_inner);
        findings.conclude(self.name(), self.now(), &mut seen)
    }

    async fn inspect(&self, findings: &mut Findings) {
        // Ends by itself at once; all that counts is whether it is run.
        let scheduled = tokio::spawn(std::future::ready(()));
        let (scheduled, tree, agents) = tokio::join!(
            timeout(ANSWER_WITHIN, scheduled),
            timeout(ANSWER_WITHIN, self.tree()),
            timeout(ANSWER_WITHIN, self.ingress().ask(Board::standings)),
        );
        if scheduled.is_err() {
            let what =
                format!("a new task was not run within {ANSWER_WITHIN:?}: engines block the worker threads");
            findings.add(Severity::NotLive, "async runtime", "starved", what);
        }
        match tree {
            Ok(tree) => inspect_tree(&tree, self.now(), findings),
            Err(_) => findings.add(Severity::NotLive, "supervisors", "silent", silent()),
        }
        inspect_agents(agents, self.ingress().status().committing, findings);
        for found in self.findings() {
            let part = found.agent().map_or("async runtime", AgentName::as_str);
            let told = (found.to_string(), found.since());
            findings.add_since(Severity::Degraded, part, found.name(), told);
        }
        self.inspect_intake(findings);
    }

    fn inspect_intake(&self, findings: &mut Findings) {
        let ingress = self.ingress();
        if !ingress.is_open() {
            findings.add(Severity::NotReady, "runtime", "closed", "publishing is refused");
        }
        if let Some((since, why)) = ingress.status().store_trouble.clone() {
            findings.add_since(Severity::NotReady, "store", "down", (why, since));
        }
        let damage = self.0.services.store.damage();
        if let Some(first) = damage.first() {
            let what = format!("{} damaged records were set aside, the first: {first}", damage.len());
            findings.add(Severity::Degraded, "store", "damaged", what);
        }
        for (count, max, what) in ingress.backlog() {
            if count >= max {
                let what = format!("{count} artifacts are {what}, which is the limit");
                findings.add(Severity::NotReady, "backlog", "full", what);
            }
        }
    }
}

fn silent() -> String {
    format!("no answer within {ANSWER_WITHIN:?}")
}

fn inspect_tree(tree: &Tree, now: Timestamp, findings: &mut Findings) {
    if tree.children.is_empty() {
        findings.add(Severity::NotLive, "supervisors", "ended", "the supervision tree has ended");
    }
    for part in &tree.children {
        inspect_node(part, Severity::NotReady, now, findings);
        // One agent that is down leaves the others working; its jobs wait.
        part.children.iter().for_each(|node| inspect_node(node, Severity::Degraded, now, findings));
    }
}

fn inspect_node(node: &TreeNode, severity: Severity, now: Timestamp, findings: &mut Findings) {
    let last = node.last_exit.as_ref().map(|exit| format!(", last exit: {exit}")).unwrap_or_default();
    match node.state {
        ChildState::Alive if node.restarts == 0 => {}
        ChildState::Alive => {
            // As long as it counts against the intensity. A life that goes on for longer is as good as the
            // first.
            let Some(alive_for) = node.alive_for.filter(|alive| *alive <= INTENSITY.within) else { return };
            let told = (format!("restarts so far: {}{last}", node.restarts), now.before(alive_for));
            findings.add_since(Severity::Degraded, &node.name, "restarted", told);
        }
        ChildState::Starting | ChildState::Restarting | ChildState::Stopping => {
            findings.add(severity, &node.name, "restarting", format!("is being restarted{last}"));
        }
        ChildState::Ended => findings.add(severity, &node.name, "ended", format!("has ended{last}")),
    }
}

fn inspect_agents(
    answer: Result<Result<Vec<AgentStanding>>, tokio::time::error::Elapsed>,
    committing: Option<Timestamp>,
    findings: &mut Findings,
) {
    match answer {
        Ok(Ok(agents)) => {
            for agent in agents.iter().filter(|agent| agent.paused) {
                let what = format!("paused with {} jobs waiting", agent.queued);
                findings.add(Severity::Degraded, agent.name.as_str(), "paused", what);
            }
            for agent in &agents {
                if let Some(inputs) = agent.stuck {
                    let what = format!(
                        "the store is damaged where it would read on; {inputs} inputs wait there until it is resumed"
                    );
                    findings.add(Severity::Degraded, agent.name.as_str(), "stuck", what);
                }
            }
            for agent in &agents {
                if let Some(quarantine) = agent.quarantine {
                    let what = format!("{quarantine}; {} jobs wait", agent.queued);
                    let told = (what, quarantine.since);
                    findings.add_since(Severity::Degraded, agent.name.as_str(), "quarantined", told);
                }
            }
        }
        // It died over the question; the tree tells whether it comes back.
        Ok(Err(error)) => findings.add(Severity::NotReady, "curator", "unanswered", error.to_string()),
        Err(_) if findings.has("curator", "restarting") => {}
        // It waits for its store. A new process would wait for the same one, and would have to recover first.
        Err(_) if let Some(since) = committing => {
            let told = ("a commit is under way and does not end".to_owned(), since);
            findings.add_since(Severity::NotReady, "store", "committing", told);
        }
        Err(_) => findings.add(Severity::NotLive, "curator", "silent", silent()),
    }
}
