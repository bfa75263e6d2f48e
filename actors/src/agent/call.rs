//! Calls of models and tools, as engines make them: guards that end with their call, on the runtime's clock.
//!
//! `volery_observability::trace` decides what is recorded, and by which names. Nothing here takes prompts or
//! answers.

use std::any::type_name;
use std::fmt::{self, Display};
use std::future::Future;
use std::thread;

use volery_blackboard::Timestamp;
use volery_observability::trace::{Ending, Failure, ModelCall, OpenCall, Scope, ToolCall};

use super::context::Context;

impl Context {
    /// Opens a call of a model: a span below the engine's, or below the span of the service's own that is
    /// current, and its duration and tokens on the meter. The attempt and the run say from then on that they
    /// call a model.
    ///
    /// Without telemetry it is nothing and allocates nothing; in a run that is not recorded there are the
    /// numbers alone. Prompts and answers are never recorded.
    ///
    /// ```
    /// use volery_actors::{Context, Fault, ModelCall};
    /// # struct Answer { text: String, model: String, id: String, stopped: String, asked: u64, answered: u64 }
    /// # async fn ask(_: &str) -> Result<Answer, std::io::Error> {
    /// #     Ok(Answer { text: "3".into(), model: "m".into(), id: "1".into(), stopped: "stop".into(), asked: 9, answered: 1 })
    /// # }
    ///
    /// async fn rate(text: String, context: Context) -> Result<String, Fault> {
    ///     let mut call = context.model_call(ModelCall::chat("openai", "small").server("api.openai.com", 443));
    ///     let answer = call.run(ask(&text)).await?; // an error ends the call as failed
    ///     call.response_model(&answer.model).response_id(&answer.id).finish_reasons([&answer.stopped]);
    ///     call.tokens_input(answer.asked).tokens_output(answer.answered);
    ///     Ok(answer.text)
    /// }
    /// # drop(rate);
    /// ```
    pub fn model_call(&self, call: ModelCall<'_>) -> OpenModelCall {
        let opened = self.scope().model_call(&call, self.metrics(), || self.now().into());
        OpenModelCall(CallGuard::new(self, opened))
    }

    /// Opens a call of a tool, by its name or with more about it; the rest is as for
    /// [`model_call`](Self::model_call).
    pub fn tool_call<'a>(&self, call: impl Into<ToolCall<'a>>) -> OpenToolCall {
        let opened = self.scope().tool_call(&call.into(), self.metrics(), || self.now().into());
        OpenToolCall(CallGuard::new(self, opened))
    }
}

/// A call of a model that is open; see [`Context::model_call`].
///
/// It ends when it is dropped: as [`run`](Self::run) ended, and as of then; as cancelled if nothing ran to
/// its end; as panicked while its thread unwinds.
#[derive(Debug)]
#[must_use = "dropped at once, the call was cancelled"]
pub struct OpenModelCall(CallGuard);

/// A call of a tool that is open; see [`Context::tool_call`]. It ends like an [`OpenModelCall`].
#[derive(Debug)]
#[must_use = "dropped at once, the call was cancelled"]
pub struct OpenToolCall(CallGuard);

/// The methods of both kinds of call.
macro_rules! ends {
    ($call:ident) => {
        impl $call {
            /// Runs the call itself: spans that the service opens in it are children of the call, and how it
            /// ends is how the call ends. Of an error the type is recorded as `error.type`, and the text; see
            /// [`fail`](Self::fail) for a better type. For a stream: all of its reading. Run again, the last
            /// time counts.
            ///
            /// # Errors
            /// Those of the future.
            ///
            /// Cancel safety: that of the future; the call is cancelled then, unless it is run again.
            pub async fn run<T, E: Display>(
                &mut self,
                future: impl Future<Output = Result<T, E>>,
            ) -> Result<T, E> {
                self.0.end = None;
                let result = self.0.scope().run(future).await;
                self.0.record_end(&result);
                result
            }

            /// Runs the call itself on this thread, for engines that block; the rest is as for
            /// [`run`](Self::run).
            ///
            /// # Errors
            /// Those of the function.
            pub fn run_blocking<T, E: Display>(
                &mut self,
                function: impl FnOnce() -> Result<T, E>,
            ) -> Result<T, E> {
                self.0.end = None;
                let result = self.0.scope().call(function);
                self.0.record_end(&result);
                result
            }

            /// Ends the call now, as one that succeeded. The note of `run` is replaced.
            pub fn end(mut self) {
                self.0.end = Some((CallEnd::Ok, self.0.context.now()));
            }

            /// Ends the call now, as failed. The class becomes `error.type`: of low cardinality, such as an
            /// HTTP status or the provider's name of the error. The note of `run` is replaced, but for its
            /// time.
            pub fn fail(mut self, class: &str, error: &dyn Display) {
                let at = self.0.end.take().map_or_else(|| self.0.context.now(), |(_, at)| at);
                if self.0.is_on() {
                    self.0.end = Some((CallEnd::Failed(class.to_owned(), error.to_string()), at));
                }
            }

            /// Returns the W3C `traceparent` of the call, for the service that is called. That of the engine
            /// when the call has no span; `None` when there is no trace.
            #[must_use]
            pub fn traceparent(&self) -> Option<String> {
                let own =
                    self.0.call.as_ref().and_then(OpenCall::scope).and_then(|scope| scope.propagation());
                own.map(|carried| carried.traceparent()).or_else(|| self.0.context.traceparent())
            }

            /// Tells whether the call is recorded: a costly fact need not be found out otherwise.
            #[must_use]
            pub fn is_on(&self) -> bool {
                self.0.is_on()
            }
        }
    };
}

