//! Support: payloads, and a runtime whose telemetry goes to a receiver in the same process.

use std::time::Duration;

use volery::Builder;
use volery::prelude::*;
use volery::telemetry::{Environment, Otlp, Telemetry, TelemetryBuilder, TraceSettings, init};
use volery_otlp_receiver::{Receiver, Span, laws};

/// The result of a test.
pub(crate) type Tested = volery::Result<()>;

/// Real time for what goes over the network. Nothing takes a hundredth of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const MS: Duration = Duration::from_millis(1);

macro_rules! payloads {
    ($($name:ident),+) => {$(
        /// A payload: a key to group by, a number to tell it apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            pub(crate) key: u32,
            pub(crate) n: u32,
        }
    )+};
}

payloads!(Order, Payment, Receipt, Note);

pub(crate) fn order(n: u32) -> Order {
    Order { key: n, n }
}

pub(crate) fn payment(n: u32) -> Payment {
    Payment { key: n, n }
}

/// A receiver, and a set-up that exports to it. The set-up is dropped first: its last export would wait for a
/// receiver that is gone.
pub(crate) struct Watched {
    pub(crate) telemetry: Telemetry,
    pub(crate) receiver: Receiver,
}

impl Watched {
    pub(crate) fn new() -> Self {
        Self::with(|telemetry| telemetry)
    }

    pub(crate) fn traced(settings: TraceSettings) -> Self {
        Self::with(|telemetry| telemetry.traces(settings))
    }

    pub(crate) fn with(change: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder) -> Self {
        let receiver = Receiver::start();
        let otlp = Otlp::http().endpoint(receiver.http_endpoint());
        let builder = change(init("shop").environment(Environment::empty())).otlp(otlp);
        Self { receiver, telemetry: builder.start().expect("the endpoint is well formed") }
    }

    /// The builder of a runtime that is shown.
    pub(crate) fn builder(&self) -> Builder {
        Volery::builder("shop").telemetry(self.telemetry.providers())
    }

    /// Every span but those of shutdowns, once all laws hold.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let all = self.receiver.spans();
        laws::assert_all(&all);
        let of_shutdown = |span: &Span| span.name == "volery shutdown" || span.name.starts_with("shutdown ");
        all.into_iter().filter(|span| !of_shutdown(span)).collect()
    }
}

/// Spans of a name.
pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The only span of a name.
#[track_caller]
pub(crate) fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    match named(spans, name)[..] {
        [span] => span,
        ref other => panic!("{} spans are named `{name}` in\n{}", other.len(), tree(spans)),
    }
}

pub(crate) fn tree(spans: &[Span]) -> String {
    volery_otlp_receiver::tree(spans, &["volery.outcome", "volery.run.status"])
}
