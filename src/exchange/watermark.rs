//! The watermark of a stage: the least over the active splits, each the highest event time seen less the disorder
//! allowed.

use serde::{Deserialize, Serialize};

use crate::metric::WatermarkReport;
use crate::record::{Batch, BlockEnd, Segment};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN, watermark_of};

/// Folds the ends of blocks, in their order, into one watermark.
#[derive(Clone, Debug)]
pub struct Watermarks {
    /// How far rows may be out of order, `[split]`.
    out_of_order_ms: Vec<i64>,
    splits: Vec<Split>,
    /// The first split of each port.
    ports: Vec<u32>,
    current_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    /// The highest event time seen, milliseconds; `i64::MIN` for none.
    max_ms: i64,
    activity: Activity,
}

impl Split {
    /// Whether it has had no record and may still have one.
    fn is_empty(&self) -> bool {
        self.max_ms == i64::MIN && self.activity != Activity::Finished
    }
}

/// What of [`Watermarks`] is kept in a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    current_ms: i64,
    splits: Vec<Split>,
}

/// Whether a split takes part in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Activity {
    Active,
    /// Silent for long: left out until its next record.
    Idle,
    /// Left out for good.
    Finished,
}

impl Watermarks {
    /// `splits` splits, none of which has begun.
    #[must_use]
    pub fn new(splits: usize, out_of_order_ms: i64) -> Self {
        let split = Split { max_ms: i64::MIN, activity: Activity::Active };
        let out_of_order_ms = vec![out_of_order_ms; splits];
        Self { out_of_order_ms, splits: vec![split; splits], ports: vec![0], current_ms: WATERMARK_MIN }
    }

    /// Splits that may each be out of order so far, milliseconds, none of which has begun.
    #[must_use]
    pub fn of_splits(out_of_order_ms: Vec<i64>) -> Self {
        Self { splits: Self::new(out_of_order_ms.len(), 0).splits, out_of_order_ms, ..Self::new(0, 0) }
    }

    /// The watermarks of a stage with a port for each of these, none of which has begun: the least over the splits of all.
    #[must_use]
    pub fn joined(ports: Vec<Self>) -> Self {
        let mut all = Self { ports: Vec::new(), ..Self::new(0, 0) };
        for mut port in ports {
            all.ports.push(u32::try_from(all.splits.len()).expect("fewer than 4 G splits"));
            all.out_of_order_ms.append(&mut port.out_of_order_ms);
            all.splits.append(&mut port.splits);
        }
        all
    }

    /// Leaves a split out for good: nothing of it comes here.
    #[must_use]
    pub fn without(mut self, split: usize) -> Self {
        self.splits[split].activity = Activity::Finished;
        self
    }

    /// How many ports there are.
    #[must_use]
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The first of a port's splits.
    #[must_use]
    pub fn first_split(&self, port: usize) -> u32 {
        self.ports[port]
    }

    /// What has been made of the block ends so far, for a snapshot. The same on every shard at a barrier.
    ///
    /// # Panics
    ///
    /// Never: numbers and names are JSON.
    #[must_use]
    pub fn save(&self) -> serde_json::Value {
        let saved = Saved { current_ms: self.current_ms, splits: self.splits.clone() };
        serde_json::to_value(saved).expect("numbers and names are JSON")
    }

    /// Goes on from what [`Watermarks::save`] has yielded, with the disorder that is allowed now.
    ///
    /// # Errors
    ///
    /// If it is nothing that was saved, or has another number of splits.
    pub fn restore(&mut self, saved: &serde_json::Value) -> Result<(), String> {
        let saved = Saved::deserialize(saved).map_err(|error| format!("no watermarks: {error}"))?;
        if saved.splits.len() != self.splits.len() {
            let (had, has) = (saved.splits.len(), self.splits.len());
            return Err(format!("the watermarks of {had} splits do not fit the {has} that there are"));
        }
        self.current_ms = saved.current_ms;
        self.splits = saved.splits;
        Ok(())
    }

    /// The watermark now, milliseconds.
    #[must_use]
    pub fn current_ms(&self) -> i64 {
        self.current_ms
    }

