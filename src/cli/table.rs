//! Text in columns that stand below one another.

use std::io::{self, Write};

/// So many lines tell how wide the columns are; those behind them are written as they come.
const MEASURED: usize = 1000;

/// Writes lines of cells below a headline.
pub(super) struct Table<W> {
    out: W,
    /// The headline and the lines that wait until the widths are known.
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl<W: Write> Table<W> {
    /// A table with this headline.
    pub fn new(out: W, headline: Vec<String>) -> Self {
        Self { out, waiting: vec![headline], widths: None }
    }

    /// Adds a line.
    pub fn line(&mut self, cells: Vec<String>) -> io::Result<()> {
        match &self.widths {
            Some(widths) => write_line(&mut self.out, widths, &cells),
            None => {
                self.waiting.push(cells);
                if self.waiting.len() > MEASURED { self.measure() } else { Ok(()) }
            }
        }
    }

    /// Writes what waits.
    pub fn end(mut self) -> io::Result<()> {
        self.measure()?;
        self.out.flush()
    }

    fn measure(&mut self) -> io::Result<()> {
        let columns = self.waiting.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.waiting.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths = self.widths.get_or_insert_with(|| (0..columns).map(widest).collect());
        for line in self.waiting.drain(..) {
            write_line(&mut self.out, widths, &line)?;
        }
        Ok(())
    }
}

fn write_line(out: &mut impl Write, widths: &[usize], cells: &[String]) -> io::Result<()> {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        line.push_str(cell);
        let width = widths.get(column).copied().unwrap_or(0) + 2;
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()).max(2)));
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let mut out = Vec::new();
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let mut table = Table::new(&mut out, cells(&["a", "long name", "c"]));
        table.line(cells(&["émile", "", "x"])).unwrap();
        for _ in 0..MEASURED {
            table.line(cells(&["1", "2", "3"])).unwrap();
        }
        table.line(cells(&["longer than measured", "2", "3"])).unwrap();
        table.end().unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["a      long name  c", "émile             x", "1      2          3"]);
        assert_eq!(lines[lines.len() - 1], "longer than measured  2          3");
        assert_eq!(lines.len(), MEASURED + 3);
    }
}
