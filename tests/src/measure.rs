//! Measuring: what the benchmark is made of, and other tests that count bytes or processor time may use.

#![allow(clippy::disallowed_methods, reason = "measuring reads the clock")]

pub mod figure;
pub mod histogram;
pub mod load;
pub mod machine;
pub mod process;
pub mod report;
