//! Scripts through the whole sandbox, on a host that is a map in memory.

mod data;
mod harness;

#[global_allocator]
static ALLOCATOR: picloud_scripts_runtime::memory::CountingAllocator =
    picloud_scripts_runtime::memory::CountingAllocator;
