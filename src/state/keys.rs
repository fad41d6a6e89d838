//! The bytes of many keys, by number, in pages: growth never moves more than a page.

/// How many keys a page has room for: few enough that a key in the middle is replaced by another of any length at once.
const PAGE_KEYS: usize = 256;

/// On a page of fewer bytes two bytes say where a key ends.
const SHORT: usize = 1 << 16;

/// Key bytes by number.
#[derive(Default)]
pub(super) struct Keys {
    pages: Vec<Page>,
    heap_bytes: usize,
}

/// The keys of a run of numbers, one behind the other.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    count: usize,
    /// The length of every key while all have one; then the ends of the keys are not kept.
    stride: usize,
    ends: Ends,
}

/// Where keys end.
#[derive(Default)]
enum Ends {
    /// At the multiples of the stride.
    #[default]
    Regular,
    /// On a page of less than 64 KiB.
    Short(Vec<u16>),
    /// On any page.
    Long(Vec<u32>),
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
            // The first page grows as it fills, so that a few keys cost little.
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
        let ends = match &self.ends {
            Ends::Regular => 0,
            Ends::Short(ends) => ends.capacity() * size_of::<u16>(),
            Ends::Long(ends) => ends.capacity() * size_of::<u32>(),
        };
        self.bytes.capacity() + ends
    }

    /// Where the key before `index` ends.
    fn start(&self, index: usize) -> usize {
        match (index.checked_sub(1), &self.ends) {
            (None, _) => 0,
            (Some(_), Ends::Regular) => index * self.stride,
            (Some(before), Ends::Short(ends)) => usize::from(ends[before]),
            (Some(before), Ends::Long(ends)) => ends[before] as usize,
        }
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.start(index + 1)]
    }

    fn push(&mut self, key: &[u8]) {
        // A little more than is needed: a page is filled once, and what it has too much it has for ever.
        if self.bytes.capacity() - self.bytes.len() < key.len() {
            self.bytes.reserve_exact(key.len().max(self.bytes.len() / 8).max(64));
        }
        self.bytes.extend_from_slice(key);
        self.count += 1;
        let end = self.bytes.len();
        match &mut self.ends {
            Ends::Regular if key.len() == self.stride => {}
            Ends::Short(ends) if end < SHORT => ends.push(short(end)),
            Ends::Long(ends) => ends.push(long(end)),
            Ends::Regular | Ends::Short(_) => {
                let mut ends: Vec<usize> = (1..self.count).map(|index| self.start(index)).collect();
                ends.push(end);
                self.keep_ends(&ends);
            }
        }
    }

    fn set(&mut self, index: usize, key: &[u8]) {
        let (start, end) = (self.start(index), self.start(index + 1));
        if key.len() == end - start {
            self.bytes[start..end].copy_from_slice(key);
            return;
        }
        let ends = (1..=self.count).map(|behind| {
            let before = self.start(behind);
            if behind > index { before + key.len() - (end - start) } else { before }
        });
        let ends: Vec<usize> = ends.collect();
        self.bytes.splice(start..end, key.iter().copied());
        self.keep_ends(&ends);
    }

    /// Keeps where the keys end, in as little room as they need.
    fn keep_ends(&mut self, ends: &[usize]) {
        self.ends = if self.bytes.len() < SHORT {
            let mut short_ends = Vec::with_capacity(PAGE_KEYS);
            short_ends.extend(ends.iter().map(|end| short(*end)));
            Ends::Short(short_ends)
        } else {
            let mut long_ends = Vec::with_capacity(PAGE_KEYS);
            long_ends.extend(ends.iter().map(|end| long(*end)));
            Ends::Long(long_ends)
        };
    }
}

fn short(end: usize) -> u16 {
    u16::try_from(end).expect("asked before")
}

fn long(end: usize) -> u32 {
    u32::try_from(end).expect("a page of keys is below 4 GiB")
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
            let lengths: &[usize] = if round < 3000 { &[9] } else { &[0, 1, 9, 254, 255, 300, 900] };
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
        let walked: usize = keys.pages.iter().map(Page::heap_bytes).sum();
        assert_eq!(keys.heap_bytes, walked);
    }

    #[test]
    fn keys_cost_little_more_than_their_bytes() {
        let (mut regular, mut varying, mut live) = (Keys::default(), Keys::default(), 0);
        for number in 0_u32..100_000 {
            regular.push(&u64::from(number).to_le_bytes());
            let text = format!("user-{number}");
            varying.push(text.as_bytes());
            live += text.len();
        }
        assert!(regular.bytes() < 100_000 * 85 / 10, "{}", regular.bytes());
        assert!(varying.bytes() < live + 100_000 * 35 / 10, "{} for {live}", varying.bytes());
    }
}
