//! The errors of the pure part: clashing kinds, payloads that do not fit, subscriptions that make no sense.
//!
//! The facade turns these into its own error with a coarse kind. Pure: no I/O, no clock.

/// A reason why the blackboard refuses something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlackboardError {
    /// Two different Rust types claim one kind name.
    #[error(
        "kind `{kind}` is claimed by two types, `{first}` and `{second}`; rename one with #[schemars(rename = \"…\")]"
    )]
    KindClash {
        /// The contested name.
        kind: String,
        /// The type that was registered first.
        first: String,
        /// The type that came second.
        second: String,
    },
    /// A payload could not be written as JSON.
    #[error("payload of kind `{kind}` cannot be written as JSON: {cause}")]
    Encode {
        /// The kind of the payload.
        kind: String,
        /// The serializer's error.
        cause: String,
    },
    /// A stored payload does not fit the Rust type that reads it.
    #[error("payload of kind `{kind}` does not fit type `{rust}`: {cause}")]
    Decode {
        /// The kind of the payload.
        kind: String,
        /// The type that was asked for.
        rust: String,
        /// The deserializer's error.
        cause: String,
    },
    /// A subscription cannot work as declared.
    #[error("subscription of agent `{agent}` is invalid: {reason}")]
    Subscription {
        /// The agent that declared it.
        agent: String,
        /// The fault and its remedy.
        reason: String,
    },
    /// A job did not carry the inputs that its subscription promises.
    #[error("job inputs do not fit their subscription: {0}")]
    Inputs(String),
    /// A trace header is not a W3C `traceparent`.
    #[error("`{0}` is not a W3C traceparent header")]
    TraceParent(String),
}
