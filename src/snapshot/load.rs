//! A snapshot as a whole: its manifest, its parts, and the rows in them that a shard takes.

use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, FieldRef, Schema};

use super::columns::sql_type;
use super::error::{Location, SnapshotError};
use super::manifest::Manifest;
use super::part::{owned_slots, part_name};
use super::read::{Part, SavedState, SavedTable, Slots};
use crate::io::{Storage, map_file};
use crate::operator::StateTable;

/// How the bytes of parts are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Where they lie, on the machine's own disk.
    Mapped,
    /// Read into memory.
    Read,
}

/// A committed snapshot, opened.
#[derive(Debug)]
pub struct Snapshot {
    manifest: Manifest,
    parts: Vec<Part>,
}

impl Snapshot {
    /// Opens the parts that a manifest names, in its folder. Their blocks are checked as they are read.
    ///
    /// # Errors
    ///
    /// If a part cannot be read, is damaged, or is another than the manifest says.
    pub fn open(
        storage: &dyn Storage,
        folder: &Path,
        manifest: Manifest,
        access: Access,
    ) -> Result<Self, SnapshotError> {
        let mut parts = Vec::new();
        for (shard, summary) in manifest.shards.iter().enumerate() {
            if summary.file != part_name(shard) {
                let what = format!("the part of shard {shard} is called {:?}", summary.file);
                return Err(SnapshotError::damaged(folder, Location::Whole, what));
            }
            let path = folder.join(&summary.file);
            let bytes = bytes(storage, &path, access)?;
            parts.push(Part::open(&path, bytes, &manifest, shard)?);
        }
        let snapshot = Self { manifest, parts };
        snapshot.check_parts_agree()?;
        Ok(snapshot)
    }

    /// What it is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its parts, `[shard]`.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The states it holds, with what their tables have in all parts.
    #[must_use]
    pub fn states(&self) -> Vec<SavedState> {
        let Some((first, others)) = self.parts.split_first() else { return Vec::new() };
        let mut states = first.states().to_vec();
        for other in others {
            for (state, more) in states.iter_mut().zip(other.states()) {
                for (table, more) in state.tables.iter_mut().zip(&more.tables) {
                    table.rows = table.rows.saturating_add(more.rows);
                    table.bytes = table.bytes.saturating_add(more.bytes);
                }
            }
        }
        states
    }

