//! A list that is nearly always of length one, and then needs no memory of its own.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::{slice, vec};

/// A list that is nearly always of length one, and then needs no memory of its own.
///
/// ```
/// use volery_blackboard::store::Few;
///
/// let mut few: Few<u32> = [1].into();
/// few.push(2);
/// assert_eq!(few.iter().sum::<u32>(), 3);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Few<T>(List<T>);

#[derive(Clone)]
enum List<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// Returns an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self(List::None)
    }

    /// Appends one.
    pub fn push(&mut self, value: T) {
        self.0 = match std::mem::replace(&mut self.0, List::None) {
            List::None => List::One(value),
            List::One(first) => List::Many(vec![first, value]),
            List::Many(mut many) => {
                many.push(value);
                List::Many(many)
            }
        };
    }

    /// Keeps those for which it is true.
    pub fn retain(&mut self, stays: impl FnMut(&T) -> bool) {
        let mut all = std::mem::take(self).into_vec();
        all.retain(stays);
        *self = all.into();
    }

    /// Returns them in a vector.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            List::None => Vec::new(),
            List::One(one) => vec![one],
            List::Many(many) => many,
        }
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T> List<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_slice().fmt(f)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_slice()
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            List::None => &mut [],
            List::One(one) => slice::from_mut(one),
            List::Many(many) => many,
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Self(List::None) };
        let Some(second) = all.next() else { return Self(List::One(first)) };
        let mut many = Vec::with_capacity(all.size_hint().0.saturating_add(2));
        many.extend([first, second]);
        many.extend(all);
        Self(List::Many(many))
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, more: I) {
        let mut more = more.into_iter();
        while !matches!(self.0, List::Many(_)) {
            let Some(next) = more.next() else { return };
            self.push(next);
        }
        if let List::Many(many) = &mut self.0 {
            many.extend(more);
        }
    }
}

impl<T> From<[T; 1]> for Few<T> {
    fn from([one]: [T; 1]) -> Self {
        Self(List::One(one))
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(all: Vec<T>) -> Self {
        Self(List::Many(all))
    }
}

impl<T> From<Few<T>> for Arc<[T]> {
    fn from(few: Few<T>) -> Self {
        match few.0 {
            List::None => Self::from([]),
            List::One(one) => Self::from([one]),
            List::Many(many) => Self::from(many),
        }
    }
}

/// The elements of a list, by value.
#[doc(hidden)]
#[derive(Debug)]
pub struct IntoIter<T>(Rest<T>);

#[derive(Debug)]
enum Rest<T> {
    One(Option<T>),
    Many(vec::IntoIter<T>),
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Rest::One(one) => one.take(),
            Rest::Many(many) => many.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Rest::One(one) => one.iter().size_hint(),
            Rest::Many(many) => many.size_hint(),
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(match self.0 {
            List::None => Rest::One(None),
            List::One(one) => Rest::One(Some(one)),
            List::Many(many) => Rest::Many(many.into_iter()),
        })
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Few<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_list_is_a_list() {
        for length in 0..4 {
            let wanted: Vec<u32> = (0..length).collect();
            let (mut pushed, mut extended) = (Few::new(), Few::new());
            wanted.iter().for_each(|number| pushed.push(*number));
            extended.extend(wanted.iter().copied());
            let collected: Few<u32> = wanted.iter().copied().collect();
            for mut few in [pushed, extended, collected, wanted.clone().into()] {
                assert_eq!((&few[..], few.clone().into_vec()), (&wanted[..], wanted.clone()));
                assert_eq!(few.clone().into_iter().collect::<Few<_>>(), few);
                few.iter_mut().for_each(|number| *number += 1);
                few.retain(|number| *number != 2);
                let kept: Vec<u32> = (1..=length).filter(|number| *number != 2).collect();
                assert_eq!(few, Few::from(kept));
            }
        }
    }
}
