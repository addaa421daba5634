//! What the tests share.

pub mod measure;
