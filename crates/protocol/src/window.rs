//! What is on its way and not yet acknowledged.

/// Packet identifiers run from 1 to this and then begin again, as Azure's own protocol gateway has them. What lies
/// above is free for SUBSCRIBE and UNSUBSCRIBE, so that the two never meet in one identifier.
pub(crate) const PACKET_ID_MAX: u16 = 0x4000;

/// Messages in flight, keyed by packet identifier. Acknowledgements may come in any order; each gives back the
/// token that its message was sent with. An idle window holds no memory.
#[derive(Debug, Clone)]
pub struct Window {
    /// A power of two long; an identifier lives at `(id - 1) % len`, so finding it is one step.
    slots: Vec<Slot>,
    last: u16,
    in_flight: usize,
    max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// 0 where nothing is in flight: no packet may carry that identifier.
    packet_id: u16,
    token: u64,
}

const EMPTY: Slot = Slot { packet_id: 0, token: 0 };

impl Window {
    /// A window for `max` messages in flight, at most 16,384.
    pub fn new(max: usize) -> Self {
        Self { slots: Vec::new(), last: 0, in_flight: 0, max: max.min(usize::from(PACKET_ID_MAX)) }
    }

    /// How many more messages may be sent before one is acknowledged.
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.in_flight)
    }

    /// How many messages are not acknowledged yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Notes a message as sent and gives the packet identifier it travels under.
    ///
    /// # Panics
    /// When there is no room: ask [`Window::room`] first.
    pub fn open(&mut self, token: u64) -> u16 {
        assert!(self.room() > 0, "whoever sends asks the window for room first");
        if self.in_flight == self.slots.len() {
            self.grow();
        }
        loop {
            self.last = self.last % PACKET_ID_MAX + 1;
            let slot = self.slot(self.last);
            if self.slots[slot].packet_id == 0 {
                self.slots[slot] = Slot { packet_id: self.last, token };
                self.in_flight += 1;
                return self.last;
            }
        }
    }

    /// Takes an acknowledged message out; nothing when no message is in flight under this identifier.
    pub fn close(&mut self, packet_id: u16) -> Option<u64> {
        if packet_id == 0 || self.slots.is_empty() {
            return None;
        }
        let slot = self.slot(packet_id);
        let Slot { packet_id: found, token } = self.slots[slot];
        (found == packet_id).then(|| {
            self.slots[slot] = EMPTY;
            self.in_flight -= 1;
            token
        })
    }

    /// Gives memory back when nothing is in flight.
    pub(crate) fn rest(&mut self) {
        if self.in_flight == 0 {
            self.slots = Vec::new();
        }
    }

    fn slot(&self, packet_id: u16) -> usize {
        (usize::from(packet_id) - 1) & (self.slots.len() - 1)
    }

    /// Doubles. Identifiers that differed modulo the old length differ modulo the new one too, so none collide.
    fn grow(&mut self) {
        let longer = vec![EMPTY; (self.slots.len() * 2).max(8)];
        for slot in std::mem::replace(&mut self.slots, longer) {
            if slot.packet_id != 0 {
                let at = self.slot(slot.packet_id);
                self.slots[at] = slot;
            }
        }
    }
}
