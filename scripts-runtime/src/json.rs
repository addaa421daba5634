//! JSON text to script values and back. A blob is the map `{"$base64": "..."}` in JSON.

pub(crate) mod read;
pub(crate) mod write;

/// The one key of the map that stands for a blob.
pub(crate) const BLOB_KEY: &str = "$base64";
