//! Calls of models and tools inside an engine: a span below the engine's, and numbers on the meter.
//!
//! The names are those of the GenAI conventions (`names::CONVENTIONS`). Prompts and answers are never
//! recorded: there is nothing here that takes them. In a run that is not recorded a call has its numbers and
//! no span; without a meter and a trace it is nothing, and allocates nothing. Nothing here reads a clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use super::ending::Ending;
use super::nested::NestedSpan;
use super::root::{Draft, Recorded, Root};
use super::scope::Scope;
use super::settings::Detail;
use super::text::{count, text, texts};
use crate::metrics::{CallEnded, Metrics};
use crate::names::attribute;

/// A call of a model, as it is asked for. Names are of low cardinality: they become labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call is opened with a context"]
pub struct ModelCall<'a> {
    operation: &'a str,
    provider: &'a str,
    model: &'a str,
    server: Option<Server<'a>>,
}

/// A call of a tool, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call is opened with a context"]
pub struct ToolCall<'a> {
    tool: &'a str,
    id: Option<&'a str>,
    server: Option<Server<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Server<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> ModelCall<'a> {
    /// A chat completion by a model of a provider, such as `openai`, `anthropic`, `aws.bedrock` or `ollama`.
    pub const fn chat(provider: &'a str, model: &'a str) -> Self {
        Self::operation("chat", provider, model)
    }

    /// A completion of a text.
    pub const fn text_completion(provider: &'a str, model: &'a str) -> Self {
        Self::operation("text_completion", provider, model)
    }

    /// A multimodal generation.
    pub const fn generate_content(provider: &'a str, model: &'a str) -> Self {
        Self::operation("generate_content", provider, model)
    }

    /// Embeddings of texts.
    pub const fn embeddings(provider: &'a str, model: &'a str) -> Self {
        Self::operation("embeddings", provider, model)
    }

    /// Another operation, by its name in the conventions.
    pub const fn operation(operation: &'a str, provider: &'a str, model: &'a str) -> Self {
        Self { operation, provider, model, server: None }
    }

    /// Names the host that is called.
    pub const fn server(mut self, host: &'a str, port: u16) -> Self {
        self.server = Some(Server { host, port });
        self
    }
}

impl<'a> ToolCall<'a> {
    /// A call of a tool by its name.
    pub const fn new(tool: &'a str) -> Self {
        Self { tool, id: None, server: None }
    }

    /// Names the id by which the model asked for the call.
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// Names the host that the tool is on; its span is a client's then.
    pub const fn server(mut self, host: &'a str, port: u16) -> Self {
        self.server = Some(Server { host, port });
        self
    }
}

impl<'a> From<&'a str> for ToolCall<'a> {
    fn from(tool: &'a str) -> Self {
        Self::new(tool)
    }
}

/// Where an engine runs, for the calls it makes.
pub(crate) struct Here {
    pub(crate) root: Arc<Root>,
    /// The nearest span of the engine's that is recorded.
    pub(crate) nested: Arc<NestedSpan>,
    /// The attempt's span, which outlives the engine's.
    pub(crate) attempt: Option<Arc<NestedSpan>>,
    pub(crate) agent: Arc<str>,
    pub(crate) detail: Detail,
    /// Whether the attempt says that it calls a model.
    pub(crate) models: AtomicBool,
}

impl Here {
    /// Says on the attempt and on the run, each once, that a model is called: nobody has to declare it.
    fn calls_model(&self) {
        self.root.calls_model();
        if let Some(attempt) = self.attempt.as_ref().filter(|_| !self.models.swap(true, Ordering::Relaxed)) {
            attempt.set(KeyValue::new(attribute::GEN_AI_OPERATION, "invoke_agent"));
            attempt.set(text(attribute::GEN_AI_AGENT, &self.agent));
        }
    }

