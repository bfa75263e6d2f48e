//! A slab: values that are found by their index, which is given again when a value has gone.
//!
//! Pure: no I/O, no clock.

use crate::id::{JobIndex, RunIndex};

/// The index of a value in a slab.
pub(crate) trait Index: Copy {
    fn new(number: u32) -> Self;
    fn at(self) -> usize;
}

impl Index for JobIndex {
    fn new(number: u32) -> Self {
        Self(number)
    }

    fn at(self) -> usize {
        self.at()
    }
}

impl Index for RunIndex {
    fn new(number: u32) -> Self {
        Self(number)
    }

    fn at(self) -> usize {
        self.at()
    }
}

/// Values by index.
#[derive(Debug)]
pub(crate) struct Slab<I, T> {
    places: Vec<Option<T>>,
    free: Vec<I>,
}

impl<I, T> Default for Slab<I, T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<I: Index, T> Slab<I, T> {
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> I {
        if let Some(index) = self.free.pop() {
            self.places[index.at()] = Some(value);
            return index;
        }
        let index = I::new(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.places.push(Some(value));
        index
    }

    /// Takes a value out.
    #[inline]
    pub(crate) fn remove(&mut self, index: I) -> Option<T> {
        let value = self.places.get_mut(index.at())?.take()?;
        self.free.push(index);
        Some(value)
    }

    /// Drops a value where it is; moving a large one out first would cost more.
    pub(crate) fn discard(&mut self, index: I) {
        if let Some(place) = self.places.get_mut(index.at()).filter(|place| place.is_some()) {
            *place = None;
            self.free.push(index);
        }
    }

    pub(crate) fn get(&self, index: I) -> Option<&T> {
        self.places.get(index.at())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: I) -> Option<&mut T> {
        self.places.get_mut(index.at())?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        (0..).zip(&self.places).filter_map(|(number, value)| Some((I::new(number), value.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(number, value)| Some((I::new(number), value.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_again_and_values_keep_theirs() {
        let mut slab = Slab::<JobIndex, &str>::default();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!((slab.remove(a), slab.remove(a), slab.get(a)), (Some("a"), None, None));
        let c = slab.insert("c");
        assert_eq!((c, slab.get(b), slab.get(c)), (a, Some(&"b"), Some(&"c")));
        assert_ne!(slab.insert("d"), b);
        slab.remove(b);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(c, &"c"), (JobIndex(2), &"d")]);
        assert_eq!((slab.values().count(), slab.len()), (2, 2));
    }
}
