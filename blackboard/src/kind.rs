//! Kinds: the name, version and JSON Schema of a payload type, and the registry that keeps names unique.
//!
//! A type needs no macro of ours: whatever serialises and has a schema is a payload. The registry belongs to
//! one runtime; nothing here is global. Pure: no I/O, no clock.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BlackboardError;
use crate::panic::panic_text;

/// A type that can be published: implemented for every type that meets the bounds.
///
/// The kind's name is the schema's name (`#[schemars(rename = "…")]` changes it). The kind's version is the
/// schema extension `x-volery-version`, 1 when absent: `#[schemars(extend("x-volery-version" = 2))]`.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Payload for T {}

/// A payload value whose type is known only to its kind.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

/// A payload type's name, version and JSON Schema. Cheap to clone.
#[derive(Clone)]
pub struct Kind(Arc<KindParts>);

/// Stands in for the type of kinds that have none here, so that they are the kind of nothing else.
struct Foreign;

struct KindParts {
    name: Arc<str>,
    version: u32,
    schema: serde_json::Value,
    rust: &'static str,
    type_id: TypeId,
    encode: fn(&(dyn Any + Send + Sync)) -> Result<String, serde_json::Error>,
    decode: fn(&str) -> Result<AnyValue, serde_json::Error>,
}

impl Kind {
    /// Describes a type. Builds its schema, so it is worth keeping the result.
    #[must_use]
    pub fn of<T: Payload>() -> Self {
        let schema = schemars::schema_for!(T).to_value();
        let version = schema
            .get("x-volery-version")
            .and_then(serde_json::Value::as_u64)
            .and_then(|version| u32::try_from(version).ok())
            .unwrap_or(1);
        Self(Arc::new(KindParts {
            name: Arc::from(T::schema_name().as_ref()),
            version,
            schema,
            rust: type_name::<T>(),
            type_id: TypeId::of::<T>(),
            encode: encode::<T>,
            decode: decode::<T>,
        }))
    }

    /// Describes a kind that this program has no type for, as a store may hold it: its payloads are read as
    /// JSON.
    ///
    /// [`Artifact::payload`](crate::Artifact::payload) still reads it as a type whose schema has the name.
    #[must_use]
    pub fn foreign(name: &str, version: u32) -> Self {
        Self(Arc::new(KindParts {
            name: Arc::from(name),
            version,
            schema: serde_json::Value::Bool(true),
            rust: type_name::<serde_json::Value>(),
            type_id: TypeId::of::<Foreign>(),
            encode: encode::<serde_json::Value>,
            decode: decode::<serde_json::Value>,
        }))
    }

    /// Tells whether it was described without a type.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0.type_id == TypeId::of::<Foreign>()
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the name, shared.
    #[must_use]
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// Returns the JSON Schema.
    #[must_use]
    pub fn schema(&self) -> &serde_json::Value {
        &self.0.schema
    }

    /// Returns the full path of the Rust type.
    #[must_use]
    pub fn rust_type(&self) -> &'static str {
        self.0.rust
    }

    /// Tells whether this is the kind of `T`.
    #[must_use]
    pub fn is<T: 'static>(&self) -> bool {
        self.0.type_id == TypeId::of::<T>()
    }

    pub(crate) fn type_id(&self) -> TypeId {
        self.0.type_id
    }

    pub(crate) fn encode(&self, value: &(dyn Any + Send + Sync)) -> Result<String, BlackboardError> {
        let fault = |cause| BlackboardError::Encode { kind: self.name().into(), cause };
        match catch_unwind(AssertUnwindSafe(|| (self.0.encode)(value))) {
            Ok(text) => text.map_err(|cause| fault(cause.to_string())),
            Err(panic) => Err(fault(format!("panicked: {}", panic_text(panic.as_ref())))),
        }
    }

    pub(crate) fn parse<T: Payload>(&self, json: &str) -> Result<T, BlackboardError> {
        serde_json::from_str(json).map_err(|cause| self.misfit(&cause))
    }

    pub(crate) fn decode(&self, json: &str) -> Result<AnyValue, BlackboardError> {
        (self.0.decode)(json).map_err(|cause| self.misfit(&cause))
    }

    fn misfit(&self, cause: &serde_json::Error) -> BlackboardError {
        BlackboardError::Decode {
            kind: self.name().into(),
            rust: self.rust_type().into(),
            cause: cause.to_string(),
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.0.type_id == other.0.type_id && self.0.name == other.0.name
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({} v{})", self.name(), self.version())
    }
}

