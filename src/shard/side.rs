//! Side streams: how rows that leave at a step get from the shards to their sinks.
//!
//! Their order does not count, so the writer takes them as they come, whatever the input's order holds back elsewhere: a
//! full lane is always emptied. A shard does not step while one is full.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::assemble::Capacity;
use super::encode::{RecordEncoder, Records};
use super::gather::{Gathered, Taken};
use crate::codec::Format;
use crate::exchange::{LaneSender, lane};
use crate::io::Bell;
use crate::operator::SideRows;
use crate::plan::SideOutput;
use crate::record::{Barrier, Schema};
use crate::sink::{self, Form, Output, PartitionBy, RowSink, SinkError, Staged};
use crate::time::Now;

/// What goes to the writer.
pub enum SideItem {
    /// Whole records.
    Records(Records),
    /// An epoch ends for the lane.
    Barrier(Barrier),
    /// The lane ends.
    End,
}

/// One shard's end of a side stream's sink, before the shard is built.
pub struct SidePart {
    stream: Arc<str>,
    schema: Schema,
    partition: Option<PartitionBy>,
    format: Format,
    end: End,
}

enum End {
    Lane(LaneSender<SideItem>),
    Rows(Box<dyn RowSink + Send>),
}

/// Opens the sinks of all side streams: their ends on the shards, `[shard][sink]`, and what the writer gets. `committed` tells
/// whether they go on from a snapshot.
///
/// # Errors
///
/// If one of the outputs cannot be made; those before it have been taken back.
pub fn open(
    sides: &[SideOutput],
    opening: impl Fn(&str) -> sink::Opening,
    committed: bool,
    capacity: &Capacity,
    bells: &[Arc<Bell>],
    writer: &Arc<Bell>,
) -> Result<(Vec<Vec<SidePart>>, Vec<SideEncoded>), SinkError> {
    let mut parts: Vec<Vec<SidePart>> = bells.iter().map(|_| Vec::new()).collect();
    let mut written: Vec<SideEncoded> = Vec::new();
    for side in sides {
        let part = |end| SidePart {
            stream: side.stream.clone(),
            schema: side.schema.clone(),
            partition: side.sink.partition(&side.schema),
            format: side.format.clone(),
            end,
        };
        let open = match side.sink.form(&side.schema) {
            Form::Rows(build) => {
                for parts in &mut parts {
                    parts.push(part(End::Rows(build())));
                }
                continue;
            }
            Form::Bytes(open) => open,
        };
        let output = match open(&opening(&side.name).of(&side.format, &side.schema)) {
            Ok(output) => output,
            Err(error) => {
                for side in written {
                    side.abandon(committed);
                }
                return Err(error);
            }
        };
        let mut lanes = Vec::new();
        for (bell, parts) in bells.iter().zip(&mut parts) {
            let (sender, receiver) = lane(capacity.blocks, bell, writer);
            parts.push(part(End::Lane(sender)));
            lanes.push(receiver);
        }
        written.push(SideEncoded {
            name: side.name.clone(),
            lanes: Gathered::new(lanes),
            closed: false,
            output,
        });
    }
    Ok((parts, written))
}

/// Takes the rows of a side stream on one shard.
pub struct SideOutlet {
    stream: Arc<str>,
    way: Way,
}

enum Way {
    Lane { encode: RecordEncoder, lane: LaneSender<SideItem> },
    Rows(Box<dyn RowSink>),
}

impl SideOutlet {
    /// The running form of a part.
    #[must_use]
    pub fn new(part: SidePart) -> Self {
        let way = match part.end {
            End::Lane(lane) => {
                let encode = RecordEncoder::new(part.format.encoder(&part.schema), part.partition);
                Way::Lane { encode, lane }
            }
            End::Rows(sink) => Way::Rows(sink),
        };
        Self { stream: part.stream, way }
    }

    /// Takes rows if they are of its stream.
    pub fn send(&mut self, side: &SideRows, now: Now) {
        if side.stream == self.stream && side.rows.num_rows() > 0 {
            self.take(&side.rows, now);
        }
    }

    fn take(&mut self, rows: &RecordBatch, now: Now) {
        match &mut self.way {
            Way::Lane { encode, lane } => {
                let mut records = match lane.take_used() {
                    Some(SideItem::Records(used)) => used.cleared(),
                    _ => Records::default(),
                };
                encode.encode(rows, now.wall_ms(), &mut records);
                lane.send(SideItem::Records(records));
            }
            Way::Rows(sink) => sink.write(rows, now),
        }
    }

    /// Whether more may be sent.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        match &self.way {
            Way::Lane { lane, .. } => lane.is_clear(),
            Way::Rows(_) => true,
        }
    }

    /// Offers what waits for room. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        match &mut self.way {
            Way::Lane { lane, .. } => lane.offer(),
            Way::Rows(_) => false,
        }
    }

    /// Ends an epoch on this shard.
    pub fn send_barrier(&mut self, barrier: Barrier) {
        if let Way::Lane { lane, .. } = &mut self.way {
            lane.send(SideItem::Barrier(barrier));
        }
    }

    /// Ends the stream on this shard.
    pub fn end(&mut self) {
        if let Way::Lane { lane, .. } = &mut self.way {
            lane.send(SideItem::End);
        }
    }
}

/// The writer's end of a side stream's sink.
pub struct SideEncoded {
    /// The sink's name.
    pub name: Arc<str>,
    lanes: Gathered<SideItem>,
    /// Set behind the last epoch of a run that is drained: nothing is written any more.
    closed: bool,
    output: Box<dyn Output + Send>,
}

impl SideEncoded {
    /// Writes what has arrived. Returns whether there was anything.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn step(&mut self) -> Result<bool, SinkError> {
        let (output, closed) = (&mut self.output, self.closed);
        self.lanes.take(|item| match item {
            SideItem::Records(_) if closed => Ok(Taken::Item),
            SideItem::Records(records) => records.write_to(output.as_mut()).map(|()| Taken::Item),
            SideItem::Barrier(barrier) => Ok(Taken::Barrier(*barrier)),
            SideItem::End => Ok(Taken::End),
        })
    }

    /// The barrier that every lane has come to; nothing behind it is taken before it has been asked for.
    pub fn barrier(&mut self) -> Option<Barrier> {
        self.lanes.barrier()
    }

    /// Whether every shard has ended the stream.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.lanes.is_done()
    }

    /// Passes on what the output has kept back.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        self.output.flush()
    }

    /// Ends an epoch of the output, the last one of a run that is drained where `last` says so.
    ///
    /// # Errors
    ///
    /// If what was written cannot be passed on.
    pub fn stage(&mut self, last: bool, now: Now) -> Result<Staged, SinkError> {
        self.output.tell_time(now);
        self.closed = last;
        self.output.stage(last)
    }

    /// What has been written, for good.
    #[must_use]
    pub fn into_output(self) -> Box<dyn Output + Send> {
        self.output
    }

    /// Gives it up before anything was written; `committed` tells whether it goes on from a snapshot.
    pub fn abandon(self, committed: bool) {
        self.output.abandon(committed);
    }
}
