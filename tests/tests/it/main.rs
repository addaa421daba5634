//! All integration tests in one program, so that they are linked once.

mod admin_socket;
mod command_line;
mod tidy;
