//! All integration tests in one program, so that they are linked once.

mod bad_start;
mod crash;
mod disk;
mod process;
mod simulation;
mod tidy;