    /// The watermark, and what it rests on.
    #[must_use]
    pub fn report(&self) -> WatermarkReport {
        let of = |activity| self.splits.iter().filter(|split| split.activity == activity).count() as u64;
        let active = self.splits.iter().enumerate().filter(|(_, split)| split.activity == Activity::Active);
        let held_by = active.min_by_key(|(_, split)| split.max_ms);
        WatermarkReport {
            watermark_ms: self.current_ms,
            held_by: held_by.map(|(index, _)| index),
            newest_ms: held_by.map_or(i64::MIN, |(_, split)| split.max_ms),
            empty: self.splits.iter().filter(|split| split.is_empty()).count() as u64,
            idle: of(Activity::Idle),
            finished: of(Activity::Finished),
        }
    }

    /// Gives every segment of `batch` its clock, folding the block ends as they come.
    pub fn stamp(&mut self, batch: &mut Batch) {
        batch.clocks.clear();
        for segment in &batch.segments {
            batch.clocks.push(self.pass(segment));
        }
    }

    /// The clock of a segment, folding its end.
    pub fn pass(&mut self, segment: &Segment) -> SegmentClock {
        let index = segment.split as usize;
        if segment.rows > 0 {
            self.wake(index);
        }
        let out_of_order_ms = self.out_of_order_ms.get(index).copied().unwrap_or(0);
        // A split that was left out may be behind what the others have made of the watermark meanwhile, which does not
        // go back for it.
        let reached_ms = if self.current_ms == WATERMARK_MIN {
            i64::MIN
        } else {
            self.current_ms.saturating_add(out_of_order_ms)
        };
        let split_max_ms = self.splits.get(index).map_or(i64::MIN, |split| split.max_ms);
        let clock = SegmentClock {
            others_ms: self.least_ms(Some(index)).unwrap_or(WATERMARK_MAX).max(self.current_ms),
            split_max_ms: split_max_ms.max(reached_ms),
            out_of_order_ms,
            after_ms: None,
        };
        let after_ms = segment.end.and_then(|end| self.advance(index, &end));
        SegmentClock { after_ms, ..clock }
    }

    /// Takes a split in again that has been idle.
    fn wake(&mut self, index: usize) {
        if let Some(split) = self.splits.get_mut(index).filter(|split| split.activity == Activity::Idle) {
            split.activity = Activity::Active;
        }
    }

    /// Folds one block's end; the new watermark where it moved.
    fn advance(&mut self, index: usize, end: &BlockEnd) -> Option<i64> {
        if end.max_time_ms != i64::MIN {
            self.wake(index);
        }
        let split = self.splits.get_mut(index)?;
        split.max_ms = split.max_ms.max(end.max_time_ms);
        if end.finished {
            split.activity = Activity::Finished;
        } else if end.idle && split.activity == Activity::Active {
            split.activity = Activity::Idle;
        }
        let finished = self.splits.iter().all(|split| split.activity == Activity::Finished);
        // Where all that have not finished are idle, nobody knows what they will bring: it stays.
        let now_ms = self.least_ms(None).or(finished.then_some(WATERMARK_MAX))?;
        (now_ms > self.current_ms).then(|| {
            self.current_ms = now_ms;
            now_ms
        })
    }

