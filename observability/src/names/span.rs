//! The spans of a run, as data: name, kind, place in the tree, attributes.
//!
//! Names hold a workflow, a kind, an agent or an engine and never an id. The tree is flat on purpose: jobs
//! are children of the run in the order of time and *link* to the publishes that caused them. Hung below a
//! publish, which ends long before its jobs do, they would spoil the critical path of the trace.

use super::attribute;

/// One span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// Its name; `{…}` stands for a name from the service.
    pub name: &'static str,
    /// `internal`, `producer`, `consumer` or `client`.
    pub kind: &'static str,
    /// The name of the parent; empty for a root.
    pub parent: &'static str,
    /// The least level of detail that has it: `run`, `job` or `phase`.
    pub detail: &'static str,
    /// The keys of its attributes, besides those of every span of a run.
    pub attributes: &'static [&'static str],
    /// From when to when it lasts, and what it links to.
    pub says: &'static str,
}

/// Declares the table.
macro_rules! spans {
    ($($name:literal, $kind:literal, under $parent:literal, at $detail:literal, [$($attribute:ident),*], $says:literal;)*) => {
        /// Every span, in the order of the documentation.
        pub const ALL: &[Span] = &[$(Span {
            name: $name,
            kind: $kind,
            parent: $parent,
            detail: $detail,
            attributes: &[$(attribute::$attribute),*],
            says: $says,
        }),*];
    };
}

spans! {
    "run {workflow}", "internal", under "", at "run",
        [SESSION, RUN_ATTEMPT, RUN_PART, RUN_STATUS, RUN_PUBLISHED, RUN_JOBS_OK, RUN_JOBS_FAILED, RUN_JOBS_CANCELLED, SPANS_SUPPRESSED, SAMPLING, GEN_AI_OPERATION, GEN_AI_WORKFLOW],
        "From the first publish until the run settles. Parts after the first end in `(part k)`.";
    "run started", "internal", under "run {workflow}", at "run", [RUN_PART, LINK_ROLE],
        "No time: it makes a run findable while its root is open. Links to the part before.";
    "resume run", "internal", under "run {workflow}", at "run", [RUN_ATTEMPT, LINK_ROLE],
        "No time: the first child after a restart of the process. Links to the root of the trace that was cut.";
    "publish {kind}", "producer", under "run {workflow}, attempt {agent} or job {agent}", at "job",
        [MESSAGING_SYSTEM, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, MESSAGING_DESTINATION, MESSAGING_MESSAGE_ID, MESSAGING_BODY_SIZE, DEDUP_KEY_HASH, PAYLOAD],
        "From the call until the commit. An artifact carries its place.";
    "store.commit", "client", under "publish {kind} or job {agent}", at "phase", [DB_SYSTEM, DB_OPERATION, DB_BATCH_SIZE, ERROR_TYPE],
        "One commit; only if it took more than 1 ms or failed.";
    "job {agent}", "internal", under "run {workflow}", at "job",
        [AGENT, JOB_ID, INPUT_IDS, INPUT_KINDS, INPUT_COUNT, TRIGGER, OUTCOME, REASON, ERROR_TYPE, LINK_ROLE, LINKS_DROPPED],
        "From the complete set of inputs until the job's end. Links to the publish of each input, or to the batch or join that gave them.";
    "wait {agent}", "internal", under "job {agent}", at "phase", [AGENT, WAIT_REASON],
        "From the complete set of inputs until the attempt begins; only if more than 1 ms.";
    "attempt {agent}", "consumer", under "job {agent}", at "job",
        [AGENT, MESSAGING_SYSTEM, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, ATTEMPT, RESTARTS, OUTCOME, REASON, ERROR_TYPE, GEN_AI_OPERATION, GEN_AI_AGENT],
        "One try, its commit included.";
    "read inputs", "internal", under "attempt {agent}", at "phase", [AGENT, STEP],
        "The store fetches the inputs; only if more than 1 ms, otherwise an event `step`.";
    "make engine", "internal", under "attempt {agent}", at "phase", [AGENT, STEP],
        "The factory makes the engine, for the first attempt that needs it; only if more than 1 ms, otherwise an event `step`.";
    "evaluate {engine}", "internal", under "attempt {agent}", at "phase", [AGENT, ENGINE, OUTCOME, REASON, ERROR_TYPE],
        "The engine's call. Spans of the service's own are its children.";
    "{operation} {model}", "client", under "evaluate {engine}", at "phase",
        [AGENT, GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_REQUEST_MODEL, GEN_AI_RESPONSE_MODEL, GEN_AI_RESPONSE_ID, GEN_AI_FINISH_REASONS, GEN_AI_INPUT_TOKENS, GEN_AI_OUTPUT_TOKENS, GEN_AI_CACHE_READ_TOKENS, SERVER_ADDRESS, SERVER_PORT, PEER_SERVICE, OUTCOME, REASON, ERROR_TYPE],
        "A call of a model, such as `chat small`; below a span of the service if it is made in one. Never what was asked or answered.";
    "execute_tool {tool}", "internal", under "evaluate {engine}", at "phase",
        [AGENT, GEN_AI_OPERATION, GEN_AI_TOOL, GEN_AI_TOOL_CALL_ID, SERVER_ADDRESS, SERVER_PORT, PEER_SERVICE, OUTCOME, REASON, ERROR_TYPE],
        "A call of a tool; a client span if the tool is on another host.";
    "check outputs", "internal", under "attempt {agent}", at "phase", [AGENT, STEP],
        "Outputs become artifacts, and are matched; only if more than 1 ms, otherwise an event `step`.";
    "fallback {engine}", "internal", under "attempt {agent}", at "phase", [AGENT, ENGINE, OUTCOME, REASON, ERROR_TYPE],
        "The call of the engine's fallback, when the job would be given up.";
    "backoff", "internal", under "job {agent}", at "job", [AGENT, ATTEMPT, WAIT_REASON],
        "Between two attempts.";
    "batch {agent}", "internal", under "run {workflow} or shared {agent}", at "job",
        [AGENT, MESSAGING_BATCH_COUNT, BATCH_CLOSE_REASON, BATCH_KEY, LINK_ROLE, LINKS_DROPPED],
        "From the first input until the batch closes. Links to each input.";
    "join {agent}", "internal", under "run {workflow} or shared {agent}", at "job",
        [AGENT, JOIN_KEY, JOIN_RESULT, JOIN_MISSING, LINK_ROLE, LINKS_DROPPED],
        "From the first input until the match, or the expiry. Links to each input.";
    "shared {agent}", "internal", under "", at "job", [AGENT, RUN_STATUS, RUN_PART, SPANS_SUPPRESSED, SAMPLING],
        "A job over several runs: a trace of its own. The runs have an event `handed_to`.";
    "dead_letter {kind}", "producer", under "run {workflow}", at "run",
        [MESSAGING_SYSTEM, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, MESSAGING_DESTINATION, MESSAGING_MESSAGE_ID, DEAD_LETTER_REASON, AGENT],
        "A job that died, with its commit.";
    "volery shutdown", "internal", under "", at "run", [RUNTIME],
        "A shutdown: a trace of its own, of the service and not of a run.";
    "shutdown {phase}", "internal", under "volery shutdown", at "run", [RUNTIME, PHASE, PHASE_STATUS],
        "One phase.";
}
