//! Templates: layouts that records had, learnt from the walker's slots.
//!
//! A template says which bytes a record has between its slots, and it finds its way by the marks alone: the quotes of
//! two records of one layout are the same in number and order, so each part of the layout is looked for at a mark known
//! beforehand, and no part waits for another. A record follows a template if all these bytes are the same, and each slot
//! holds what it may hold. Since the marks are exactly the quotes that open and close strings, nothing else can be in
//! between: what follows a template is JSON.

use std::iter;

use super::piece::{MARKS, Piece};
use super::shape::Shape;
use super::walk::{Extent, Slot, Written};
use crate::record::SqlType;

/// How many templates are kept at most.
const TEMPLATES_MAX: usize = 16;
/// How many bytes are compared at once.
pub(super) const RUN: usize = 32;
/// With all templates in use, this many records follow none before one is replaced.
const REPLACE_AFTER: u32 = 64;
/// A template that so many records followed was worth learning.
const WORTH: u32 = 16;
/// How many records may follow no template, at most, before another is learnt.
const PATIENCE_MAX: u32 = 4096;
/// For how many pieces a template is kept that nobody follows.
const KEPT: u32 = 8;

/// A place in a record: so far from one of its marks, or, behind the last, from its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    mark: u16,
    offset: i16,
}

/// Bytes that all records of the layout have.
pub(super) struct Run {
    pub(super) at: Anchor,
    /// What is there, in words.
    pub(super) want: [u64; RUN / 8],
    /// Which bytes of it count.
    pub(super) mask: [u64; RUN / 8],
}

/// What is to be done with a slot.
pub(super) enum Task {
    /// A value without strings that nobody asked for.
    Pass,
    Integer,
    Timestamp,
    Text,
    /// Any other scalar.
    Value(Written),
    /// An object is there.
    Object,
}

/// The first bytes of a run.
struct Sample {
    at: Anchor,
    want: u64,
    mask: u64,
}

/// A slot with something to do.
pub(super) struct Step {
    pub(super) task: Task,
    /// The node; of no account for what nobody asked for.
    pub(super) node: usize,
    pub(super) start: Anchor,
    pub(super) end: Anchor,
}

/// A layout.
pub(super) struct Template {
    /// How many marks a record has.
    pub(super) marks: usize,
    /// Where the first mark is, from the start of the record; of a record without marks, its length.
    lead: usize,
    /// Where the end is, from the last mark; none where a slot lies in between.
    tail: Option<usize>,
    /// What tells this layout from others, from a run in the middle: keys there differ most.
    sample: Sample,
    pub(super) runs: Vec<Run>,
    pub(super) steps: Vec<Step>,
    /// How many records followed it lately, and in all.
    used: u32,
    followed: u32,
}

/// The templates of a decoder, those used most first.
pub(super) struct Templates {
    pub(super) all: Vec<Template>,
    /// How many records followed none since one was learnt, and how many may before another is.
    missed: u32,
    patience: u32,
    /// What is to take the place of the template used least.
    next: Option<Template>,
}

impl Templates {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), missed: 0, patience: 1, next: None }
    }

    /// The first template from `from` on that the record may follow.
    #[inline]
    pub(super) fn find(&self, from: usize, piece: &Piece, extent: Extent) -> Option<usize> {
        let templates = self.all.iter().enumerate().skip(from);
        templates.into_iter().find(|(_, template)| template.may_fit(piece, extent)).map(|(found, _)| found)
    }

    /// Learns the layout of a record that followed none of the templates.
    pub(super) fn learn(&mut self, piece: &Piece, shape: &Shape, extent: Extent, slots: &[Slot]) {
        self.missed += 1;
        let full = self.all.len() == TEMPLATES_MAX;
        if self.missed < if full { self.patience.max(REPLACE_AFTER) } else { self.patience } {
            return;
        }
        let Some(template) = Template::of(piece, shape, extent, slots) else { return };
        self.missed = 0;
        if full {
            self.next = Some(template);
        } else {
            self.all.push(template);
        }
    }

    /// Notes how many records followed each template, puts those used most to the front, and drops those that nobody
    /// follows. Where records come in ever new layouts, fewer and fewer are learnt. To be called when no record waits for
    /// a template by its place.
    pub(super) fn used(&mut self, counts: impl Iterator<Item = usize>) {
        for (template, count) in self.all.iter_mut().zip(counts.chain(iter::repeat(0))) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            // An average that forgets: what was used long ago must not stand in the way.
            template.used = (template.used - template.used.div_ceil(KEPT)).saturating_add(count);
            let worth = template.followed >= WORTH;
            template.followed = template.followed.saturating_add(count);
            if !worth && template.followed >= WORTH {
                self.patience = 1;
            }
        }
        let patience = &mut self.patience;
        self.all.retain(|template| {
            if template.used == 0 && template.followed < WORTH {
                *patience = (*patience * 2).min(PATIENCE_MAX);
            }
            template.used > 0
        });
        if !self.all.is_sorted_by(|one, other| one.used >= other.used) {
            self.all.sort_by_key(|template| std::cmp::Reverse(template.used));
        }
        if let Some(next) = self.next.take() {
            self.all.truncate(TEMPLATES_MAX - 1);
            self.all.push(next);
        }
    }
}

