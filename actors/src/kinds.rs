//! The kinds of a running runtime: those its agents named, and those that come up later.
//!
//! The first are fixed at start and read without a lock; a type published for the first time later is added
//! under one.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

use volery_blackboard::{BlackboardError, Kind, Kinds, Payload};

/// The kinds of one runtime.
#[derive(Debug)]
pub(crate) struct KindTable {
    declared: Kinds,
    late: RwLock<Kinds>,
}

impl KindTable {
    pub(crate) fn new(declared: Kinds) -> Self {
        Self { late: RwLock::new(declared.clone()), declared }
    }

    pub(crate) fn kind_of<T: Payload>(&self) -> Result<Kind, BlackboardError> {
        self.kind(TypeId::of::<T>(), Kind::of::<T>)
    }

    /// Returns the kind of a type, describing it with `make` when it is met for the first time.
    pub(crate) fn kind(&self, type_id: TypeId, make: fn() -> Kind) -> Result<Kind, BlackboardError> {
        if let Some(kind) = self.declared.with_type(type_id) {
            return Ok(kind.clone());
        }
        // A poisoned lock holds complete data: `Kinds::insert` writes only after it has decided.
        if let Some(kind) = self.late.read().unwrap_or_else(PoisonError::into_inner).with_type(type_id) {
            return Ok(kind.clone());
        }
        // Made before the lock is taken: describing a type runs its own code.
        let kind = make();
        self.late.write().unwrap_or_else(PoisonError::into_inner).insert(kind)
    }
}