    /// Begins a span below the engine's, or below a span of the service's own that is current in it.
    fn child(&self, own: &Context, draft: Draft) -> Option<Recorded> {
        if self.detail < Detail::Phase {
            self.root.suppress();
            return None;
        }
        // A fallback is called when the engine's span has ended.
        let holder = self.attempt.as_ref().filter(|_| self.nested.is_ending()).unwrap_or(&self.nested);
        let engine = self.nested.span_context();
        let current = Context::current();
        let place = current.span().span_context().clone();
        if place.trace_id() == engine.trace_id() && place.span_id() != engine.span_id() {
            return self.root.child_at(holder, &current, draft);
        }
        let above = own.with_remote_span_context(holder.span_context());
        self.root.child_at(holder, &above, draft)
    }
}

impl Root {
    /// Says on the root, once, that a model is called in the run.
    pub(crate) fn calls_model(&self) {
        let workflow = self.facts.base.iter().find(|base| base.key.as_str() == attribute::WORKFLOW);
        if let Some(workflow) = workflow.filter(|_| !self.models.swap(true, Ordering::Relaxed)) {
            self.span.set(KeyValue::new(attribute::GEN_AI_OPERATION, "invoke_workflow"));
            self.span.set(KeyValue::new(attribute::GEN_AI_WORKFLOW, workflow.value.clone()));
        }
    }
}

impl Scope {
    /// Opens a call of a model that the code here makes; the time is asked for if the call is recorded.
    pub fn model_call(
        &self,
        call: &ModelCall<'_>,
        metrics: &Metrics,
        start: impl FnOnce() -> SystemTime,
    ) -> OpenCall {
        if let Some(here) = self.here() {
            here.calls_model();
        }
        self.open(metrics, start, || Asked {
            operation: call.operation.into(),
            provider: call.provider.into(),
            model: call.model.into(),
            tool: Box::default(),
            tool_call: None,
            server: call.server.map(|server| (server.host.into(), server.port)),
        })
    }

    /// Opens a call of a tool that the code here makes.
    pub fn tool_call(
        &self,
        call: &ToolCall<'_>,
        metrics: &Metrics,
        start: impl FnOnce() -> SystemTime,
    ) -> OpenCall {
        self.open(metrics, start, || Asked {
            operation: "execute_tool".into(),
            provider: Box::default(),
            model: Box::default(),
            tool: call.tool.into(),
            tool_call: call.id.map(Into::into),
            server: call.server.map(|server| (server.host.into(), server.port)),
        })
    }

    fn open(
        &self,
        metrics: &Metrics,
        start: impl FnOnce() -> SystemTime,
        asked: impl FnOnce() -> Asked,
    ) -> OpenCall {
        let Self { context, here } = self;
        if here.is_none() && !metrics.is_on() {
            return OpenCall(None);
        }
        let (asked, start) = (asked(), start());
        let own = context.as_ref();
        let span =
            own.zip(here.as_ref()).and_then(|(own, here)| here.child(own, asked.draft(&here.agent, start)));
        let context = span.as_ref().map(|span| span.nested.context().clone());
        OpenCall(Some(Box::new(Open {
            scope: Scope { context, here: None },
            span,
            metrics: metrics.clone(),
            asked,
            start,
            answer: Vec::new(),
            tokens_input: None,
            tokens_output: None,
        })))
    }
}

/// The labels of a call; a label that is empty is absent.
struct Asked {
    operation: Box<str>,
    provider: Box<str>,
    model: Box<str>,
    tool: Box<str>,
    tool_call: Option<Box<str>>,
    server: Option<(Box<str>, u16)>,
}

impl Asked {
    fn draft(&self, agent: &str, start: SystemTime) -> Draft {
        let is_tool = !self.tool.is_empty();
        let of = if is_tool { &self.tool } else { &self.model };
        let mut draft = Draft::internal(format!("{} {of}", self.operation), start)
            .with(text(attribute::AGENT, agent))
            .with(text(attribute::GEN_AI_OPERATION, &self.operation));
        if is_tool {
            draft = draft.with(text(attribute::GEN_AI_TOOL, &self.tool));
            draft
                .attributes
                .extend(self.tool_call.as_ref().map(|id| text(attribute::GEN_AI_TOOL_CALL_ID, id)));
        } else {
            draft = draft
                .with(text(attribute::GEN_AI_PROVIDER, &self.provider))
                .with(text(attribute::GEN_AI_REQUEST_MODEL, &self.model));
        }
        if let Some((host, port)) = &self.server {
            draft =
                draft.with(text(attribute::SERVER_ADDRESS, host)).with(count(attribute::SERVER_PORT, *port));
        }
        if !is_tool || self.server.is_some() {
            let peer = if is_tool { &self.tool } else { &self.provider };
            draft.kind = SpanKind::Client;
            draft = draft.with(text(attribute::PEER_SERVICE, peer));
        }
        draft
    }
}

