//! The bytes of many keys, by number, in pages: growth never moves more than a page.

/// How many keys a page has room for.
const PAGE_KEYS: usize = 1024;

/// Key bytes by number.
#[derive(Default)]
pub(super) struct Keys {
    pages: Vec<Page>,
    heap_bytes: usize,
}

/// The keys of a run of numbers. While all of them have one length they stand one behind the other and cost nothing
/// else; from the first of another length on, each has a place.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    /// The length of every key while `places` is empty.
    stride: usize,
    count: usize,
    /// Where each key begins: its length (one byte, or 255 and four more), then its bytes.
    places: Vec<u32>,
    /// Bytes of keys that have been replaced.
    garbage: usize,
}

impl Keys {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE_KEYS + last.count)
    }

    /// The heap bytes held.
    pub fn bytes(&self) -> usize {
        self.heap_bytes + self.pages.capacity() * size_of::<Page>()
    }

    /// The key of a number.
    pub fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        self.pages[number / PAGE_KEYS].get(number % PAGE_KEYS)
    }

    /// Gives the next number to a key.
    pub fn push(&mut self, key: &[u8]) -> u32 {
        let number = u32::try_from(self.len()).expect("one shard holds fewer than 4 G keys");
        if (number as usize).is_multiple_of(PAGE_KEYS) {
            // The first page grows as it fills, so that a few keys cost little; the others are made whole.
            let expected = self.pages.last().map_or(0, |page| page.bytes.len());
            let page = Page { bytes: Vec::with_capacity(expected), stride: key.len(), ..Page::default() };
            self.heap_bytes += page.heap_bytes();
            self.pages.push(page);
        }
        self.change(number as usize / PAGE_KEYS, |page| page.push(key));
        number
    }

    /// Replaces the key of a number.
    pub fn set(&mut self, number: u32, key: &[u8]) {
        let number = number as usize;
        self.change(number / PAGE_KEYS, |page| page.set(number % PAGE_KEYS, key));
    }

    fn change(&mut self, page: usize, change: impl FnOnce(&mut Page)) {
        let page = &mut self.pages[page];
        let before = page.heap_bytes();
        change(page);
        self.heap_bytes = self.heap_bytes + page.heap_bytes() - before;
    }
}

impl Page {
    fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<u32>()
    }

    fn get(&self, index: usize) -> &[u8] {
        match self.places.get(index) {
            None => &self.bytes[index * self.stride..][..self.stride],
            Some(place) => {
                let (start, length) = self.at(*place as usize);
                &self.bytes[start..][..length]
            }
        }
    }

    /// Where the key at `place` begins behind its length, and its length.
    fn at(&self, place: usize) -> (usize, usize) {
        match self.bytes[place] {
            u8::MAX => {
                let length = self.bytes[place + 1..place + 5].try_into().expect("four bytes");
                (place + 5, u32::from_le_bytes(length) as usize)
            }
            length => (place + 1, usize::from(length)),
        }
    }

    fn push(&mut self, key: &[u8]) {
        if self.places.is_empty() && key.len() == self.stride {
            self.bytes.extend_from_slice(key);
        } else {
            self.spread();
            let place = self.append(key);
            self.places.push(place);
        }
        self.count += 1;
    }

    fn set(&mut self, index: usize, key: &[u8]) {
        if self.places.is_empty() && key.len() == self.stride {
            self.bytes[index * self.stride..][..self.stride].copy_from_slice(key);
            return;
        }
        self.spread();
        self.garbage += self.get(index).len() + 1;
        if self.garbage > self.bytes.len() / 2 {
            self.places[index] = self.append(key);
            self.compact();
        } else {
            self.places[index] = self.append(key);
        }
    }

    /// Gives every key its place.
    fn spread(&mut self) {
        if !self.places.is_empty() || self.count == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes.reserve(bytes.len() + bytes.len() / 4 + self.count);
        self.places.reserve_exact(PAGE_KEYS);
        for index in 0..self.count {
            let place = self.append(&bytes[index * self.stride..][..self.stride]);
            self.places.push(place);
        }
    }

    fn append(&mut self, key: &[u8]) -> u32 {
        let place = u32::try_from(self.bytes.len()).expect("a page of keys is below 4 GiB");
        match u8::try_from(key.len()) {
            Ok(length) if length < u8::MAX => self.bytes.push(length),
            _ => {
                let length = u32::try_from(key.len()).expect("a key is below 4 GiB");
                self.bytes.push(u8::MAX);
                self.bytes.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(key);
        place
    }

    /// Leaves out the bytes of keys that have been replaced.
    fn compact(&mut self) {
        let old = Self { bytes: std::mem::take(&mut self.bytes), ..Self::default() };
        for index in 0..self.places.len() {
            let (start, length) = old.at(self.places[index] as usize);
            self.places[index] = self.append(&old.bytes[start..][..length]);
        }
        self.garbage = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_come_back_and_can_be_replaced() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut keys = Keys::default();
        let mut model: Vec<Vec<u8>> = Vec::new();
        let key = |random: &mut fastrand::Rng, lengths: &[usize]| -> Vec<u8> {
            let length = lengths[random.usize(0..lengths.len())];
            (0..length).map(|_| random.u8(..)).collect()
        };
        for round in 0..20_000 {
            // One length at first, then all of them.
            let lengths: &[usize] = if round < 3000 { &[9] } else { &[0, 1, 9, 254, 255, 300] };
            let key = key(&mut random, lengths);
            if random.bool() || model.is_empty() {
                assert_eq!(keys.push(&key) as usize, model.len());
                model.push(key);
            } else {
                let number = random.usize(0..model.len());
                keys.set(u32::try_from(number).unwrap(), &key);
                model[number] = key;
            }
        }
        assert_eq!(keys.len(), model.len());
        for (number, key) in (0..).zip(&model) {
            assert_eq!(keys.get(number), key, "{number}");
        }
        let live: usize = model.iter().map(Vec::len).sum();
        assert!(keys.bytes() < 3 * live, "{} bytes for {live}", keys.bytes());
    }

    #[test]
    fn keys_of_one_length_cost_nothing_else() {
        let mut keys = Keys::default();
        for number in 0_u32..100_000 {
            keys.push(&u64::from(number).to_le_bytes());
        }
        assert!(keys.bytes() < 8 * 102_000, "{}", keys.bytes());
    }
}
