//! Queues: one for each input of a module and priority, in the order things came.

use super::Core;

/// How many wait in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueGauge {
    /// `device/module/input`.
    pub endpoint: String,
    /// 0 (first) to 9, or 2000000000 (no priority given).
    pub priority: u32,
    /// How many messages.
    pub length: u64,
}

impl Core {
    /// How many wait in each queue, by endpoint and priority.
    pub fn queues(&self) -> Vec<QueueGauge> {
        unimplemented!()
    }

    /// How many messages wait for modules.
    pub fn held(&self) -> u64 {
        unimplemented!()
    }
}
