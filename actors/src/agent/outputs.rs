//! Outputs: the return values of engines, and particulars of a single output.
//!
//! The return type of an engine declares what it publishes. Nothing is published here; that happens with the
//! job's end, in one commit.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use volery_blackboard::store::Few;
use volery_blackboard::{Artifact, BlackboardError, Body, Key, Kind, Kinds, Payload, Visibility};

/// One output with its particulars, as an engine's return value or as part of one.
///
/// `Option<T>`, `Vec<T>` and arrays publish payloads as they are; a single payload is wrapped:
/// `Ok(Publish(receipt))`. (A payload returned bare could not be told from a container, which is a payload
/// type too.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<T>(pub T);

/// Any number of outputs of any kinds, each with its own tags, visibility and partition key.
#[derive(Debug, Default)]
#[must_use]
pub struct Outputs {
    pub(crate) items: Few<Output>,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) type_id: TypeId,
    pub(crate) kind: fn() -> Kind,
    pub(crate) body: Body,
    /// Few have some.
    particulars: Option<Box<Particulars>>,
}

#[derive(Debug, Default)]
struct Particulars {
    tags: BTreeSet<String>,
    visibility: Visibility,
    partition: Option<Key>,
    /// For what is published from outside only.
    idempotency_key: Option<Arc<str>>,
}

impl Output {
    fn of<T: Payload>(payload: T) -> Self {
        Self {
            type_id: TypeId::of::<T>(),
            kind: Kind::of::<T>,
            body: Body::typed(Arc::new(payload)),
            particulars: None,
        }
    }

    /// Gives an artifact the particulars of this output.
    pub(crate) fn adorn(&self, mut artifact: Artifact) -> Artifact {
        let Some(particulars) = &self.particulars else { return artifact };
        if !particulars.tags.is_empty() {
            artifact = artifact.with_tags(particulars.tags.clone());
        }
        if particulars.visibility != Visibility::Public {
            artifact = artifact.with_visibility(particulars.visibility.clone());
        }
        match &particulars.partition {
            Some(partition) => artifact.with_partition(partition.clone()),
            None => artifact,
        }
    }

    pub(crate) fn idempotency_key(&self) -> Option<Arc<str>> {
        self.particulars.as_ref()?.idempotency_key.clone()
    }
}

impl Outputs {
    /// Publishes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn of(payloads: impl IntoOutputs) -> Self {
        let mut outputs = Self::none();
        payloads.add_to(&mut outputs);
        outputs
    }

    /// Adds an output.
    pub fn with<T: Payload>(mut self, payload: T) -> Self {
        self.items.push(Output::of(payload));
        self
    }

    /// Tags the output added last.
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        if let Some(last) = self.last() {
            last.tags.insert(tag.into());
        }
        self
    }

    /// Sets the agents that may see the output added last. Default: every agent.
    pub fn visible_to(mut self, visibility: Visibility) -> Self {
        if let Some(last) = self.last() {
            last.visibility = visibility;
        }
        self
    }

    /// Publishes the output added last at most once per tenant and key, in `publish_all`: a repeat returns
    /// where the first one stands, and the others are published. The outputs of an engine are published once
    /// anyway, and need no key: there it has no meaning.
    pub fn idempotency_key(mut self, key: impl Into<Arc<str>>) -> Self {
        if let Some(last) = self.last() {
            last.idempotency_key = Some(key.into());
        }
        self
    }

    /// Gives the output added last a partition key. It is kept with the artifact and changes neither matching
    /// nor order.
    ///
    /// # Errors
    /// [`BlackboardError::Encode`] when the key cannot be written as JSON.
    pub fn partitioned_by(mut self, key: &impl Serialize) -> Result<Self, BlackboardError> {
        if let Some(last) = self.last() {
            let text = serde_json::to_string(key).map_err(|cause| BlackboardError::Encode {
                kind: "partition key".into(),
                cause: cause.to_string(),
            })?;
            last.partition = Some(Key::from(text));
        }
        Ok(self)
    }

    /// The particulars of the output added last.
    fn last(&mut self) -> Option<&mut Particulars> {
        self.items.last_mut().map(|last| &mut **last.particulars.get_or_insert_default())
    }

    fn push<T: Payload>(&mut self, payload: T) {
        self.items.push(Output::of(payload));
    }
}

