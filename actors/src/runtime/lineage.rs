//! Lineage: what led to an artifact and what became of it, as a tree.
//!
//! Walks the store step by step, up to a depth and a number of artifacts; the store answers one step at a
//! time.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use volery_blackboard::store::{ClaimRecord, Lineage};
use volery_blackboard::{Artifact, ArtifactId};

use super::Volery;
use crate::error::{ErrorKind, Result};

/// Steps in each direction by default: chains of agents are seldom longer, and a person reads no longer ones.
const DEPTH_DEFAULT: usize = 16;

/// Artifacts in one tree. A burst that fans out into millions must not end in memory; nobody reads a tenth of
/// this.
const ARTIFACTS_MAX: usize = 1_000;

impl Volery {
    /// Tells where an artifact came from, what every subscription made of it, and what came of that:
    /// `if let Some(tree) = volery.lineage(id).await? { println!("{tree}") }`.
    pub fn lineage(&self, artifact: ArtifactId) -> LineageQuery {
        LineageQuery { volery: self.clone(), artifact, depth: DEPTH_DEFAULT }
    }

    /// One step each way.
    async fn lineage_of(&self, artifact: ArtifactId) -> Result<Option<Lineage>> {
        Ok(self.0.services.store.lineage(artifact).await?)
    }
}

/// A question about an artifact's lineage. Awaiting it gives the tree, or `None` when the artifact is not
/// there.
///
/// It fails when the store cannot be read, or is closed after a shutdown. Cancel safe.
#[derive(Clone, Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct LineageQuery {
    volery: Volery,
    artifact: ArtifactId,
    depth: usize,
}

impl LineageQuery {
    /// Goes this many steps up and down. Default 16; with 0 the tree has the artifact and its claims only.
    pub fn depth(self, steps: usize) -> Self {
        Self { depth: steps, ..self }
    }
}

/// The causes and the consequences of an artifact. Its `Display` is a tree. At most 1,000 artifacts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LineageTree {
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// The inputs of the job that published it, as far as the store still keeps them.
    pub causes: Vec<CauseTree>,
    /// Its outcomes, by subscription.
    pub claims: Vec<ClaimTree>,
    /// Whether there is more than the tree shows: it was cut at its depth or at its size.
    pub cut: bool,
}

/// An artifact that led to another, and what led to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CauseTree {
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// Its causes.
    pub causes: Vec<CauseTree>,
}

/// The outcome of an artifact for one subscription, and the artifacts that its job published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimTree {
    /// The subscription, the outcome with its reason, and the job.
    pub claim: ClaimRecord,
    /// The artifacts that the job published, as far as the store still keeps them.
    pub published: Vec<ResultTree>,
}

/// An artifact that came of another, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResultTree {
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// Its outcomes, by subscription.
    pub claims: Vec<ClaimTree>,
}

impl IntoFuture for LineageQuery {
    type Output = Result<Option<LineageTree>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Some(found) = self.volery.lineage_of(self.artifact).await? else { return Ok(None) };
            let mut walk = Walk { volery: &self.volery, left: ARTIFACTS_MAX, cut: false };
            let causes = walk.causes(found.causes, self.depth).await?;
            let claims = walk.claims(found.claims, self.depth).await?;
            Ok(Some(LineageTree { artifact: found.artifact, causes, claims, cut: walk.cut }))
        })
    }
}

/// A walk through the store, with what it may still take.
struct Walk<'a> {
    volery: &'a Volery,
    left: usize,
    cut: bool,
}

type Steps<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>>> + Send + 'a>>;

