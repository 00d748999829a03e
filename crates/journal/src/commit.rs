//! The way to the disk: one write, one sync, and nothing is believed before the sync came back.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use isotherm_host::{Disk, File};

use crate::{
    record::{self, Kind, MAGIC},
    state::Plan,
};

/// Chunks are gathered into one write of about this many bytes.
const WRITE_BYTES: usize = 256 << 10;
/// A larger buffer than this is not kept between commits.
const IDLE_BYTES: usize = 16 << 10;
/// How far ahead a file is filled with zeros, in bytes: as far again as it is long, within these bounds. A sync that
/// changes no length is one write to the disk; one that does also waits for the file system's own log.
const AHEAD_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=256 << 10;
/// A commit of more bytes than this is worth its own price, and filling ahead would only write everything twice.
const LARGE_BYTES: u64 = 64 << 10;
/// What it is filled with, a piece at a time.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// The name of a segment's file.
pub(crate) fn file_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.log"))
}

/// The number in a segment file's name; `None` for any other file.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Writes to the last segment. Whoever commits holds it.
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The last segment's file and number, once there is something to write.
    file: Option<(u64, Box<dyn File>)>,
    /// The last write may have left something behind the synced length.
    dirty: bool,
    /// How long the file is, zeros included.
    filled: u64,
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, file: None, dirty: false, filled: 0, buffer: Vec::new() }
    }

    /// Brings a plan to disk, and says how long its segment is then. After an error the segment is as it was: what was
    /// written of the plan is cut off, now or before the next write.
    pub(crate) fn write(&mut self, plan: &Plan) -> io::Result<u64> {
        let length = plan.segment.bytes;
        let new = self.ready(plan)?;
        self.dirty = true;
        let result = self.write_at(length, plan).and_then(|end| {
            if new {
                self.disk.sync_dir(&self.dir)?;
            }
            Ok(end)
        });
        self.dirty = result.is_err() && self.cut(length).is_err();
        if result.is_err() && new {
            self.file = None;
        }
        if self.buffer.capacity() > IDLE_BYTES {
            self.buffer = Vec::new();
        }
        result
    }

    /// Opens the plan's file, and says whether its name is new in the folder.
    fn ready(&mut self, plan: &Plan) -> io::Result<bool> {
        let open = self.file.as_ref().is_some_and(|(id, _)| *id == plan.segment.id);
        let new = !open && plan.segment.bytes == 0;
        if !open {
            let path = file_of(&self.dir, plan.segment.id);
            self.file = Some((plan.segment.id, self.disk.open(&path, true)?));
            self.dirty = true; // an earlier attempt may have left something
        }
        if self.dirty {
            self.cut(plan.segment.bytes)?;
            self.dirty = false;
        }
        Ok(new)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.filled = length;
        self.file.as_ref().map_or(Ok(()), |(_, file)| file.set_len(length))
    }

    fn write_at(&mut self, length: u64, plan: &Plan) -> io::Result<u64> {
        let (_, file) = self.file.as_ref().expect("`ready` has opened it");
        let mut out = Gather { file: file.as_ref(), buffer: &mut self.buffer, at: length };
        out.buffer.clear();
        if length == 0 {
            out.buffer.extend_from_slice(&MAGIC);
            record::write(out.buffer, Kind::Base, plan.segment.base, |_| ());
        }
        let rest = plan.rest_bytes().to_le_bytes();
        record::write(out.buffer, Kind::Mark, plan.first, |into| into.extend_from_slice(&rest));
        if let Some(note) = &plan.carried {
            record::write(out.buffer, Kind::Note, plan.segment.base, |into| into.extend_from_slice(note));
        }
        for chunk in &plan.chunks {
            out.add(&chunk.bytes)?;
        }
        if let Some(note) = &plan.note {
            record::write(out.buffer, Kind::Note, plan.end, |into| into.extend_from_slice(note));
        }
        out.flush()?;
        let end = out.at;
        self.filled = self.filled.max(end);
        if self.filled == end && end - length <= LARGE_BYTES && self.disk.is_durable() {
            self.filled = fill(file.as_ref(), end, plan.segment_bytes);
        }
        file.sync()?;
        Ok(end)
    }
}

/// Fills a file ahead, within what a segment may have, and says how long it is then. A disk without room for that may
/// still have room for what is promised.
fn fill(file: &dyn File, end: u64, segment_bytes: u64) -> u64 {
    let ahead = end.clamp(*AHEAD_BYTES.start(), *AHEAD_BYTES.end());
    let goal = end + ahead.min(segment_bytes.saturating_sub(end));
    let mut filled = end;
    while filled < goal {
        let piece = ZEROS.len().min((goal - filled) as usize);
        if file.write_at(filled, &ZEROS[..piece]).is_err() {
            break;
        }
        filled += piece as u64;
    }
    filled
}

/// Makes few writes out of many pieces.
struct Gather<'a> {
    file: &'a dyn File,
    buffer: &'a mut Vec<u8>,
    at: u64,
}

impl Gather<'_> {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > WRITE_BYTES {
            self.flush()?;
        }
        if bytes.len() >= WRITE_BYTES {
            self.file.write_at(self.at, bytes)?; // large enough to go as it is
            self.at += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(self.at, self.buffer)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}
