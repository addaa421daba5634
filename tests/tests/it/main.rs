//! All integration tests in one program, so that they are linked once.

mod admin_socket;
mod bad_start;
mod command_line;
mod crash;
mod disk;
mod process;
mod simulation;
mod tidy;
