//! The error of a set-up. Its messages say what to change.

/// The reason why a set-up did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A variable, such as `OTEL_EXPORTER_OTLP_PROTOCOL`, names a protocol that is not there.
    #[error("{0} is `{1}`; use grpc or http/protobuf")]
    Protocol(String, String),
    /// An exporter refused its settings, such as an endpoint with `https`.
    #[error("the exporter refused its settings: {0}")]
    Exporter(String),
    /// A certificate or a key for TLS cannot be used.
    #[error("TLS to the receiver: {0}")]
    Tls(String),
    /// The system gave no thread or no connection.
    #[error("the transport cannot be made: {0}")]
    Transport(String),
    /// A subscriber is installed already.
    #[error("another subscriber is installed already; leave `log` or `install_global` out")]
    Subscriber,
}
