//! The gate: who may run now.