/// A call that is open. Dropped without an end, its span ends as abandoned and it counts nowhere.
#[must_use = "a call ends when its answer is there"]
pub struct OpenCall(Option<Box<Open>>);

struct Open {
    scope: Scope,
    span: Option<Recorded>,
    metrics: Metrics,
    asked: Asked,
    start: SystemTime,
    answer: Vec<KeyValue>,
    tokens_input: Option<u64>,
    tokens_output: Option<u64>,
}

impl OpenCall {
    /// Tells whether the call is recorded.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where the call's own code runs: spans of the service become children of the call. `None` when the call
    /// has no span.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        self.0.as_ref().filter(|open| open.span.is_some()).map(|open| open.scope.clone())
    }

    /// Names the model that answered.
    pub fn response_model(&mut self, model: &str) {
        self.answer(|| text(attribute::GEN_AI_RESPONSE_MODEL, model));
    }

    /// Names the answer, by the provider's id.
    pub fn response_id(&mut self, id: &str) {
        self.answer(|| text(attribute::GEN_AI_RESPONSE_ID, id));
    }

    /// Says why the model stopped, for each answer.
    pub fn finish_reasons(&mut self, reasons: impl IntoIterator<Item = impl AsRef<str>>) {
        self.answer(|| texts(attribute::GEN_AI_FINISH_REASONS, reasons));
    }

    /// Tokens of the question, cached ones included.
    pub fn tokens_input(&mut self, tokens: u64) {
        if let Some(open) = &mut self.0 {
            open.tokens_input = Some(tokens);
        }
        self.answer(|| count(attribute::GEN_AI_INPUT_TOKENS, tokens));
    }

    /// Tokens of the answer.
    pub fn tokens_output(&mut self, tokens: u64) {
        if let Some(open) = &mut self.0 {
            open.tokens_output = Some(tokens);
        }
        self.answer(|| count(attribute::GEN_AI_OUTPUT_TOKENS, tokens));
    }

    /// Tokens of the question that were in the provider's cache. On the span only.
    pub fn tokens_cached(&mut self, tokens: u64) {
        self.answer(|| count(attribute::GEN_AI_CACHE_READ_TOKENS, tokens));
    }

    /// Ends the call. On the metrics a call that was cancelled has the error type `cancelled`.
    pub fn end(self, ending: &Ending<'_>, at: SystemTime) {
        let Some(open) = self.0 else { return };
        let cancelled = matches!(ending, Ending::Cancelled(_)).then_some("cancelled");
        let asked = &open.asked;
        open.metrics.call_ended(&CallEnded {
            operation: &asked.operation,
            provider: &asked.provider,
            model: &asked.model,
            tool: &asked.tool,
            error: ending.error_type().or(cancelled),
            duration: at.duration_since(open.start).unwrap_or_default(),
            tokens_input: open.tokens_input,
            tokens_output: open.tokens_output,
        });
        if let Some(span) = &open.span {
            open.answer.into_iter().for_each(|answer| span.nested.set(answer));
            ending.close(&span.nested, at);
        }
    }

    /// Takes note of an attribute; a later one of its key replaces it.
    fn answer(&mut self, attribute: impl FnOnce() -> KeyValue) {
        let Some(open) = self.0.as_mut().filter(|open| open.span.is_some()) else { return };
        let attribute = attribute();
        open.answer.retain(|known| known.key != attribute.key);
        open.answer.push(attribute);
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCall").field("on", &self.is_on()).finish()
    }
}
