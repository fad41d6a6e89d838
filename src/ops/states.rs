//! How much the steps keep: for the summary of a run, and against the limit of `run.memory`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::progress::grouped;
use crate::metric::{ShardMetrics, size_text};

/// What one step keeps on all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateTotal {
    /// The name of the state.
    pub name: Arc<str>,
    /// Entries now.
    pub entries: u64,
    /// Bytes now.
    pub bytes: u64,
    /// The most entries there have been: the sum of what each shard had at most.
    pub entries_max: u64,
    /// The most bytes there have been, in the same way.
    pub bytes_max: u64,
    /// The end of the window that closes next, milliseconds of event time; none where none is open.
    pub next_close_ms: Option<i64>,
}

/// What each step keeps now, in the order of the data; `names` are those of the gauges. Operators of one step, which
/// have one name, count together.
#[must_use]
pub fn state_totals(names: &[Arc<str>], metrics: &[Arc<ShardMetrics>]) -> Vec<StateTotal> {
    let mut totals: Vec<StateTotal> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let known = totals.iter().position(|total| total.name == *name);
        let known = known.unwrap_or_else(|| {
            totals.push(StateTotal { name: name.clone(), ..StateTotal::default() });
            totals.len() - 1
        });
        let total = &mut totals[known];
        for gauge in metrics.iter().filter_map(|shard| shard.states.get(index)) {
            total.entries += gauge.entries.get();
            total.bytes += gauge.bytes.get();
            total.entries_max += gauge.entries_max.get();
            total.bytes_max += gauge.bytes_max.get();
            total.next_close_ms = total.next_close_ms.into_iter().chain(gauge.next_close_ms()).min();
        }
    }
    totals
}

/// A line for each step that has kept anything.
#[must_use]
pub fn state_summary(totals: &[StateTotal]) -> String {
    let mut text = String::new();
    for total in totals.iter().filter(|total| total.entries_max > 0) {
        let most = amount(total.entries_max, total.bytes_max);
        let left = match total.entries {
            0 => String::new(),
            entries => format!("; {} left", amount(entries, total.bytes)),
        };
        writeln!(text, "state {}: {most} at most{left}", total.name).expect("a string takes everything");
    }
    text
}

/// Why the run cannot go on, where the steps keep more than `limit_bytes` together.
#[must_use]
pub fn outgrown(totals: &[StateTotal], limit_bytes: u64) -> Option<String> {
    let bytes: u64 = totals.iter().map(|total| total.bytes).sum();
    if bytes <= limit_bytes {
        return None;
    }
    let mut by_size: Vec<&StateTotal> = totals.iter().filter(|total| total.bytes > 0).collect();
    by_size.sort_by_key(|total| std::cmp::Reverse(total.bytes));
    let (largest, others) = by_size.split_first()?;
    let mut text = format!(
        "state has outgrown run.memory: `{}` keeps {}",
        largest.name,
        amount(largest.entries, largest.bytes)
    );
    for other in others {
        write!(text, ", `{}` {}", other.name, amount(other.entries, other.bytes))
            .expect("a string takes everything");
    }
    write!(
        text,
        "; the limit is {}. The output was taken back\n  help: raise run.memory, or let `{}` keep less: a shorter window, ttl or within, or fewer keys",
        size_text(limit_bytes),
        largest.name
    )
    .expect("a string takes everything");
    Some(text)
}

fn amount(entries: u64, bytes: u64) -> String {
    let noun = if entries == 1 { "entry" } else { "entries" };
    format!("{} {noun}, {}", grouped(entries), size_text(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Vec<StateTotal> {
        let metrics: Vec<Arc<ShardMetrics>> = (0..2).map(|_| Arc::new(ShardMetrics::new(3))).collect();
        metrics[0].states[0].set(1000, 3 << 20, Some(5));
        metrics[0].states[0].set(3, 2048, Some(7));
        metrics[1].states[0].set(1, 1024, None);
        metrics[1].states[1].set(1, 512, Some(3));
        state_totals(&["spend".into(), "top".into(), "spend".into()], &metrics)
    }

    #[test]
    fn the_shards_are_summed_and_the_peak_is_kept() {
        assert_eq!(
            state_summary(&totals()),
            "state spend: 1,001 entries, 3.1 MiB at most; 4 entries, 3.0 KiB left\n\
             state top: 1 entry, 512 B at most; 1 entry, 512 B left\n"
        );
        assert_eq!(totals()[0].next_close_ms, Some(7));
    }

    #[test]
    fn a_limit_names_the_step_that_grew() {
        assert_eq!(outgrown(&totals(), 3584), None);
        let what = outgrown(&totals(), 3583).expect("above the limit");
        assert!(
            what.starts_with(
                "state has outgrown run.memory: `spend` keeps 4 entries, 3.0 KiB, `top` 1 entry, 512 B; the limit is 3.5 KiB."
            ),
            "{what}"
        );
    }
}
