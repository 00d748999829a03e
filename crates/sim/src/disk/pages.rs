//! One file: its bytes as the process sees them, and how to get back to those that were synced.

use isotherm_host::Chance;

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Pages {
    now: Vec<u8>,
    /// What changed since the last sync, oldest first.
    undo: Vec<Undo>,
    /// Whether its name is safe in its folder.
    named: bool,
    /// A sync of it was only said to be done.
    lied: bool,
}

/// How to take back one change.
#[derive(Debug)]
struct Undo {
    at: usize,
    before: Vec<u8>,
    length: usize,
    written: usize,
}

impl Pages {
    /// Safe from the beginning.
    pub(super) fn kept(bytes: &[u8]) -> Self {
        Self { now: bytes.to_vec(), undo: Vec::new(), named: true, lied: false }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    pub(super) fn name(&mut self) {
        self.named = true;
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        let length = self.now.len();
        let before = self.now[at.min(length)..end.min(length)].to_vec();
        self.undo.push(Undo { at, before, length, written: bytes.len() });
        if end > length {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, to: usize) {
        let length = self.now.len();
        if to != length {
            let before = self.now[to.min(length)..].to_vec();
            self.undo.push(Undo { at: to.min(length), before, length, written: 0 });
            self.now.resize(to, 0);
        }
    }

    pub(super) fn sync(&mut self) {
        self.undo.clear();
        self.lied = false;
    }

    /// Says that it is synced.
    pub(super) fn pretend_sync(&mut self) {
        self.lied = !self.undo.is_empty();
    }

    pub(super) fn has_lied(&self) -> bool {
        self.lied
    }

    /// Flips a bit of what is safe on disk.
    pub(super) fn flip(&mut self, at: usize, bit: u32) {
        if let Some(byte) = self.now.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// What is on the disk when power comes back.
    pub(super) fn after_power_cut(&self, chance: &Chance) -> Self {
        let bytes = match chance.u64() % 4 {
            _ if self.undo.is_empty() => self.now.clone(),
            0 => self.undone(self.undo.len()),
            1 => self.now.clone(),
            2 => self.undone((chance.u64() % (self.undo.len() as u64 + 1)) as usize),
            _ => self.torn(chance),
        };
        Self { now: bytes, undo: Vec::new(), named: true, lied: false }
    }

    /// The bytes as they were before the last so many changes.
    fn undone(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.now.clone();
        for undo in self.undo.iter().rev().take(count) {
            bytes.resize(undo.length.max(undo.at + undo.before.len()), 0);
            bytes[undo.at..undo.at + undo.before.len()].copy_from_slice(&undo.before);
            bytes.truncate(undo.length);
        }
        bytes
    }

    /// Of what was written, each sector is there or not.
    fn torn(&self, chance: &Chance) -> Vec<u8> {
        let old = self.undone(self.undo.len());
        let length = if chance.u64().is_multiple_of(2) { self.now.len() } else { old.len() };
        let mut bytes = old;
        bytes.resize(length, 0);
        for undo in &self.undo {
            let end = (undo.at + undo.written).min(length).min(self.now.len());
            let mut from = undo.at;
            while from < end {
                let until = ((from / SECTOR + 1) * SECTOR).min(end);
                if chance.u64().is_multiple_of(2) {
                    bytes[from..until].copy_from_slice(&self.now[from..until]);
                }
                from = until;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_outlives_every_power_cut_and_the_rest_is_old_or_new() {
        for seed in 0..200 {
            let chance = Chance::seeded(seed);
            let mut file = Pages::default();
            file.write(0, &[1; 2000]);
            file.sync();
            file.write(1000, &[2; 2000]);
            file.set_len(2500);
            let after = file.after_power_cut(&chance);
            assert!(after.bytes()[..1000].iter().all(|byte| *byte == 1));
            assert!((2000..=3000).contains(&after.bytes().len()), "{}", after.bytes().len());
            assert!(after.bytes()[1000..2000].iter().all(|byte| matches!(byte, 1 | 2)));
        }
    }

    #[test]
    fn all_changes_undone_give_the_synced_bytes() {
        let mut file = Pages::default();
        file.write(0, b"abcdef");
        file.sync();
        file.set_len(2);
        file.write(4, b"xyz");
        file.write(1, b"_");
        assert_eq!(file.bytes(), b"a_\0\0xyz");
        assert_eq!(file.undone(3), b"abcdef");
        assert_eq!(file.undone(1), b"ab\0\0xyz");
    }
}
