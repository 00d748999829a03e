//! The thermostat of a TMP102: fault queue, comparator and interrupt.

/// Decides after each conversion whether there is an alert. Temperatures are in steps of 1/16 °C.
#[derive(Clone, Debug, Default)]
pub(super) struct Alert {
    /// Whether the temperature is taken to be above: what the AL bit tells, in either mode.
    above: bool,
    /// Conversions in a row that said otherwise.
    streak: u8,
    /// In interrupt mode: the state changed and nobody has read a register since.
    unread: bool,
}

impl Alert {
    /// Judges one conversion. The state turns after `queue` conversions in a row beyond a limit: at or above
    /// `high` when it was below, below `low` when it was above.
    pub(super) fn judge(&mut self, steps: i16, low: i16, high: i16, queue: u8) {
        let beyond = if self.above { steps < low } else { steps >= high };
        self.streak = if beyond { self.streak + 1 } else { 0 };
        if self.streak >= queue {
            self.above = !self.above;
            self.streak = 0;
            self.unread = true;
        }
    }

    /// A register was read, or the chip answered an alert call: in interrupt mode that ends the alert.
    pub(super) fn acknowledge(&mut self) {
        self.unread = false;
    }

    pub(super) fn above(&self) -> bool {
        self.above
    }

    /// Whether the ALERT pin is active.
    pub(super) fn active(&self, interrupt_mode: bool) -> bool {
        if interrupt_mode { self.unread } else { self.above }
    }
}