ends!(OpenModelCall);
ends!(OpenToolCall);

impl OpenModelCall {
    /// Names the model that answered, if it is not known by the name that was asked for.
    pub fn response_model(&mut self, model: &str) -> &mut Self {
        self.with_call(|call| call.response_model(model))
    }

    /// Names the answer, by the provider's id.
    pub fn response_id(&mut self, id: &str) -> &mut Self {
        self.with_call(|call| call.response_id(id))
    }

    /// Says why the model stopped, for each answer: `stop`, `length`, `tool_calls` and the like.
    pub fn finish_reasons(&mut self, reasons: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.with_call(|call| call.finish_reasons(reasons))
    }

    /// Says how many tokens the question had, those that came from the provider's cache included.
    pub fn tokens_input(&mut self, tokens: u64) -> &mut Self {
        self.with_call(|call| call.tokens_input(tokens))
    }

    /// Says how many tokens the answer had.
    pub fn tokens_output(&mut self, tokens: u64) -> &mut Self {
        self.with_call(|call| call.tokens_output(tokens))
    }

    /// Says how many tokens of the question came from the provider's cache. On the span only.
    pub fn tokens_cached(&mut self, tokens: u64) -> &mut Self {
        self.with_call(|call| call.tokens_cached(tokens))
    }

    fn with_call(&mut self, change: impl FnOnce(&mut OpenCall)) -> &mut Self {
        if let Some(call) = self.0.call.as_mut().filter(|call| call.is_on()) {
            change(call);
        }
        self
    }
}

/// The parts that a guard holds until its end.
struct CallGuard {
    /// Taken when it ends.
    call: Option<OpenCall>,
    context: Context,
    /// How it ended, and when, if it did.
    end: Option<(CallEnd, Timestamp)>,
}

enum CallEnd {
    Ok,
    /// The class and the text of the error.
    Failed(String, String),
}

impl CallGuard {
    fn new(context: &Context, call: OpenCall) -> Self {
        Self { call: Some(call), context: context.clone(), end: None }
    }

    fn is_on(&self) -> bool {
        self.call.as_ref().is_some_and(OpenCall::is_on)
    }

    /// Where the call runs; nowhere in particular if it has no span.
    fn scope(&self) -> Scope {
        self.call.as_ref().and_then(OpenCall::scope).unwrap_or_default()
    }

    fn record_end<T, E: Display>(&mut self, result: &Result<T, E>) {
        if !self.is_on() {
            return;
        }
        let end = match result {
            Ok(_) => CallEnd::Ok,
            Err(error) => CallEnd::Failed(class_of::<E>().to_owned(), error.to_string()),
        };
        self.end = Some((end, self.context.now()));
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let Some(call) = self.call.take().filter(OpenCall::is_on) else { return };
        match self.end.take() {
            Some((CallEnd::Ok, at)) => call.end(&Ending::Ok, at.into()),
            Some((CallEnd::Failed(class, text), at)) => {
                let failure = Failure { class: &class, causes: &[text] };
                call.end(&Ending::Failed(failure), at.into());
            }
            None => {
                let by = if self.context.is_cancelled() { "run" } else { "caller" };
                let panicked = Ending::Panicked("the engine panicked in the call");
                let ending = if thread::panicking() { panicked } else { Ending::Cancelled(by) };
                call.end(&ending, self.context.now().into());
            }
        }
    }
}

impl fmt::Debug for CallGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallGuard").field("call", &self.call).finish_non_exhaustive()
    }
}

/// The class of an error is its type; one that has lost it is any other.
fn class_of<E>() -> &'static str {
    let name = type_name::<E>();
    if name.contains("dyn ") { "_OTHER" } else { name }
}
