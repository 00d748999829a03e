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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn acknowledgements_may_come_in_any_order() {
        let mut window = Window::new(3);
        let ids = [10, 20, 30].map(|token| window.open(token));
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(window.room(), 0);
        assert_eq!([3, 1, 2].map(|id| window.close(id)), [Some(30), Some(10), Some(20)]);
        assert_eq!(window.room(), 3);
    }

    #[test]
    fn an_identifier_that_is_not_in_flight_gives_nothing_back() {
        let mut window = Window::new(100);
        assert_eq!(window.close(1), None);
        let id = window.open(7);
        for other in [0, id + 1, id + 8, id + 16, u16::MAX] {
            assert_eq!(window.close(other), None);
        }
        assert_eq!(window.close(id), Some(7));
        assert_eq!(window.close(id), None);
    }

    #[test]
    fn one_that_is_never_acknowledged_keeps_its_identifier_while_the_others_wrap() {
        let mut window = Window::new(2);
        let stuck = window.open(99);
        for token in 0..3 * u64::from(PACKET_ID_MAX) {
            let id = window.open(token);
            assert!(id != stuck && id != 0 && id <= PACKET_ID_MAX);
            assert_eq!(window.close(id), Some(token));
        }
        assert_eq!(window.close(stuck), Some(99));
    }

    #[test]
    fn every_identifier_can_be_in_flight_at_once_and_not_one_more() {
        let mut window = Window::new(usize::MAX);
        let mut ids: Vec<u16> = (0..16_384).map(|token| window.open(token)).collect();
        assert_eq!(window.room(), 0);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 16_384);
    }

    #[test]
    #[should_panic(expected = "asks the window for room first")]
    fn sending_without_room_is_a_broken_promise() {
        let mut window = Window::new(1);
        window.open(1);
        window.open(2);
    }

    #[test]
    fn a_window_at_rest_holds_no_memory() {
        let mut window = Window::new(100);
        let id = window.open(1);
        window.rest();
        assert_eq!(window.close(id), Some(1), "what is in flight is not forgotten");
        window.rest();
        assert_eq!(window.slots.capacity(), 0);
    }

    proptest! {
        /// Against the plainest model there is: a list of pairs.
        #[test]
        fn it_gives_back_what_was_put_in(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..400)) {
            let (mut window, mut model, mut token) = (Window::new(40), Vec::new(), 0);
            for (open, which) in steps {
                if open && window.room() > 0 {
                    token += 1;
                    model.push((window.open(token), token));
                } else if !model.is_empty() {
                    let (id, token) = model.remove(which.index(model.len()));
                    prop_assert_eq!(window.close(id), Some(token));
                }
                prop_assert_eq!(window.in_flight(), model.len());
            }
            for (id, token) in model {
                prop_assert_eq!(window.close(id), Some(token));
            }
        }
    }
}