    /// Hands out the saved rows that a shard, of `shards`, takes of the states of its operators, given as to
    /// [`super::PartWriter::new`]: the number of the state, that of its table, and the rows. Of tables with a key they are
    /// those whose keys the shard owns, of tables without one all. A state that was not saved has no rows; one that is
    /// saved and not asked for is left ([`Snapshot::unclaimed`]).
    ///
    /// # Errors
    ///
    /// If a table was saved with other columns, or a block is not as it was written. Rows may have been handed out before.
    pub fn rows_for(
        &self,
        shard: usize,
        shards: usize,
        wanted: &[(String, Vec<StateTable>)],
        mut take: impl FnMut(usize, usize, &RecordBatch),
    ) -> Result<(), SnapshotError> {
        let range = owned_slots(shard, shards);
        for (state, (name, tables)) in wanted.iter().enumerate() {
            // States of one name are told apart by their order.
            let occurrence = wanted[..state].iter().filter(|(other, _)| other == name).count();
            for part in &self.parts {
                let of_name = part.states().iter().enumerate().filter(|(_, saved)| saved.name == *name);
                let Some((saved_state, saved)) = of_name.clone().nth(occurrence) else { continue };
                check_tables(name, tables, saved)?;
                for (table, wanted) in tables.iter().enumerate() {
                    let same = |saved: &SavedTable| saved.name == wanted.name;
                    let saved_table = saved.tables.iter().position(same).expect("it has been checked");
                    let slots = wanted.key.as_ref().map(|codec| Slots { range, codec });
                    let places = places(&saved.tables[saved_table].schema, &wanted.schema);
                    let places = places.expect("it has been checked");
                    part.rows(saved_state, saved_table, slots.as_ref(), |rows| {
                        if rows.num_rows() > 0 {
                            let rows = rows.project(&places).expect("the columns are there");
                            take(state, table, &rows);
                        }
                        ControlFlow::Continue(())
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The names of saved states that nobody asks for.
    #[must_use]
    pub fn unclaimed(&self, wanted: &[(String, Vec<StateTable>)]) -> Vec<String> {
        let mut left: Vec<String> = self.states().into_iter().map(|state| state.name).collect();
        for (name, _) in wanted {
            if let Some(at) = left.iter().position(|other| other == name) {
                left.remove(at);
            }
        }
        left
    }

    /// Hands out the rows of one saved table, counted as in [`Snapshot::states`], whichever shard they are of, until it is
    /// told that they are enough.
    ///
    /// # Errors
    ///
    /// If a block is not as it was written.
    pub fn rows(
        &self,
        state: usize,
        table: usize,
        mut take: impl FnMut(&RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), SnapshotError> {
        let mut enough = false;
        for part in &self.parts {
            if enough {
                break;
            }
            part.rows(state, table, None, |rows| {
                let next = take(&rows);
                enough = next.is_break();
                next
            })?;
        }
        Ok(())
    }

    /// Checks every byte of every part.
    ///
    /// # Errors
    ///
    /// The first thing that is not as it was written.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.parts.iter().try_for_each(Part::verify)
    }

    fn check_parts_agree(&self) -> Result<(), SnapshotError> {
        let same_table =
            |(a, b): (&SavedTable, &SavedTable)| (&a.name, a.key, &a.schema) == (&b.name, b.key, &b.schema);
        let same_state = |(a, b): (&SavedState, &SavedState)| {
            a.name == b.name
                && a.tables.len() == b.tables.len()
                && a.tables.iter().zip(&b.tables).all(same_table)
        };
        let Some((first, others)) = self.parts.split_first() else { return Ok(()) };
        let same = |other: &&Part| {
            let (a, b) = (first.states(), other.states());
            a.len() == b.len() && a.iter().zip(b).all(same_state)
        };
        match others.iter().find(|other| !same(other)) {
            Some(other) => {
                Err(SnapshotError::foreign(other.path(), "its tables are not those of the other shards"))
            }
            None => Ok(()),
        }
    }
}

/// The bytes of a file.
fn bytes(storage: &dyn Storage, path: &Path, access: Access) -> Result<Buffer, SnapshotError> {
    let bytes = match access {
        Access::Mapped => map_file(path),
        Access::Read => storage.read(path).map(Buffer::from_vec),
    };
    bytes.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => SnapshotError::missing(path),
        _ => SnapshotError::io(path, source),
    })
}

/// Checks that the tables of a state are those that were saved.
fn check_tables(state: &str, wanted: &[StateTable], saved: &SavedState) -> Result<(), SnapshotError> {
    let changed = |what: String| Err(SnapshotError::Changed { state: state.to_owned(), what });
    if let Some(more) = saved.tables.iter().find(|saved| wanted.iter().all(|table| table.name != saved.name))
    {
        return changed(format!("it was saved with a table `{}`, which it no longer has", more.name));
    }
    for table in wanted {
        let Some(saved) = saved.tables.iter().find(|saved| saved.name == table.name) else {
            return changed(format!("it was saved without the table `{}`", table.name));
        };
        if places(&saved.schema, &table.schema).is_none() {
            let (was, is) = (columns(&saved.schema), columns(&table.schema));
            return changed(format!(
                "its table `{}` was saved with the columns {was}, and now has {is}",
                table.name
            ));
        }
        let key = table.key.as_ref().map(|codec| codec.types().len());
        if saved.key != key {
            let name =
                |key: Option<usize>| key.map_or("no key".to_owned(), |key| format!("a key of {key} columns"));
            let (was, is) = (name(saved.key), name(key));
            return changed(format!("its table `{}` was saved with {was}, and now has {is}", table.name));
        }
    }
    Ok(())
}

/// Where each of the columns that are wanted was saved, by name and type; none where one was not. More may have been
/// saved: results that the step has lost ([`crate::plan::Upgrade`]).
fn places(saved: &Schema, wanted: &Schema) -> Option<Vec<usize>> {
    let place = |field: &arrow::datatypes::FieldRef| {
        saved
            .fields()
            .iter()
            .position(|was| (was.name(), was.data_type()) == (field.name(), field.data_type()))
    };
    wanted.fields().iter().map(place).collect()
}

/// The names and types of columns, as a person reads them.
#[must_use]
pub fn columns(schema: &Schema) -> String {
    let column = |field: &FieldRef| format!("{} {}", field.name(), type_name(field.data_type()));
    schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

/// The name of a type in the language, or Arrow's where the language has none.
#[must_use]
pub fn type_name(data_type: &DataType) -> String {
    sql_type(data_type).map_or_else(|| data_type.to_string(), |sql| sql.to_string())
}
