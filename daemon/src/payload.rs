//! JSON text as it comes from outside.
