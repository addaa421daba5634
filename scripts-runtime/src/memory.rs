//! What a thread holds: the counting allocator, and the gauge that a run is measured with.
//!
//! The gauge is a handful of cells without destructor in thread-local storage, so that the allocator may touch it
//! at any time, and `on_progress` can compare it with a run's thresholds in a few instructions.

#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without; nothing else is here"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting for each thread what it holds.
///
/// Binaries install it with `#[global_allocator]`; without it memory is not counted, and not limited.
pub struct CountingAllocator;

/// Cells of one thread. Only the thread itself reads and writes them.
pub(crate) struct Gauge {
    /// Bytes allocated minus bytes freed by this thread, ever; negative where others' memory is freed here.
    pub(crate) held: Cell<i64>,
    /// The most that `held` was since it was last set.
    pub(crate) peak: Cell<i64>,
    /// `held` must not be above this.
    pub(crate) held_max: Cell<i64>,
    /// `held` above this asks for a closer look at the next operation.
    pub(crate) held_trip: Cell<i64>,
    /// The lowest stack address at which memory was taken or given back since the last operation.
    pub(crate) stack_low: Cell<usize>,
    /// The interpreter's own stack must not go below this address.
    pub(crate) stack_floor: Cell<usize>,
    /// Operations of the run. Rhai's own count forgets those of closures that its functions call.
    pub(crate) operations: Cell<u64>,
    /// Operations at which a closer look is due.
    pub(crate) look_at: Cell<u64>,
    /// Whether shared variables are to be noted: the script has closures.
    pub(crate) notes_shared: Cell<bool>,
    /// Address of the shared variable noted last, which most often comes again.
    pub(crate) noted: Cell<usize>,
}

thread_local! {
    pub(crate) static GAUGE: Gauge = const {
        Gauge {
            held: Cell::new(0),
            peak: Cell::new(0),
            held_max: Cell::new(i64::MAX),
            held_trip: Cell::new(i64::MAX),
            stack_low: Cell::new(usize::MAX),
            stack_floor: Cell::new(0),
            operations: Cell::new(0),
            look_at: Cell::new(u64::MAX),
            notes_shared: Cell::new(false),
            noted: Cell::new(0),
        }
    };
}

impl Gauge {
    #[inline]
    fn add(&self, bytes: usize) {
        // A layout's size fits in isize, so in i64.
        let held = self.held.get().wrapping_add(bytes.cast_signed() as i64);
        self.held.set(held);
        if held > self.peak.get() {
            self.peak.set(held);
        }
        self.mark_stack();
    }

    #[inline]
    fn subtract(&self, bytes: usize) {
        self.held.set(self.held.get().wrapping_sub(bytes.cast_signed() as i64));
        self.mark_stack();
    }

    #[inline]
    fn mark_stack(&self) {
        let here = stack_address();
        if here < self.stack_low.get() {
            self.stack_low.set(here);
        }
    }
}

/// Gives what the allocator keeps for later back to the system. Takes up to milliseconds, so it is for quiet moments.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the declaration is that of malloc.h, and the function may be called at any time by any thread.
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // It says whether there was anything to give.
        let _given = malloc_trim(0);
    }
}

/// Has all threads take their memory from so many heaps at most, where the allocator would make one for nearly each: what
/// is free in one is of no use to another, so that the daemon would hold the most that each thread ever needed. To be called
/// before there are threads. Locks of these heaps are no matter: each thread keeps small blocks at hand.
pub fn share_heaps(heaps_max: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // From malloc.h.
        const M_ARENA_MAX: std::ffi::c_int = -8;
        // SAFETY: the declaration is that of malloc.h, and the function may be called at any time by any thread.
        unsafe extern "C" {
            safe fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        // It says whether it knows the parameter: one that does not has no such heaps.
        let _known = mallopt(M_ARENA_MAX, heaps_max);
    }
}

/// Bytes that this thread holds: allocated minus freed by it, ever.
pub fn held_bytes() -> i64 {
    GAUGE.with(|gauge| gauge.held.get())
}

/// About where the stack ends at present.
#[inline]
pub(crate) fn stack_address() -> usize {
    let mark = 0_u8;
    std::hint::black_box(&raw const mark).addr()
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what it returns, so `System`'s contract
// holds for ours. The counting in between cannot allocate, panic or unwind: it is integer arithmetic that wraps, on
// cells in thread-local storage that is initialised by a constant and has no destructor (so access neither allocates
// nor fails, also while a thread starts or ends).
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System.alloc`'s.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            GAUGE.with(|gauge| gauge.add(layout.size()));
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            GAUGE.with(|gauge| gauge.add(layout.size()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout, since all of our blocks do.
        unsafe { System.dealloc(block, layout) };
        GAUGE.with(|gauge| gauge.subtract(layout.size()));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `block` came from `System` with this layout; `size` is as the caller promised.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            GAUGE.with(|gauge| {
                gauge.subtract(layout.size());
                gauge.add(size);
            });
        }
        moved
    }
}