fn encode<T: Payload>(value: &(dyn Any + Send + Sync)) -> Result<String, serde_json::Error> {
    match value.downcast_ref::<T>() {
        Some(value) => serde_json::to_string(value),
        None => Err(serde::ser::Error::custom("the value is of another type")),
    }
}

fn decode<T: Payload>(json: &str) -> Result<AnyValue, serde_json::Error> {
    serde_json::from_str::<T>(json).map(|value| Arc::new(value) as AnyValue)
}

/// The kinds of one runtime. One name belongs to one Rust type.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    by_type: FxHashMap<TypeId, Kind>,
    by_name: HashMap<Arc<str>, Kind>,
}

impl Kinds {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a type and returns its kind; registering it again returns the same kind.
    ///
    /// # Errors
    /// [`BlackboardError::KindClash`] when another type already has the name.
    pub fn register<T: Payload>(&mut self) -> Result<Kind, BlackboardError> {
        match self.find::<T>() {
            Some(kind) => Ok(kind.clone()),
            None => self.insert(Kind::of::<T>()),
        }
    }

    /// Registers a kind described elsewhere.
    ///
    /// # Errors
    /// [`BlackboardError::KindClash`] when another type already has the name.
    pub fn insert(&mut self, kind: Kind) -> Result<Kind, BlackboardError> {
        if let Some(first) = self.by_name.get(kind.name()) {
            if first.type_id() == kind.type_id() {
                return Ok(first.clone());
            }
            return Err(BlackboardError::KindClash {
                kind: kind.name().into(),
                first: first.rust_type().into(),
                second: kind.rust_type().into(),
            });
        }
        self.by_type.insert(kind.type_id(), kind.clone());
        self.by_name.insert(Arc::clone(&kind.0.name), kind.clone());
        Ok(kind)
    }

    /// Returns the kind of a type, if it is registered.
    #[must_use]
    pub fn find<T: 'static>(&self) -> Option<&Kind> {
        self.by_type.get(&TypeId::of::<T>())
    }

    /// Returns the kind of the type with this id, if it is registered.
    #[must_use]
    pub fn with_type(&self, type_id: TypeId) -> Option<&Kind> {
        self.by_type.get(&type_id)
    }

    /// Returns the kind with this name, if it is registered.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Kind> {
        self.by_name.get(name)
    }

    /// Returns every kind, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.by_name.values().cloned().collect();
        kinds.sort_by(|a, b| a.name().cmp(b.name()));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[schemars(extend("x-volery-version" = 3))]
    struct Order {
        id: u32,
    }

    mod other {
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub(super) struct Order {
            pub(super) name: String,
        }
    }

    #[test]
    fn a_kind_takes_its_name_and_version_from_the_schema() {
        let kind = Kind::of::<Order>();
        assert_eq!((kind.name(), kind.version()), ("Order", 3));
        assert!(kind.schema().get("properties").is_some());
        assert_eq!(kind.encode(&Order { id: 7 }).as_deref(), Ok(r#"{"id":7}"#));
    }

    #[test]
    fn a_foreign_kind_is_read_as_the_type_that_has_its_name() {
        let (id, run) =
            (crate::ArtifactId::from_uuid(uuid::Uuid::nil()), crate::RunId::from_uuid(uuid::Uuid::nil()));
        let body = crate::Body::json(r#"{"id":7}"#);
        let artifact =
            crate::Artifact::new(id, Kind::foreign("Order", 3), body, run, crate::Timestamp::default());
        assert_eq!(artifact.payload::<Order>().expect("it has the name").id, 7);
        let value = artifact.payload::<serde_json::Value>().expect("JSON reads as JSON");
        assert_eq!(value["id"], 7);
        assert!(artifact.payload::<Vec<u8>>().is_err(), "another type is refused");
    }

    #[test]
    fn a_panic_while_writing_is_an_error() {
        #[derive(Deserialize, JsonSchema)]
        struct Bomb;
        impl Serialize for Bomb {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("boom")
            }
        }
        let error = Kind::of::<Bomb>().encode(&Bomb).expect_err("it panics");
        assert!(error.to_string().contains("boom"), "{error}");
    }

    #[test]
    fn a_name_clash_names_both_types() {
        let mut kinds = Kinds::new();
        kinds.register::<Order>().expect("the first claim stands");
        kinds.register::<Order>().expect("the same type may register again");
        let clash = kinds.register::<other::Order>().expect_err("another type with the name must be refused");
        let text = clash.to_string();
        assert!(text.contains("kind::tests::Order") && text.contains("kind::tests::other::Order"), "{text}");
        let other = other::Order { name: "x".into() };
        assert_eq!(serde_json::to_string(&other).expect("plain data serialises"), r#"{"name":"x"}"#);
    }
}
