//! An array that grows without ever copying much: its elements lie in pages.
//!
//! A `Vec` of a hundred million elements pauses for as long as it takes to copy them whenever it grows, and holds up to
//! twice what it needs. Here growth adds a page.

use std::ops::{Index, IndexMut};

/// Elements on a page; a power of two, so that a place is found with a shift and a mask.
const PAGE: usize = 1024;

/// A growable array in pages of 1024 elements.
///
/// Growing never moves more than a page, and at most a page is held over what is used. The first page grows by
/// doubling, so that an array of a few elements costs little.
#[derive(Clone, Debug)]
pub struct Pages<T> {
    /// All but the last are full.
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> Pages<T> {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at a place; none behind the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Adds an element behind the last.
    pub fn push(&mut self, element: T) {
        self.last_page().push(element);
        self.len += 1;
    }

    /// The heap bytes held, without those that the elements themselves hold. Takes no walk.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let elements = match self.pages.as_slice() {
            [only] => only.capacity(),
            pages => pages.len() * PAGE,
        };
        elements * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }

    /// The page that takes the next element.
    fn last_page(&mut self) -> &mut Vec<T> {
        if self.len == self.pages.len() * PAGE {
            // Only the first page starts small.
            let room = if self.pages.is_empty() { 0 } else { PAGE };
            self.pages.push(Vec::with_capacity(room));
        }
        let page = self.pages.last_mut().expect("pushed above where there was none");
        if page.len() == page.capacity() {
            page.reserve_exact(page.len().clamp(4, PAGE));
        }
        page
    }
}

impl<T: Default> Pages<T> {
    /// Makes it this long: adds elements of the default value, or drops the last ones.
    pub fn resize(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE));
            if let Some(last) = self.pages.last_mut() {
                last.truncate(len - (len - 1) / PAGE * PAGE);
            }
            self.len = len;
        }
        while self.len < len {
            let more = len - self.len;
            let page = self.last_page();
            let whole = (page.len() + more).min(PAGE);
            page.reserve_exact((whole.next_power_of_two()).saturating_sub(page.len()));
            let added = whole - page.len();
            page.resize_with(whole, T::default);
            self.len += added;
        }
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.pages[index / PAGE][index % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pages[index / PAGE][index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_a_vec() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut pages, mut model) = (Pages::default(), Vec::new());
        for round in 0..2000_u32 {
            match random.u8(0..8) {
                0 => {
                    let len = random.usize(0..5000);
                    pages.resize(len);
                    model.resize(len, 0);
                }
                1 if !model.is_empty() => {
                    let index = random.usize(0..model.len());
                    pages[index] = round;
                    model[index] = round;
                }
                _ => {
                    pages.push(round);
                    model.push(round);
                }
            }
            let index = random.usize(0..5000);
            assert_eq!((pages.len(), pages.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(pages.get(index), model.get(index));
            if round % 100 == 0 {
                assert!(pages.iter().eq(&model));
            }
        }
    }

    #[test]
    fn it_holds_at_most_a_page_too_much() {
        let mut pages = Pages::<u64>::default();
        assert_eq!(pages.bytes(), 0);
        pages.resize(1);
        assert!(pages.bytes() <= 200, "a tiny array is small: {}", pages.bytes());
        for len in 1..20_000 {
            pages.resize(len);
            assert!(pages.bytes() <= (len + PAGE) * 8 + 1024, "{len} elements hold {}", pages.bytes());
        }
    }
}