    /// The least watermark over the active splits; none where there are none.
    fn least_ms(&self, except: Option<usize>) -> Option<i64> {
        let active = self
            .splits
            .iter()
            .enumerate()
            .filter(|(index, split)| Some(*index) != except && split.activity == Activity::Active);
        active.map(|(index, split)| watermark_of(split.max_ms, self.out_of_order_ms[index])).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(marks: &mut Watermarks, split: u32, max_time_ms: i64, finished: bool) -> Option<i64> {
        let end = Some(BlockEnd { through: 0, max_time_ms, finished, idle: false });
        marks.pass(&Segment { rows: 0, number: 0, split, end }).after_ms
    }

    #[test]
    fn the_slowest_active_split_holds_the_rest_back() {
        let mut marks = Watermarks::new(2, 4);
        assert_eq!(pass(&mut marks, 0, 100, false), None);
        assert_eq!(pass(&mut marks, 1, 50, false), Some(46));
        assert_eq!(pass(&mut marks, 0, 90, false), None);
        assert_eq!(pass(&mut marks, 1, 50, true), Some(96));
        assert_eq!(pass(&mut marks, 0, i64::MIN, true), Some(WATERMARK_MAX));
    }

    fn idle(marks: &mut Watermarks, split: u32) -> Option<i64> {
        let end = Some(BlockEnd { through: 0, max_time_ms: i64::MIN, finished: false, idle: true });
        marks.pass(&Segment { rows: 0, number: 0, split, end }).after_ms
    }

    #[test]
    fn a_silent_split_is_left_out_until_its_next_record() {
        let mut marks = Watermarks::new(2, 4);
        assert_eq!(pass(&mut marks, 0, 100, false), None);
        assert_eq!(marks.report().held_by, Some(1));
        assert_eq!(idle(&mut marks, 1), Some(96));
        assert_eq!((marks.report().held_by, marks.report().idle), (Some(0), 1));
        // The others go on, and an empty block changes nothing.
        assert_eq!(pass(&mut marks, 0, 200, false), Some(196));
        assert_eq!(pass(&mut marks, 1, i64::MIN, false), None);
        assert_eq!(pass(&mut marks, 0, 210, false), Some(206));
        // Its next rows meet the watermark that there is; it then holds the others back, and nothing goes backwards.
        let clock = marks.pass(&Segment { rows: 1, number: 0, split: 1, end: None });
        assert_eq!((clock.watermark_ms(i64::MIN), clock.watermark_ms(150)), (206, 206));
        assert_eq!(pass(&mut marks, 1, 150, false), None);
        assert_eq!(pass(&mut marks, 0, 300, false), None);
        assert_eq!(marks.report().newest_ms, 150);
        assert_eq!(pass(&mut marks, 1, 250, false), Some(246));
    }

    #[test]
    fn where_all_splits_are_silent_the_watermark_stays() {
        let mut marks = Watermarks::new(3, 4);
        pass(&mut marks, 0, 100, false);
        pass(&mut marks, 1, 50, false);
        assert_eq!(pass(&mut marks, 2, 70, true), Some(46));
        assert_eq!(idle(&mut marks, 1), Some(96));
        assert_eq!(idle(&mut marks, 0), None);
        let report = marks.report();
        assert_eq!((report.watermark_ms, report.held_by, report.idle, report.finished), (96, None, 2, 1));
        // A row of one of them meets what it has made itself.
        let clock = marks.pass(&Segment { rows: 1, number: 0, split: 0, end: None });
        assert_eq!((clock.watermark_ms(i64::MIN), clock.watermark_ms(120)), (96, 116));
        // The end of the input ends idle splits too.
        pass(&mut marks, 0, i64::MIN, true);
        assert_eq!(pass(&mut marks, 1, i64::MIN, true), Some(WATERMARK_MAX));
    }

    #[test]
    fn a_row_meets_the_watermark_of_the_rows_before_it() {
        let mut marks = Watermarks::new(1, 4);
        pass(&mut marks, 0, 100, false);
        let clock = marks.pass(&Segment { rows: 2, number: 1, split: 0, end: None });
        assert_eq!(clock.watermark_ms(i64::MIN), 96);
        assert_eq!(clock.watermark_ms(120), 116);
        assert_eq!(Watermarks::new(1, 4).current_ms(), WATERMARK_MIN);
    }
    #[test]
    fn what_is_saved_goes_on_as_it_would_have() {
        let mut marks = Watermarks::new(4, 4);
        pass(&mut marks, 0, 100, false);
        pass(&mut marks, 1, 50, false);
        pass(&mut marks, 2, 70, true);
        idle(&mut marks, 1);
        let mut restored = Watermarks::new(4, 4);
        restored.restore(&marks.save()).unwrap();
        for (split, max_time_ms) in [(3, 90), (1, 60), (0, 120), (1, 130), (3, 200), (3, i64::MIN)] {
            let end = |marks: &mut Watermarks| pass(marks, split, max_time_ms, false);
            assert_eq!(end(&mut marks), end(&mut restored));
            assert_eq!((marks.current_ms, &marks.splits), (restored.current_ms, &restored.splits));
        }
        assert!(Watermarks::new(3, 4).restore(&marks.save()).unwrap_err().contains("4 splits"));
        assert!(restored.restore(&serde_json::json!({ "current_ms": 1 })).is_err());
    }
}