impl Walk<'_> {
    /// Takes one more artifact, if there may be one.
    fn take_one(&mut self) -> bool {
        self.cut |= self.left == 0;
        let takes = self.left > 0;
        self.left = self.left.saturating_sub(1);
        takes
    }

    fn causes(&mut self, causes: Vec<Arc<Artifact>>, depth: usize) -> Steps<'_, CauseTree> {
        Box::pin(async move {
            if depth == 0 {
                self.cut |= !causes.is_empty();
                return Ok(Vec::new());
            }
            let mut trees = Vec::new();
            for artifact in causes {
                if !self.take_one() {
                    break;
                }
                let found = self.volery.lineage_of(artifact.id()).await?;
                let further = found.map(|found| found.causes).unwrap_or_default();
                let causes = self.causes(further, depth - 1).await?;
                trees.push(CauseTree { artifact, causes });
            }
            Ok(trees)
        })
    }

    fn claims(&mut self, claims: Vec<ClaimRecord>, depth: usize) -> Steps<'_, ClaimTree> {
        Box::pin(async move {
            let mut trees = Vec::with_capacity(claims.len());
            for claim in claims {
                let published = self.published(&claim, depth).await?;
                trees.push(ClaimTree { claim, published });
            }
            Ok(trees)
        })
    }

    async fn published(&mut self, claim: &ClaimRecord, depth: usize) -> Result<Vec<ResultTree>> {
        if depth == 0 {
            self.cut |= !claim.published.is_empty();
            return Ok(Vec::new());
        }
        let mut trees = Vec::new();
        for offset in &claim.published {
            if !self.take_one() {
                break;
            }
            let artifact = match self.volery.read(&[*offset]).await {
                Ok(read) => read.first().cloned(),
                // Retention removed it.
                Err(error) if error.kind() == ErrorKind::FixInput => None,
                Err(error) => return Err(error),
            };
            let Some(artifact) = artifact else { continue };
            let found = self.volery.lineage_of(artifact.id()).await?;
            let claims = self.claims(found.map(|found| found.claims).unwrap_or_default(), depth - 1).await?;
            trees.push(ResultTree { artifact, claims });
        }
        Ok(trees)
    }
}

/// A line with the lines below it.
struct Line {
    text: String,
    below: Vec<Line>,
}

fn artifact_text(artifact: &Artifact) -> String {
    format!("{} #{} by {}", artifact.kind().name(), artifact.offset(), artifact.producer())
}

fn claim_text(claim: &ClaimRecord) -> String {
    let how = match &claim.outcome {
        None => "outstanding".to_owned(),
        Some(outcome) => outcome.to_string(),
    };
    format!("{}: {how}", claim.subscription)
}

fn cause_lines(causes: &[CauseTree]) -> Vec<Line> {
    let line = |cause: &CauseTree| Line {
        text: format!("caused by {}", artifact_text(&cause.artifact)),
        below: cause_lines(&cause.causes),
    };
    causes.iter().map(line).collect()
}

fn claim_lines(claims: &[ClaimTree]) -> Vec<Line> {
    let result = |result: &ResultTree| Line {
        text: artifact_text(&result.artifact),
        below: claim_lines(&result.claims),
    };
    let line = |tree: &ClaimTree| Line {
        text: claim_text(&tree.claim),
        below: tree.published.iter().map(result).collect(),
    };
    claims.iter().map(line).collect()
}

fn draw(f: &mut fmt::Formatter<'_>, lines: &[Line], indent: &str) -> fmt::Result {
    for (index, line) in lines.iter().enumerate() {
        let (mark, further) = if index + 1 == lines.len() { ("└─", "   ") } else { ("├─", "│  ") };
        write!(f, "\n{indent}{mark} {}", line.text)?;
        draw(f, &line.below, &format!("{indent}{further}"))?;
    }
    Ok(())
}

impl fmt::Display for LineageTree {
    /// Draws causes first, then what became of the artifact, each with what is behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&artifact_text(&self.artifact))?;
        let mut lines = cause_lines(&self.causes);
        lines.extend(claim_lines(&self.claims));
        if self.cut {
            lines.push(Line { text: "… and more".to_owned(), below: Vec::new() });
        }
        draw(f, &lines, "")
    }
}