impl Template {
    #[inline]
    fn may_fit(&self, piece: &Piece, extent: Extent) -> bool {
        let marks = piece.marks();
        let (Some(first), Some(behind)) = (marks.get(extent.mark), marks.get(extent.mark + self.marks))
        else {
            return false;
        };
        if usize::from(*behind) < extent.end {
            return false;
        }
        if self.marks == 0 {
            return extent.end - extent.start == self.lead;
        }
        let last = usize::from(marks[extent.mark + self.marks - 1]);
        usize::from(*first) == extent.start + self.lead
            && last < extent.end
            && self.tail.is_none_or(|tail| last + tail == extent.end)
            && self.sample.is_there(piece, extent)
    }

    /// The layout of a record; none if its slots cannot be found by marks.
    fn of(piece: &Piece, shape: &Shape, extent: Extent, slots: &[Slot]) -> Option<Self> {
        let marks = &piece.marks()[extent.mark..];
        let count = marks.iter().take_while(|mark| usize::from(**mark) < extent.end).count();
        // The end is told from the mark behind the last.
        if count >= MARKS {
            return None;
        }
        // Places are told from the next mark, or from the record's end.
        let place_of = |mark: usize| if mark < count { usize::from(marks[mark]) } else { extent.end };
        let anchor = |mark: usize, place: usize| Anchor {
            mark: u16::try_from(mark).expect("there are fewer marks"),
            offset: i16::try_from(place.cast_signed() - place_of(mark).cast_signed())
                .expect("pieces are shorter"),
        };
        let mut template = Self {
            marks: count,
            lead: if count == 0 { extent.end - extent.start } else { place_of(0) - extent.start },
            tail: None,
            sample: Sample { at: anchor(0, extent.start), want: 0, mask: 0 },
            runs: Vec::new(),
            steps: Vec::new(),
            used: KEPT,
            followed: 0,
        };
        // What is not in a slot is a run, which is found by its first mark.
        let (mut start, mut mark) = (extent.start, 0);
        for slot in slots {
            if slot.written == Written::Object {
                let here = anchor(slot.marks_before, slot.start);
                template.steps.push(Step { task: Task::Object, node: slot.node?, start: here, end: here });
                continue;
            }
            if slot.marks_before == mark {
                // A slot between the same marks as the one before.
                return None;
            }
            let inside = marks[slot.marks_before..].iter();
            if inside.take_while(|mark| usize::from(**mark) < slot.end).count() > 0 {
                // An array or object with strings, of which another may have more.
                return None;
            }
            template.push_run(piece, start, slot.start, anchor(mark, start));
            let behind = slot.marks_before - 1;
            if let Some(task) = task_of(slot, shape) {
                let node = slot.node.unwrap_or_default();
                let (start, end) = (anchor(behind, slot.start), anchor(slot.marks_before, slot.end));
                template.steps.push(Step { task, node, start, end });
            }
            (start, mark) = (slot.end, slot.marks_before);
        }
        template.push_run(piece, start, extent.end, anchor(mark, start));
        if mark < count {
            template.tail = Some(extent.end - place_of(count - 1));
        }
        let run = &template.runs[template.runs.len() / 2];
        template.sample = Sample { at: run.at, want: run.want[0], mask: run.mask[0] };
        Some(template)
    }

    /// Adds the bytes from one position to another, which are `at` an anchor.
    fn push_run(&mut self, piece: &Piece, start: usize, end: usize, at: Anchor) {
        for (part, bytes) in piece.slice(start, end).chunks(RUN).enumerate() {
            let (mut want, mut mask) = ([0; RUN], [0; RUN]);
            want[..bytes.len()].copy_from_slice(bytes);
            mask[..bytes.len()].fill(u8::MAX);
            let ahead = i16::try_from(part * RUN).expect("pieces are shorter");
            let at = Anchor { mark: at.mark, offset: at.offset + ahead };
            self.runs.push(Run { at, want: words(&want), mask: words(&mask) });
        }
    }
}

impl Sample {
    #[inline]
    fn is_there(&self, piece: &Piece, extent: Extent) -> bool {
        let Some(marks) = piece.marks_from(extent.mark) else { return false };
        let place = self.at.place(marks);
        place.is_some_and(|place| (u64::from_le_bytes(*piece.from(place)) ^ self.want) & self.mask == 0)
    }
}

impl Anchor {
    /// The position in the piece, given the marks from the first of a record on. What lies in front of the piece counts
    /// from the end of what 16 bits can tell, where there are blanks, too.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    pub(super) fn place(self, marks: &[u16; MARKS]) -> Option<u16> {
        Some(marks.get(usize::from(self.mark))?.wrapping_add_signed(self.offset))
    }
}

fn words(bytes: &[u8; RUN]) -> [u64; RUN / 8] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|word| u64::from_le_bytes(words[word]))
}

/// What to do with a slot, if anything: what a string holds is known to be right.
fn task_of(slot: &Slot, shape: &Shape) -> Option<Task> {
    let Some(node) = slot.node else {
        return (slot.written == Written::Plain).then_some(Task::Pass);
    };
    Some(match (&shape.nodes[node].data_type, slot.written) {
        (data_type, Written::Plain) if data_type.is_integer() => Task::Integer,
        (SqlType::Timestamp(_) | SqlType::TimestampLtz(_), Written::Text | Written::Escaped) => {
            Task::Timestamp
        }
        (SqlType::String, Written::Text | Written::Escaped) => Task::Text,
        // Whether there are escapes is another matter for each record.
        (_, Written::Escaped) => Task::Value(Written::Text),
        (_, written) => Task::Value(written),
    })
}
