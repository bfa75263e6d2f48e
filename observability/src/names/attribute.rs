//! The attributes of spans, links and events, as data.
//!
//! Ids stand in attributes only; names of spans and labels of metrics are of low cardinality.

/// One attribute: what a span, a link or an event may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute {
    /// Its key.
    pub key: &'static str,
    /// `text`, `texts` (a list), `integer` or `yes/no`.
    pub value: &'static str,
    /// Its meaning, in one line.
    pub says: &'static str,
}

/// Declares a constant per key, and the table of all of them.
macro_rules! attributes {
    ($($name:ident = $key:literal, $value:literal, $says:literal;)*) => {
        $(#[doc = $says] pub const $name: &str = $key;)*

        /// Every attribute, in the order of the documentation.
        pub const ALL: &[Attribute] = &[$(Attribute { key: $key, value: $value, says: $says }),*];
    };
}

attributes! {
    RUN_ID = "volery.run.id", "text", "The run; on every span of a run.";
    WORKFLOW = "volery.workflow.name", "text", "The run's workflow; on every span of a run.";
    TENANT = "volery.tenant", "text", "The tenant, if the run has one; on every span of a run.";
    SESSION = "session.id", "text", "The session by which the service groups runs, if it has one.";
    RUN_ATTEMPT = "volery.run.attempt", "integer", "1 at first, one more each time that the run goes on after a restart of the process.";
    RUN_PART = "volery.run.part", "integer", "Which trace of the run this is, from 1; a big run has several.";
    RUN_STATUS = "volery.run.status", "text", "completed, failed, cancelled, interrupted, rolled_over or abandoned.";
    RUN_PUBLISHED = "volery.artifacts.published", "integer", "Artifacts of the run, all parts together; on the last part.";
    RUN_JOBS_OK = "volery.jobs.ok", "integer", "Jobs of the run that succeeded; on the last part.";
    RUN_JOBS_FAILED = "volery.jobs.failed", "integer", "Jobs of the run that died; on the last part.";
    RUN_JOBS_CANCELLED = "volery.jobs.cancelled", "integer", "Jobs of the run that were cancelled; on the last part.";
    SPANS_SUPPRESSED = "volery.spans.suppressed", "integer", "Spans of this part that the level of detail, or a limit, left out.";
    SAMPLING = "volery.sampling", "text", "always or copied: why the sampler was not asked for a share.";
    MESSAGING_SYSTEM = "messaging.system", "text", "volery.";
    MESSAGING_OPERATION_NAME = "messaging.operation.name", "text", "send or process.";
    MESSAGING_OPERATION_TYPE = "messaging.operation.type", "text", "send or process.";
    MESSAGING_DESTINATION = "messaging.destination.name", "text", "The kind of the artifact.";
    MESSAGING_MESSAGE_ID = "messaging.message.id", "text", "The artifact's id.";
    MESSAGING_BODY_SIZE = "messaging.message.body.size", "integer", "The payload's size in bytes, where it is known.";
    MESSAGING_BATCH_COUNT = "messaging.batch.message_count", "integer", "Inputs of a batch.";
    DEDUP_KEY_HASH = "volery.dedup.key_hash", "text", "A hash of the idempotency key; the key itself is never recorded.";
    PAYLOAD = "volery.payload", "text", "The payload, if its kind is recorded: redacted, then cut.";
    DEAD_LETTER_REASON = "volery.dead_letter.reason", "text", "Why the job died.";
    AGENT = "volery.agent.name", "text", "The agent.";
    JOB_ID = "volery.job.id", "text", "The job.";
    INPUT_IDS = "volery.input.ids", "texts", "The artifacts that the job takes, 16 at most.";
    INPUT_KINDS = "volery.input.kinds", "texts", "Their kinds, each once.";
    INPUT_COUNT = "volery.input.count", "integer", "How many artifacts the job takes.";
    TRIGGER = "volery.trigger", "text", "single, and, join, batch or schedule.";
    OUTCOME = "volery.outcome", "text", "ok, failed, panicked, timed_out, cancelled, dead, discarded or abandoned.";
    REASON = "volery.reason", "text", "Why, where the outcome alone does not say it.";
    WAIT_REASON = "volery.wait.reason", "text", "partition, concurrency, paused, quarantine, store, alone or queue; of a back-off, backoff.";
    ATTEMPT = "volery.attempt", "integer", "Which attempt of the job, from 1.";
    RESTARTS = "volery.agent.restarts", "integer", "Restarts of the agent that the attempt began after.";
    ENGINE = "volery.engine", "text", "The engine that was called.";
    ERROR_TYPE = "error.type", "text", "The error's class: what it says of itself, or the path of its type; panic and timeout are classes as well.";
    GEN_AI_OPERATION = "gen_ai.operation.name", "text", "invoke_workflow, invoke_agent, chat, text_completion, generate_content, embeddings or execute_tool; only where a model or a tool is called.";
    GEN_AI_WORKFLOW = "gen_ai.workflow.name", "text", "The workflow; only if an agent called a model in it.";
    GEN_AI_AGENT = "gen_ai.agent.name", "text", "The agent; only if it says that it calls models, or called one.";
    GEN_AI_PROVIDER = "gen_ai.provider.name", "text", "The provider of the model.";
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model", "text", "The model that was asked for.";
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model", "text", "The model that answered.";
    GEN_AI_RESPONSE_ID = "gen_ai.response.id", "text", "The provider's id of the answer.";
    GEN_AI_FINISH_REASONS = "gen_ai.response.finish_reasons", "texts", "Why the model stopped, for each answer.";
    GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens", "integer", "Tokens of the question, cached ones included.";
    GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens", "integer", "Tokens of the answer.";
    GEN_AI_CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens", "integer", "Tokens of the question that the provider had in its cache.";
    GEN_AI_TOOL = "gen_ai.tool.name", "text", "The tool.";
    GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id", "text", "The id by which the model asked for the call.";
    SERVER_ADDRESS = "server.address", "text", "The host that was called.";
    SERVER_PORT = "server.port", "integer", "Its port.";
    PEER_SERVICE = "peer.service", "text", "Whom a call went to, for maps of services: the provider, or the tool.";
    BATCH_CLOSE_REASON = "volery.batch.close_reason", "text", "size, weight, deadline, end_of_input or shutdown.";
    BATCH_KEY = "volery.batch.key", "text", "The key, if batches are kept by key.";
    JOIN_KEY = "volery.join.key", "text", "The key that the inputs share.";
    JOIN_RESULT = "volery.join.result", "text", "matched, expired or partial.";
    JOIN_MISSING = "volery.join.missing", "texts", "The kinds that did not come.";
    DB_SYSTEM = "db.system.name", "text", "The store's database.";
    DB_OPERATION = "db.operation.name", "text", "commit.";
    DB_BATCH_SIZE = "db.operation.batch.size", "integer", "Changes that were committed together.";
    RUNTIME = "volery.runtime.name", "text", "The runtime that is stopping.";
    PHASE = "volery.phase", "text", "The phase of the shutdown.";
    PHASE_STATUS = "volery.phase.status", "text", "How the phase ended.";
    LINK_ROLE = "volery.link.role", "text", "The meaning of a link: input, batch, join, resumed_from, rolled_over_from.";
    LINKS_DROPPED = "volery.links.dropped", "integer", "Links above the limit, which are not there.";
    EXCEPTION_TYPE = "exception.type", "text", "The class of one error in the chain of causes.";
    EXCEPTION_MESSAGE = "exception.message", "text", "Its message.";
    RETRY_DELAY_MS = "volery.retry.delay_ms", "integer", "The wait before the next attempt, in milliseconds.";
    RESTART_COUNT = "volery.restart.count", "integer", "Restarts so far.";
    RESTART_STRATEGY = "volery.supervisor.strategy", "text", "one_for_one, rest_for_one or one_for_all.";
    RESTART_BACKOFF_MS = "volery.restart.backoff_ms", "integer", "The wait before the restart, in milliseconds.";
    RESTART_CAUSE = "volery.restart.cause", "text", "How the life before ended.";
    CANCEL_BY = "volery.cancel.by", "text", "The cause: run, caller, deadline, shutdown, restart, or released for a job that was handed back.";
    DEADLINE_CLOCK = "volery.deadline.clock", "text", "total, idle or queue.";
    NEXT_TRACE = "volery.next.trace_id", "text", "The trace in which it goes on.";
    STEP = "volery.step", "text", "The step of an attempt around the engine.";
    DURATION_US = "volery.duration_us", "integer", "How long a step took that is too short for a span, in microseconds.";
}
