//! The admin API over the Unix socket.
