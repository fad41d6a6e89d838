//! ARRAYs, MAPs and BYTES of records that the fast layers read: their text is known to be JSON, and the exact layer reads
//! it alone, so that the rest of the record need not be parsed twice.

use arrow::array::ArrayRef;

use super::column::Column;
use super::exact::{Parser, Record};
use super::grid::{Grid, Values};
use super::shape::Shape;

/// Reads the values that the fast layers have only found.
pub(super) struct Deferred {
    parser: Parser,
    /// The nodes of such types.
    columns: Vec<(usize, Column)>,
}

/// The values of a node.
pub(super) struct Read {
    pub(super) node: usize,
    /// The row in the batch, and the place in the values.
    pub(super) rows: Vec<(usize, usize)>,
    pub(super) values: ArrayRef,
}

impl Deferred {
    pub(super) fn new(shape: &Shape, grid: &Grid) -> Self {
        let column = |node: usize| (node, Column::new("", &shape.nodes[node].data_type, true));
        let nodes =
            (0..shape.nodes.len()).filter(|node| matches!(grid.leaves[*node].values, Values::Other(_)));
        Self { parser: Parser::new(), columns: nodes.map(column).collect() }
    }

    /// Reads the values of a batch. Rows of values that do not fit their column go to `failed`.
    pub(super) fn read(&mut self, grid: &Grid, source: &[u8], failed: &mut Vec<usize>) -> Vec<Read> {
        let mut all = Vec::new();
        for (node, column) in &mut self.columns {
            let Values::Other(places) = &grid.leaves[*node].values else { continue };
            let (mut rows, mut length) = (Vec::new(), 0);
            for (row, place) in places.iter().enumerate().filter(|(_, place)| **place != 0) {
                let (start, bytes) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize);
                let text = &source[start..start + bytes];
                match self.parser.record(text, |record| column.push(record, Record::root())) {
                    Ok(Ok(())) => {
                        rows.push((row, length));
                        length += 1;
                    }
                    Ok(Err(_)) => {
                        length += 1;
                        column.complete(length);
                        failed.push(row);
                    }
                    Err(_) => failed.push(row),
                }
            }
            if length > 0 {
                all.push(Read { node: *node, rows, values: column.finish() });
            }
        }
        all
    }
}
