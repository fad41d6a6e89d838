//! Tables that rows are looked up in: files that are read as a whole when a run starts, and again when they change.
//!
//! - [`Table`]: what the file declares of one, and the rows it has now.
//! - [`index`]: rows by their keys, and by time where a key has several versions.
//! - [`load`](mod@load): a file to an index.
//! - [`watch`]: looks whether files have changed, on a thread of its own, and publishes what has become of them.

mod index;
mod load;
mod watch;

use std::fmt;
use std::sync::Arc;
#[expect(
    clippy::disallowed_types,
    reason = "taken for the time of one copy of a pointer, and only when a table is new"
)]
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

pub use index::{Index, Versions};
pub use load::{Loaded, TableError};
pub use watch::{Stamp, TableWatch};

use crate::codec::Format;
use crate::record::{Column, Schema, SqlType};

/// A table that a pipeline declares, with the rows it has now.
pub struct Table {
    /// Its name.
    pub name: Arc<str>,
    /// Its file.
    pub path: Arc<str>,
    /// Whether it is read again when the file changes.
    pub watch: bool,
    /// How the file is written.
    pub format: Format,
    /// Its columns.
    pub schema: Schema,
    /// The positions of the columns of its key, in the order of the declaration.
    pub key: Vec<usize>,
    /// The position of the column that says from when on a row holds; none where a key has one row.
    pub versions: Option<usize>,
    /// How often rows have been published.
    version: AtomicU64,
    #[expect(
        clippy::disallowed_types,
        reason = "taken for the time of one copy of a pointer, and only when a table is new"
    )]
    published: Mutex<Published>,
}

/// What a pipeline declares of a table.
#[derive(Clone, Debug)]
pub struct Declared {
    /// As in [`Table`], and so all of them.
    pub name: Arc<str>,
    /// See [`Table::path`].
    pub path: Arc<str>,
    /// See [`Table::watch`].
    pub watch: bool,
    /// See [`Table::format`].
    pub format: Format,
    /// See [`Table::schema`].
    pub schema: Schema,
    /// See [`Table::key`].
    pub key: Vec<usize>,
    /// See [`Table::versions`].
    pub versions: Option<usize>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "see the field")]
    pub fn new(declared: Declared) -> Self {
        let Declared { name, path, watch, format, schema, key, versions } = declared;
        let present = Arc::new(Index::empty(&schema, &key));
        let published = Mutex::new(Published { present, retired: Vec::new() });
        Self { name, path, watch, format, schema, key, versions, version: AtomicU64::new(0), published }
    }

    /// The column of a row that was found: a ROW with the table's name.
    #[must_use]
    pub fn column(&self, nullable: bool) -> Column {
        Column::new(&*self.name, SqlType::Row(self.schema.columns().to_vec()), nullable)
    }

    /// The names of the key's columns.
    #[must_use]
    pub fn key_names(&self) -> Vec<&str> {
        self.key.iter().map(|index| self.schema.columns()[*index].name.as_str()).collect()
    }

    /// Puts these rows in the place of those before, which readers go on with until they ask again.
    pub fn publish(&self, index: Arc<Index>) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut published.present, index);
        published.retired.push(before);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Frees the rows from before that no reader has any more: readers never do, since that takes long where there are many.
    pub fn release(&self) {
        let retired = {
            let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            let is_unread = |index: &mut Arc<Index>| Arc::strong_count(index) == 1;
            published.retired.extract_if(.., is_unread).collect::<Vec<Arc<Index>>>()
        };
        drop(retired);
    }

    fn present(&self) -> Arc<Index> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).present.clone()
    }
}

/// The rows of a table.
struct Published {
    present: Arc<Index>,
    /// Those from before that some reader may still have.
    retired: Vec<Arc<Index>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "table {} of {}", self.name, self.path)
    }
}

/// One reader's view of a table: the same rows until it asks for those that are there now.
pub struct Reader {
    table: Arc<Table>,
    version: u64,
    index: Arc<Index>,
}

impl Reader {
    /// A reader of a table.
    #[must_use]
    pub fn new(table: &Arc<Table>) -> Self {
        let version = table.version.load(Ordering::Acquire);
        Self { table: table.clone(), version, index: table.present() }
    }

    /// The rows that are there now. Called once per batch: it costs one read of a counter, but where rows were published
    /// since.
    pub fn present(&mut self) -> &Index {
        let version = self.table.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.index = self.table.present();
        }
        &self.index
    }
}

/// The tables of a pipeline by their names; none for one that is declared wrongly, which has been reported.
#[derive(Clone, Debug, Default)]
pub struct Tables(Vec<(String, Option<Arc<Table>>)>);

impl Tables {
    /// These tables.
    #[must_use]
    pub fn new(tables: Vec<(String, Option<Arc<Table>>)>) -> Self {
        Self(tables)
    }

    /// What is declared under a name, if anything is.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Option<&Arc<Table>>> {
        self.0.iter().find(|(declared, _)| declared == name).map(|(_, table)| table.as_ref())
    }

    /// The names, in the order of the page.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Those that are declared rightly, in the order of the page.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.0.iter().filter_map(|(_, table)| table.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Arc<Table> {
        Arc::new(Table::new(Declared {
            name: "t".into(),
            path: "t".into(),
            watch: true,
            format: Format::Json,
            schema: Schema::new(vec![Column::new("id", SqlType::BigInt, true)]),
            key: vec![0],
            versions: None,
        }))
    }

    #[test]
    fn readers_take_what_was_published_when_they_ask_and_free_nothing() {
        let table = table();
        let index = || Arc::new(Index::empty(&table.schema, &table.key));
        let retired = || {
            table.release();
            table.published.lock().unwrap().retired.len()
        };
        let mut readers = [Reader::new(&table), Reader::new(&table)];
        let first = index();
        table.publish(first.clone());
        assert_eq!(retired(), 1, "both readers have what was there before");
        assert!(std::ptr::eq(readers[0].present(), &raw const *first));
        assert_eq!(retired(), 1);
        assert!(std::ptr::eq(readers[1].present(), &raw const *first));
        assert_eq!(retired(), 0);
        let second = index();
        table.publish(index());
        table.publish(second.clone());
        assert_eq!(retired(), 1, "nobody has taken the one between");
        for reader in &mut readers {
            assert!(std::ptr::eq(reader.present(), &raw const *second));
        }
        drop(first);
        assert_eq!(retired(), 0);
    }
}
