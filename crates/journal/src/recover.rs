//! What the files say when a journal is opened.

use std::{collections::VecDeque, io, ops::Range, path::Path};

use bytes::Bytes;
use isotherm_host::{Disk, File};

use crate::{
    JournalError, Offset, Recovery,
    commit::{file_of, id_of},
    record::{Entry, HEADER, Kind, MAGIC, Scanner, Step},
    state::Segment,
};

/// How much of a segment is read at a time.
const READ_BYTES: usize = 128 << 10;
/// How much is read at a time from the end backwards, where a file is filled with zeros.
const ZEROS_BYTES: usize = 16 << 10;

/// Everything that one pass over the segments has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    /// The last note, and the segment that has it.
    pub(crate) note: Option<(u64, Bytes)>,
    pub(crate) report: Recovery,
    /// Offsets of which there is no record.
    lost: Vec<Range<Offset>>,
    /// The last thing read was damage, counted as one record so far.
    damaged: bool,
}

/// Reads all segments in `dir`, oldest first, and cuts off what was never synced.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, JournalError> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| JournalError { path, source }
    };
    disk.create_dir(dir).map_err(at(dir))?;
    let names = disk.list(dir).map_err(at(dir))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| id_of(name)).collect();
    ids.sort_unstable();
    let mut found = Recovered::default();
    for (index, &id) in ids.iter().enumerate() {
        let path = file_of(dir, id);
        let file = disk.open(&path, false).map_err(at(&path))?;
        found.segment(file.as_ref(), id, index + 1 == ids.len()).map_err(at(&path))?;
    }
    if found.segments.is_empty() {
        found.segments.push_back(Segment { id: 0, base: 0, end: 0, bytes: 0 });
    } else {
        disk.sync_dir(dir).map_err(at(dir))?; // a killed process may have made names and not synced them
    }
    // Segments may be unlinked before the mark that would say so is there.
    let oldest = found.segments.front().map_or(0, |segment| segment.base);
    found.first = found.first.max(oldest);
    found.leap(found.first); // records that were forgotten before they were written have left no trace
    found.count();
    Ok(found)
}

impl Recovered {
    fn segment(&mut self, file: &dyn File, id: u64, last: bool) -> io::Result<()> {
        let length = file.len()?;
        let corrupt_before = self.report.corrupt_records;
        // Behind this are nothing but the zeros that a file is filled with ahead of what it holds.
        let written = written(file, length)?;
        let mut end = length;
        self.segments.push_back(Segment { id, base: self.next, end: self.next, bytes: length });
        let mut scanner = Scanner::new(file, 0, length, READ_BYTES);
        let mut begun = has_magic(file)?;
        if begun {
            scanner = Scanner::new(file, MAGIC.len() as u64, length, READ_BYTES);
        }
        // What was found up to the commit with the first damage that no later mark has shown to be more than a torn
        // tail.
        let mut doubt: Option<(u64, Self)> = None;
        // What was found before the last commit, and where that one ends.
        let mut commit: Option<(u64, Self, u64)> = None;
        let mut promised = 0; // how far the last mark says that its commit goes
        loop {
            let at = scanner.position();
            match if begun { scanner.step(self.next)? } else { Step::Damage } {
                Step::End => break,
                Step::Entry(entry) => {
                    if entry.kind == Kind::Mark {
                        doubt = None;
                        promised = scanner.commit_end(&entry);
                        commit = last.then(|| (at, self.clone(), promised));
                    }
                    self.entry(&entry, &scanner);
                }
                Step::Damage if begun && at >= written => {
                    end = at;
                    break;
                }
                Step::Damage => {
                    if doubt.is_none() {
                        doubt = Some(match commit.take() {
                            Some((begun, before, end)) if end > at => (begun, before),
                            _ => (at, self.clone()),
                        });
                    }
                    self.report.corrupt_records += 1;
                    self.damaged = true;
                    begun = true;
                    if !scanner.resync(self.next)? {
                        break;
                    }
                }
            }
        }
        self.segment_mut().bytes = end;
        if !last && promised > end {
            self.report.corrupt_records += 1; // only of the last commit of all may a part be missing
            self.damaged = true;
        }
        let short = commit.filter(|_| promised > end).map(|(at, before, _)| (at, before));
        if let Some((torn_at, before)) = doubt.or(short).filter(|_| last) {
            *self = before;
            self.report.torn_bytes = written.saturating_sub(torn_at);
            self.segment_mut().bytes = torn_at;
            file.set_len(torn_at)?;
        }
        if last {
            if self.segment_mut().bytes <= MAGIC.len() as u64 {
                // It is begun anew: nothing in it says where its offsets go on once the segments before it are gone.
                self.segment_mut().bytes = 0;
                file.set_len(0)?;
            }
            file.sync()?; // what a killed process had written but not synced is built upon from here
            if self.report.corrupt_records > corrupt_before {
                // Nothing is written behind damage: what follows could make its bytes read as something else.
                self.segments.push_back(Segment { id: id + 1, base: self.next, end: self.next, bytes: 0 });
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, scanner: &Scanner<'_>) {
        match entry.kind {
            Kind::Mark => self.first = self.first.max(entry.offset),
            Kind::Note => {
                let note = Bytes::copy_from_slice(scanner.payload(entry.payload.clone()));
                self.note = Some((self.segment_mut().id, note));
            }
            Kind::Base => {
                self.leap(entry.offset);
                let segment = self.segment_mut();
                (segment.base, segment.end) = (entry.offset, entry.offset);
            }
            Kind::Record => {
                let missing = self.leap(entry.offset);
                if std::mem::take(&mut self.damaged) {
                    self.report.corrupt_records += missing.saturating_sub(1);
                }
                self.next = entry.offset + 1;
                self.segment_mut().end = self.next;
            }
        }
    }

    /// The next record is at `offset`; says how many that would have stood before it are not there.
    fn leap(&mut self, offset: Offset) -> u64 {
        let missing = offset.saturating_sub(self.next);
        if missing > 0 {
            self.lost.push(self.next..offset);
            self.next = offset;
        }
        missing
    }

    fn segment_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("pushed when its scan began")
    }

    fn count(&mut self) {
        let (first, next) = (self.first, self.next);
        let lost = |range: &Range<Offset>| range.end.saturating_sub(range.start.max(first));
        let missing: u64 = self.lost.iter().map(lost).sum();
        self.report.records = (next - first).saturating_sub(missing);
    }
}

/// How long a file is without the zeros at its end; a record may have some of them for its own.
fn written(file: &dyn File, length: u64) -> io::Result<u64> {
    let mut block = vec![0; ZEROS_BYTES];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(ZEROS_BYTES as u64);
        let part = &mut block[..(end - start) as usize];
        let read = file.read_at(start, part)?;
        if let Some(last) = part[..read].iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn has_magic(file: &dyn File) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    let read = file.read_at(0, &mut magic)?;
    debug_assert!(MAGIC.len() <= HEADER);
    Ok(read == magic.len() && magic == MAGIC)
}
