//! The writer's thread.
