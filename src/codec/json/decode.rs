//! Objects to columns. What JSON means to a column:
//!
//! - A missing field is NULL, and of a key that occurs twice the last one counts. NULL in a NOT NULL column makes the
//!   record a bad one. Below a ROW that is NULL everything is NULL.
//! - BOOLEAN: `true`, `false`, or a string of them. Integers: a number without a fraction (`1.0` and `1e3` are such)
//!   that is in range, or a string of an integer. FLOAT, DOUBLE: a number or a string of one, `NaN`, `Infinity`.
//! - DECIMAL: a number or a string of one, exactly, from the digits as written; digits behind the scale are rounded.
//! - STRING: a string; of anything else its text as written.
//! - BYTES: base64. DATE, TIME, TIMESTAMP (without a zone), `TIMESTAMP_LTZ` (with one): strings.
//! - ROW: an object. ARRAY: an array. MAP: an object, in its order.
//!
//! Nothing is guessed, and nothing is cut but digits of a second's fraction beyond the type's precision, as Flink does:
//! what does not fit makes the record a bad one. Fields nobody asked for may hold any JSON, numbers of any size included,
//! but JSON it must be: all of a record is validated. Records nest at most 128 deep.
//!
//! There are three layers, each of which hands on what it is not sure of. Records go a piece at a time ([`super::piece`])
//! along templates, many in lock-step ([`super::template`], [`super::lockstep`]); what follows none is walked through
//! ([`super::walk`]), which teaches the templates; what neither can vouch for is parsed whole ([`super::exact`]), and
//! that decides. So a value is the same whichever layer read it: a fast layer accepts a record only where it is certain
//! to do as the exact one would, and tells no errors.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter;

use super::deferred::{Deferred, Read};
use super::exact::{BATCH_BYTES_MAX, ExactDecoder};
use super::grid::{Exact, Grid};
use super::level::Level;
use super::lockstep::{Lockstep, Member};
use super::piece::{Content, PIECE_MAX, Piece};
use super::shape::Shape;
use super::template::Templates;
use super::walk::{Extent, Walker};
use crate::codec::{Decode, Rejected, ends};
use crate::record::Schema;

/// Decodes JSON objects into columns.
pub struct JsonDecoder {
    schema: Schema,
    exact: ExactDecoder,
    fast: Option<Fast>,
}

/// How many records each layer has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Along a template.
    pub followed: usize,
    /// Walked through.
    pub walked: usize,
    /// Parsed whole, whether they were good or not.
    pub parsed: usize,
}

/// The layers above the exact one.
struct Fast {
    level: Level,
    shape: Shape,
    piece: Piece,
    templates: Templates,
    walker: Walker,
    grid: Grid,
    /// For each template the records of the piece that may follow it.
    groups: Vec<Vec<Member>>,
    /// The records that the exact layer is to decide about.
    doubtful: Vec<usize>,
    deferred: Deferred,
    /// The values that were deferred.
    read: Vec<Read>,
    layers: Layers,
}

impl JsonDecoder {
    /// A decoder into the columns of `schema`, with all that the processor has.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self::with_level(schema, Level::best())
    }

    /// A decoder that uses what a level has and nothing beyond; the rows are the same at each.
    #[must_use]
    pub fn with_level(schema: &Schema, level: Level) -> Self {
        Self { fast: Some(Fast::new(schema, level)), ..Self::exact(schema) }
    }

    /// A decoder that parses each record whole: slow, and what the others are measured by.
    #[must_use]
    pub fn exact(schema: &Schema) -> Self {
        Self { schema: schema.clone(), exact: ExactDecoder::new(schema), fast: None }
    }

    /// How many records each layer has read; none where there is but one.
    #[must_use]
    pub fn layers(&self) -> Option<Layers> {
        self.fast.as_ref().map(|fast| fast.layers)
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, bytes: &[u8], spans: &[u64], rejected: &mut Vec<Rejected>) -> RecordBatch {
        let total: u64 = spans.iter().map(|span| span & 0xffff_ffff).sum();
        let small = bytes.len().max(usize::try_from(total).unwrap_or(usize::MAX)) <= BATCH_BYTES_MAX;
        let Some(fast) = self.fast.as_mut().filter(|_| small) else {
            return self.exact.decode(bytes, spans, rejected);
        };
        fast.decode(bytes, spans);
        if fast.doubtful.is_empty() {
            let columns = fast.finish(spans.len(), bytes, &Exact { rows: &[], columns: &[] });
            return self.schema.rows(columns, spans.len());
        }
        let doubtful: Vec<u64> = fast.doubtful.iter().map(|record| spans[*record]).collect();
        let already_rejected = rejected.len();
        let decided = self.exact.decode(bytes, &doubtful, rejected);
        let mut bad = vec![false; spans.len()];
        for rejected in &mut rejected[already_rejected..] {
            let record = fast.doubtful[rejected.record as usize];
            bad[record] = true;
            rejected.record = u32::try_from(record).expect("a batch has fewer records than bytes");
        }
        if decided.num_rows() == spans.len() {
            return decided;
        }
        let good = fast.doubtful.iter().filter(|record| !bad[**record]);
        let rows: Vec<(usize, usize)> = good.copied().zip(0..).collect();
        let exact = Exact { rows: &rows, columns: decided.columns() };
        fast.grid.patch(&fast.shape, &exact);
        let mut columns = fast.finish(spans.len(), bytes, &exact);
        let mut count = spans.len();
        if rows.len() < fast.doubtful.len() {
            let good: BooleanArray = bad.iter().map(|bad| Some(!bad)).collect();
            count = good.true_count();
            for column in &mut columns {
                *column = filter(column, &good).expect("the mask is as long as the column");
            }
        }
        self.schema.rows(columns, count)
    }
}

