//! The supervision tree as it stands, for people and for drills: who lives, how often it was restarted, how
//! it ended last.
//!
//! It decides nothing; it asks the supervisors, each of which answers while its children start, stop or back
//! off.

use std::fmt;
use std::time::Duration;

use super::Volery;
use crate::error::{Cause, Result};
use crate::supervision::{ChildInfo, ChildState, Exit, Supervisor};

/// The tree of a runtime at the moment of asking. `Display` draws it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tree {
    /// The runtime's name.
    pub runtime: String,
    /// The root's children in start order.
    pub children: Vec<TreeNode>,
}

/// One actor or supervisor of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeNode {
    /// Its name among its siblings.
    pub name: String,
    /// Its present state.
    pub state: ChildState,
    /// How many of its lives were restarts.
    pub restarts: u32,
    /// How its last life that ended did so.
    pub last_exit: Option<Exit>,
    /// How long its present life has lasted; none when there is none.
    pub alive_for: Option<Duration>,
    /// Its children in start order; none for an actor.
    pub children: Vec<TreeNode>,
}

impl Volery {
    /// Tells how every actor of the supervision tree stands: `println!("{}", volery.tree().await)` draws it.
    /// Empty once the runtime has stopped. Cancel safe.
    pub async fn tree(&self) -> Tree {
        let root = self.supervisor();
        let mut children = Vec::new();
        for child in root.children().await {
            let below = match root.subtree(child.id.as_str()).await {
                Some(supervisor) => supervisor.children().await.into_iter().map(node).collect(),
                None => Vec::new(),
            };
            children.push(TreeNode { children: below, ..node(child) });
        }
        Tree { runtime: self.name().to_owned(), children }
    }

    /// Kills an actor at its next await, by its name in the [`tree`](Self::tree), as a fault would: for
    /// drills. Its supervisor does what it does after any death. Returns before that;
    /// [`Event::Life`](crate::Event::Life) tells when it happened.
    ///
    /// Nothing committed is lost. Effects of engines outside of the board may repeat, as after any death.
    ///
    /// # Errors
    /// When no actor has that name, or it is a supervisor: those end by their own rules only.
    pub async fn kill(&self, actor: &str) -> Result<()> {
        match self.supervisor_of(actor).await {
            Some(supervisor) => {
                supervisor.kill_child(actor);
                Ok(())
            }
            None => Err(Cause::NoSuchActor(actor.to_owned()).into()),
        }
    }

    /// Finds the supervisor of an actor; agents come before what shares their name.
    async fn supervisor_of(&self, actor: &str) -> Option<Supervisor> {
        let root = self.supervisor();
        let mut found = None;
        for child in root.children().await {
            let name = child.id.as_str();
            match root.subtree(name).await {
                Some(below) if has(&below, actor).await => return Some(below),
                None if name == actor => found = Some(root.clone()),
                _ => {}
            }
        }
        found
    }
}

async fn has(supervisor: &Supervisor, actor: &str) -> bool {
    supervisor.children().await.iter().any(|child| child.id.as_str() == actor)
}

fn node(child: ChildInfo) -> TreeNode {
    TreeNode {
        name: child.id.as_str().to_owned(),
        state: child.state,
        restarts: child.restarts,
        last_exit: child.last_exit,
        alive_for: child.alive_for,
        children: Vec::new(),
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.runtime)?;
        branches(f, &self.children, "")
    }
}

fn branches(f: &mut fmt::Formatter<'_>, nodes: &[TreeNode], indent: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        let last = index + 1 == nodes.len();
        write!(f, "\n{indent}{} {node}", if last { "└─" } else { "├─" })?;
        branches(f, &node.children, &format!("{indent}{}", if last { "   " } else { "│  " }))?;
    }
    Ok(())
}

impl fmt::Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            ChildState::Alive => "alive",
            ChildState::Starting => "starting",
            ChildState::Restarting => "restarting",
            ChildState::Stopping => "stopping",
            ChildState::Ended => "ended",
        };
        write!(f, "{} {state}", self.name)?;
        match (self.restarts, &self.last_exit) {
            (0, _) => Ok(()),
            (restarts, Some(exit)) => write!(f, ", restarts: {restarts}, last exit: {exit:?}"),
            (restarts, None) => write!(f, ", restarts: {restarts}"),
        }
    }
}
