//! Small durable state: who exists, twins, subscriptions, cloud-to-device messages. Written whole, one value a key.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isotherm_host::Disk;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::StoreError;
use super::backend::Backend;

/// The file, in the store's folder.
const FILE: &str = "state.redb";

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Identity: registry record.
    Registry,
    /// Identity: twin.
    Twins,
    /// Identity: subscriptions of a session that is not clean.
    Subscriptions,
    /// Policy: key.
    Policies,
    /// Device and number: cloud-to-device message.
    Devicebound,
    /// Number: feedback record.
    Feedback,
    /// Id: automatic deployment or device configuration.
    Configurations,
    /// Id: scheduled job.
    Jobs,
    /// How far the way upstream has come, and what it last heard from there.
    Upstream,
    /// What else there is one of.
    Meta,
}

impl Table {
    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Table::Registry => "registry",
            Table::Twins => "twins",
            Table::Subscriptions => "subscriptions",
            Table::Policies => "policies",
            Table::Devicebound => "devicebound",
            Table::Feedback => "feedback",
            Table::Configurations => "configurations",
            Table::Jobs => "jobs",
            Table::Upstream => "upstream",
            Table::Meta => "meta",
        })
    }
}

/// What is to be written: the newest value of each key, `None` removes it.
pub(super) type Changes = BTreeMap<(Table, String), Option<Vec<u8>>>;

/// The database, and how to open it again: after a failed write redb wants that.
pub(super) struct Keeper {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    database: Option<Database>,
    /// What was last committed was damaged, and what had been committed before is in force.
    stepped_back: bool,
}

impl Keeper {
    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let mut keeper =
            Self { disk: Arc::clone(disk), path, cache_bytes, database: None, stepped_back: false };
        let checked = keeper.database().map(drop).and_then(|()| keeper.check());
        match checked {
            Ok(()) => Ok(keeper),
            Err(error) => Err(StoreError::new(&keeper.path, error)),
        }
    }

    /// Looks at every page and its checksum, once: later nobody would notice that a bit has rotted.
    fn check(&mut self) -> io::Result<()> {
        let Some(database) = &mut self.database else { return Ok(()) };
        let whole = database.check_integrity().map_err(io_error)?;
        if !whole {
            self.stepped_back = true;
            let path = self.path.display();
            tracing::error!(%path, "the database is damaged on disk; what it held before its last changes is in force");
        }
        Ok(())
    }

    fn database(&mut self) -> io::Result<&Database> {
        if self.database.is_none() {
            let file = self.disk.open(&self.path, true)?;
            let mut builder = Database::builder();
            builder.set_cache_size(self.cache_bytes);
            let database = builder.create_with_backend(Backend(file)).map_err(io_error)?;
            // What is in the file is safe only once its name is.
            self.disk.sync_dir(self.path.parent().expect("the store has a folder"))?;
            self.database = Some(database);
        }
        Ok(self.database.as_ref().expect("it was just opened"))
    }

    pub(super) fn load(&mut self, table: Table) -> io::Result<Vec<(String, Vec<u8>)>> {
        let read = self.database()?.begin_read().map_err(io_error)?;
        let table = match read.open_table(table.definition()) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(io_error(error)),
        };
        let rows = table.iter().map_err(io_error)?;
        rows.map(|row| {
            let (key, value) = row.map_err(io_error)?;
            Ok((key.value().to_owned(), value.value().to_vec()))
        })
        .collect()
    }

    /// Writes all changes in one transaction. After an error the database is opened anew at the next try.
    pub(super) fn write(&mut self, changes: &Changes) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.database().and_then(|database| write(database, changes).map_err(io_error));
        if written.is_err() {
            self.database = None;
        }
        written
    }
}

fn write(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    let mut changes = changes.iter().peekable();
    while let Some(((name, _), _)) = changes.peek() {
        let name = *name;
        let mut table = write.open_table(name.definition())?;
        while let Some(((_, key), value)) = changes.next_if(|((of, _), _)| *of == name) {
            match value {
                Some(value) => table.insert(key.as_str(), value.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
    }
    write.commit()?;
    Ok(())
}

/// The disk's own error where there is one, so that a full disk can be told from a broken file.
fn io_error(error: impl Into<redb::Error>) -> io::Error {
    match error.into() {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