/// A return value of an engine: `()`, `Publish<T>`, `Option<T>`, `Vec<T>`, `[T; N]`, [`Outputs`], or a tuple
/// of two to four of these.
#[diagnostic::on_unimplemented(
    message = "an engine cannot return `{Self}`",
    note = "return `()`, `Publish(x)`, `Option<T>`, `Vec<T>`, `[T; N]`, `Outputs`, or a tuple of two to four of these",
    note = "where every `T` is Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static"
)]
pub trait IntoOutputs: Send + 'static {
    /// Registers the kinds that may come out, as far as the type tells.
    ///
    /// # Errors
    /// [`BlackboardError::KindClash`] when another type has the name of one of them.
    fn register(kinds: &mut Kinds) -> Result<(), BlackboardError>;

    /// Adds what is to be published, in order.
    fn add_to(self, outputs: &mut Outputs);
}

impl IntoOutputs for () {
    fn register(_: &mut Kinds) -> Result<(), BlackboardError> {
        Ok(())
    }

    fn add_to(self, _: &mut Outputs) {}
}

impl IntoOutputs for Outputs {
    fn register(_: &mut Kinds) -> Result<(), BlackboardError> {
        Ok(())
    }

    fn add_to(self, outputs: &mut Outputs) {
        outputs.items.extend(self.items);
    }
}

impl<T: Payload> IntoOutputs for Publish<T> {
    fn register(kinds: &mut Kinds) -> Result<(), BlackboardError> {
        kinds.register::<T>().map(drop)
    }

    fn add_to(self, outputs: &mut Outputs) {
        outputs.push(self.0);
    }
}

impl<T: Payload> IntoOutputs for Option<T> {
    fn register(kinds: &mut Kinds) -> Result<(), BlackboardError> {
        kinds.register::<T>().map(drop)
    }

    fn add_to(self, outputs: &mut Outputs) {
        self.into_iter().for_each(|payload| outputs.push(payload));
    }
}

impl<T: Payload> IntoOutputs for Vec<T> {
    fn register(kinds: &mut Kinds) -> Result<(), BlackboardError> {
        kinds.register::<T>().map(drop)
    }

    fn add_to(self, outputs: &mut Outputs) {
        self.into_iter().for_each(|payload| outputs.push(payload));
    }
}

impl<T: Payload, const N: usize> IntoOutputs for [T; N] {
    fn register(kinds: &mut Kinds) -> Result<(), BlackboardError> {
        kinds.register::<T>().map(drop)
    }

    fn add_to(self, outputs: &mut Outputs) {
        self.into_iter().for_each(|payload| outputs.push(payload));
    }
}

macro_rules! tuple_outputs {
    ($($part:ident),+) => {
        impl<$($part: IntoOutputs),+> IntoOutputs for ($($part,)+) {
            fn register(kinds: &mut Kinds) -> Result<(), BlackboardError> {
                $($part::register(kinds)?;)+
                Ok(())
            }

            #[expect(non_snake_case, reason = "each part is named after its type parameter")]
            fn add_to(self, outputs: &mut Outputs) {
                let ($($part,)+) = self;
                $($part.add_to(outputs);)+
            }
        }
    };
}

tuple_outputs!(A, B);
tuple_outputs!(A, B, C);
tuple_outputs!(A, B, C, D);

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds_of<T: IntoOutputs>(value: T) -> Vec<String> {
        let mut outputs = Outputs::none();
        value.add_to(&mut outputs);
        outputs.items.iter().map(|output| (output.kind)().name().to_owned()).collect()
    }

    #[test]
    fn every_return_type_lists_its_payloads_in_order() {
        assert!(kinds_of(()).is_empty());
        assert_eq!(kinds_of(Publish(1_u8)), ["uint8"]);
        assert_eq!(kinds_of((Some(1_u8), vec![1_i16, 2], [true])), ["uint8", "int16", "int16", "boolean"]);
        assert_eq!(kinds_of(Outputs::none().with(true).tagged("x").with(1_u8)), ["boolean", "uint8"]);
    }
}
