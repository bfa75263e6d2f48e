//! A slab: values that are found by their place, which is given again when a value has gone.
//!
//! Pure: no I/O, no clock.

/// A place in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

/// Values by place.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.places[slot.at()] = Some(value);
            return slot;
        }
        let slot = Slot(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.places.push(Some(value));
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<T> {
        let value = self.places.get_mut(slot.at())?.take()?;
        self.free.push(slot);
        Some(value)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot.at())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot.at())?.as_mut()
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

impl Slot {
    fn at(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_again_and_values_keep_theirs() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!((slab.remove(a), slab.remove(a), slab.get(a)), (Some("a"), None, None));
        let c = slab.insert("c");
        assert_eq!((c, slab.get(b), slab.get(c)), (a, Some(&"b"), Some(&"c")));
        assert_ne!(slab.insert("d"), b);
        assert_eq!(slab.values().count(), 3);
    }
}
