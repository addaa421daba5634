//! All integration tests in one program, so that they are linked once.

<<<<<<< HEAD
mod bad_start;
mod crash;
mod disk;
mod process;
=======
mod admin_socket;
mod command_line;
>>>>>>> admin
mod tidy;
