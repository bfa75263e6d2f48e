//! Sends the run as a trace over OTLP, in a build with the feature `otlp`; a build without it refuses the
//! option.

#[cfg(feature = "otlp")]
mod otlp {
    use std::time::Duration;

    use volery::telemetry::{self, Otlp, Telemetry};
    use volery::{Builder, Error};

    use crate::trouble::Trouble;

    /// How long the end of the trace may take to be sent.
    const SEND_WITHIN: Duration = Duration::from_secs(5);

    /// The way of a trace to its receiver.
    pub(crate) struct Export(Telemetry);

    impl Export {
        /// Sets OpenTelemetry up.
        pub(crate) fn to(endpoint: &str) -> Result<Self, Trouble> {
            let set_up = telemetry::init("triage").otlp(Otlp::http().endpoint(endpoint));
            Ok(Self(set_up.start().map_err(Error::other)?))
        }

        /// Has a runtime shown.
        pub(crate) fn show(&self, builder: Builder) -> Builder {
            builder.telemetry(self.0.providers())
        }

        /// Ends after the runtime's shutdown, which has sent the trace, and returns a note if not all of it
        /// arrived.
        pub(crate) async fn end(self) -> Option<String> {
            let report = self.0.shutdown(SEND_WITHIN).await;
            (!report.is_complete()).then(|| format!("not all of the trace was sent: {report}"))
        }
    }
}

#[cfg(not(feature = "otlp"))]
mod otlp {
    use volery::Builder;

    use crate::trouble::Trouble;

    /// No build without the feature has one.
    pub(crate) enum Export {}

    impl Export {
        /// Refuses the option.
        pub(crate) fn to(_endpoint: &str) -> Result<Self, Trouble> {
            Err(Trouble::NoExport)
        }

        /// Is never called.
        pub(crate) fn show(&self, _builder: Builder) -> Builder {
            match *self {}
        }

        /// Is never called.
        #[expect(clippy::unused_async, reason = "it is the twin of one that awaits")]
        pub(crate) async fn end(self) -> Option<String> {
            match self {}
        }
    }
}

pub(crate) use otlp::Export;
