//! Scripts through the whole sandbox, on a host that is a map in memory.

mod data;
mod errors;
mod harness;
mod limits;

#[global_allocator]
static ALLOCATOR: picloud_scripts_runtime::memory::CountingAllocator =
    picloud_scripts_runtime::memory::CountingAllocator;
