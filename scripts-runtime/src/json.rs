//! JSON text to script values and back. A blob is the map `{"$base64": "..."}` in JSON.

pub(crate) mod read;
pub(crate) mod write;

/// The one key of the map that stands for a blob.
pub(crate) const BLOB_KEY: &str = "$base64";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rhai::{Dynamic, Map};

    use super::read::{Blobs, value};
    use super::write::text;
    use crate::limits::RunLimits;

    fn read(json: &str) -> Dynamic {
        value(json, "the text", Blobs::Decoded, &RunLimits::default()).expect("it is JSON")
    }

    /// Any value that a script may hold and JSON can, blobs included.
    pub(crate) fn any_value() -> impl Strategy<Value = Dynamic> {
        let leaf = prop_oneof![
            Just(Dynamic::UNIT),
            any::<bool>().prop_map(Dynamic::from),
            any::<i64>().prop_map(Dynamic::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Dynamic::from),
            ".{0,12}".prop_map(Dynamic::from),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(Dynamic::from_blob),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Dynamic::from_array),
                proptest::collection::btree_map(".{0,6}", inner, 0..6).prop_map(|map| {
                    Dynamic::from_map(map.into_iter().map(|(k, v)| (k.into(), v)).collect::<Map>())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in any_value()) {
            let json = text(&value, "value", usize::MAX).expect("it can be JSON");
            prop_assert_eq!(text(&read(&json), "value", usize::MAX).expect("it was read"), json.clone());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }

        #[test]
        fn any_text_is_read_or_refused(json in ".{0,60}") {
            let ours = value(&json, "the text", Blobs::AsMaps, &RunLimits::default());
            let theirs = serde_json::from_str::<serde_json::Value>(&json);
            prop_assert!(ours.is_err() || theirs.is_ok());
        }

        #[test]
        fn any_number_is_read_exactly_or_refused(json in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?(e[0-9]{1,2})?") {
            match value(&json, "the text", Blobs::AsMaps, &RunLimits::default()) {
                Ok(number) if number.is_int() => {
                    prop_assert_eq!(number.as_int().ok(), json.parse::<i64>().ok());
                }
                Ok(number) => {
                    prop_assert!(json.contains(['.', 'e']) || json == "-0", "{} became a float", json);
                    prop_assert_eq!(number.as_float().ok(), json.parse::<f64>().ok());
                }
                Err(_) => prop_assert!(json.parse::<i64>().is_err()),
            }
        }

        #[test]
        fn no_more_is_written_than_is_allowed(value in any_value(), bytes_max in 0_usize..60) {
            let whole = text(&value, "value", usize::MAX).expect("it can be JSON");
            prop_assert_eq!(text(&value, "value", bytes_max).is_ok(), whole.len() <= bytes_max);
        }
    }

    #[test]
    fn texts_are_escaped_as_json_wants() {
        let odd = "\u{0}\u{1f}\"\\/\n\r\t\u{7f}é😀\u{2028}";
        let json = text(&odd.into(), "value", usize::MAX).expect("it can be JSON");
        assert_eq!(json, "\"\\u0000\\u001f\\\"\\\\/\\n\\r\\t\u{7f}é😀\u{2028}\"");
        assert_eq!(serde_json::from_str::<String>(&json).expect("it is JSON"), odd);
    }
}
