//! The memory that plans may take before they spill to disk.
//!
//! It deliberately refuses nothing that a plan cannot do without: whoever asks for more at the end of
//! what there is must either spill or go on, and a plan that can do neither would end the run.
//! DataFusion's own pools refuse a sort the room to merge what it has sorted, and end it.
//!
//! Invariant: an operator that holds less than its share is never refused; one that holds more, and
//! can spill, is.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The memory of all plans of an engine.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The operators that can spill.
    spillers: usize,
    /// All that was asked for.
    bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> Self {
        Self { bytes, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that `asked` of a reservation really take.
    fn weighed(reservation: &MemoryReservation, asked: usize) -> usize {
        // A sort holds its rows a second time, as keys, while it merges what it has sorted, and asks
        // for that only when it is too late to spill.
        let sorts = reservation.consumer().name().starts_with("ExternalSorter[");
        if sorts { asked.saturating_mul(2) } else { asked }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes for plans", self.bytes)
    }
}

impl MemoryPool for Memory {
    fn name(&self) -> &'static str {
        "plans"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut held = self.held();
            held.spillers = held.spillers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut held = self.held();
        held.bytes = held.bytes.saturating_add(Self::weighed(reservation, additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut held = self.held();
        held.bytes = held.bytes.saturating_sub(Self::weighed(reservation, shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut held = self.held();
        let after = held.bytes.saturating_add(Self::weighed(reservation, additional));
        let shares = if reservation.consumer().can_spill() { 2 * held.spillers.max(1) } else { 2 };
        let holds = Self::weighed(reservation, reservation.size());
        // A merge of what was spilled asks for one file after another in one reservation, and begins
        // with fewer where it is refused.
        if after > self.bytes && holds > self.bytes / shares {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} holds {} bytes of {self} and asks for {additional} more",
                reservation.consumer().name(),
                reservation.size()
            )));
        }
        held.bytes = after;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held().bytes
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}
