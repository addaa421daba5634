//! Scripts through the whole sandbox, on a host that is a map in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod data;
mod errors;
mod harness;
mod limits;
mod outside;
mod reference;
mod services;

#[global_allocator]
static ALLOCATOR: picloud_scripts_runtime::memory::CountingAllocator =
    picloud_scripts_runtime::memory::CountingAllocator;