impl Fast {
    fn new(schema: &Schema, level: Level) -> Self {
        let shape = Shape::new(schema.columns());
        let grid = Grid::new(&shape);
        Self {
            level,
            piece: Piece::new(),
            templates: Templates::new(),
            walker: Walker::new(&shape),
            deferred: Deferred::new(&shape, &grid),
            read: Vec::new(),
            grid,
            shape,
            groups: Vec::new(),
            doubtful: Vec::new(),
            layers: Layers::default(),
        }
    }

    /// Fills the rows of all records but the doubtful ones.
    fn decode(&mut self, bytes: &[u8], spans: &[u64]) {
        self.grid.start(spans.len());
        self.doubtful.clear();
        let mut first = 0;
        while first < spans.len() {
            let (start, mut end) = ends(spans[first]);
            let mut next = first;
            while let Some(span) = spans.get(next) {
                let (record_start, record_end) = ends(*span);
                if record_end.saturating_sub(start) > PIECE_MAX || next > first && record_start < end {
                    break;
                }
                end = record_end;
                next += 1;
            }
            if next == first {
                self.doubtful.push(first);
                next += 1;
            } else {
                self.piece.load(self.level, &bytes[start..end]);
                self.decode_piece(start, first, &spans[first..next]);
            }
            first = next;
        }
        self.read = self.deferred.read(&self.grid, bytes, &mut self.doubtful);
        self.doubtful.sort_unstable();
        self.doubtful.dedup();
        self.layers.parsed += self.doubtful.len();
    }

    /// Works off the records of the piece, which begins at `offset`; the first of them has the row `first`.
    fn decode_piece(&mut self, offset: usize, first: usize, spans: &[u64]) {
        let mut mark = 0;
        for (row, span) in (first..).zip(spans) {
            let (start, end) = ends(*span);
            let (start, end) = (start - offset, end - offset);
            while usize::from(self.piece.marks()[mark]) < start {
                mark += 1;
            }
            let extent = Extent { start, end, mark };
            let content = self.piece.content(start, end);
            let template = match content {
                Content::Plain | Content::Escaped => self.templates.find(0, &self.piece, extent),
                Content::Blank | Content::Doubtful => None,
            };
            let next = spans.get(row + 1 - first).map_or(usize::MAX, |next| ends(*next).0 - offset);
            match template {
                // The mark behind the record's own belongs to no record, unless the next one follows at once: it is a
                // newline, and takes the place of the record's end.
                Some(template)
                    if self.piece.end_record(mark + self.templates.all[template].marks, end, next) =>
                {
                    self.join(
                        template,
                        Member { row, mark, escaped: content == Content::Escaped, good: true },
                    );
                    mark += self.templates.all[template].marks;
                }
                _ => self.walk(offset, row, extent, content),
            }
        }
        self.follow(offset, first, spans);
    }

    fn join(&mut self, template: usize, member: Member) {
        if self.groups.len() <= template {
            self.groups.resize_with(template + 1, Vec::new);
        }
        self.groups[template].push(member);
    }

    /// Follows the templates with the records that were found to fit them.
    fn follow(&mut self, offset: usize, first: usize, spans: &[u64]) {
        let mut template = 0;
        // Members may be sent on to templates that had none.
        while template < self.groups.len() {
            let mut members = std::mem::take(&mut self.groups[template]);
            if !members.is_empty() {
                self.level.follow(Lockstep {
                    template: &self.templates.all[template],
                    piece: &self.piece,
                    offset,
                    shape: &self.shape,
                    grid: &mut self.grid,
                    members: &mut members,
                });
            }
            for member in members.iter().filter(|member| !member.good) {
                self.grid.clear(member.row);
                let (start, end) = ends(spans[member.row - first]);
                let extent = Extent { start: start - offset, end: end - offset, mark: member.mark };
                match self.templates.find(template + 1, &self.piece, extent) {
                    Some(other) => self.join(other, Member { good: true, ..*member }),
                    None => {
                        let content = if member.escaped { Content::Escaped } else { Content::Plain };
                        self.walk(offset, member.row, extent, content);
                    }
                }
            }
            members.retain(|member| member.good);
            self.layers.followed += members.len();
            self.groups[template] = members;
            template += 1;
        }
        self.templates.used(self.groups.iter().map(Vec::len));
        self.groups.iter_mut().for_each(Vec::clear);
    }

    /// Reads a record that follows no template.
    fn walk(&mut self, offset: usize, row: usize, extent: Extent, content: Content) {
        if content == Content::Doubtful || !self.fill(offset, row, extent, content) {
            self.grid.clear(row);
            self.doubtful.push(row);
            return;
        }
        self.layers.walked += 1;
    }

    fn fill(&mut self, offset: usize, row: usize, extent: Extent, content: Content) -> bool {
        let Some(slots) = self.walker.walk(&self.piece, &mut self.shape, extent, content) else {
            return false;
        };
        for slot in slots {
            let Some(node) = slot.node else { continue };
            if slot.written == super::walk::Written::Object {
                self.grid.leaves[node].valid[row] = 1;
                continue;
            }
            let text = self.piece.slice(slot.start, slot.end);
            let place = ((offset + slot.start) as u64) << 32 | (slot.end - slot.start) as u64;
            let nullable = self.shape.nodes[node].nullable;
            if !self.grid.set(node, row, slot.written, text, place, nullable) {
                return false;
            }
        }
        if content != Content::Blank {
            self.templates.learn(&self.piece, &self.shape, extent, slots);
        }
        true
    }

    fn finish(&mut self, rows: usize, bytes: &[u8], exact: &Exact<'_>) -> Vec<ArrayRef> {
        self.grid.finish(&self.shape, rows, bytes, exact, &self.read)
    }
}
