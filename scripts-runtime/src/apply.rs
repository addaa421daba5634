//! What an increment and a merge make of a value. The run computes with them what it reads back, and the store what
//! it commits, so both agree.

use serde_json::Value;

use crate::effect::Amount;

/// The value is not one that this change can be applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("holds no number, so nothing can be added to it")]
    NotANumber,
    #[error("would leave the range of 64-bit integers")]
    Overflow,
    #[error("would not be a finite number")]
    NotFinite,
    #[error("is no document")]
    NotADocument,
}

/// The JSON text of a number plus `by`. Absent counts as 0.
pub fn increment(value: Option<&str>, by: Amount) -> Result<String, ApplyError> {
    let number = match value {
        None => Amount::Integer(0),
        Some(text) => number(text)?,
    };
    let sum = match (number, by) {
        (Amount::Integer(a), Amount::Integer(b)) => {
            return Ok(a.checked_add(b).ok_or(ApplyError::Overflow)?.to_string());
        }
        (a, b) => float(a) + float(b),
    };
    if sum.is_finite() { Ok(format!("{sum:?}")) } else { Err(ApplyError::NotFinite) }
}

fn number(text: &str) -> Result<Amount, ApplyError> {
    if let Ok(integer) = text.parse() {
        return Ok(Amount::Integer(integer));
    }
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) => {
            number.as_f64().map(Amount::Float).ok_or(ApplyError::NotANumber)
        }
        Ok(_) | Err(_) => Err(ApplyError::NotANumber),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "adding a float to an integer gives a float, as in Rhai"
)]
fn float(amount: Amount) -> f64 {
    match amount {
        Amount::Integer(integer) => integer as f64,
        Amount::Float(float) => float,
    }
}

/// The JSON text of a document with `patch` merged into it (RFC 7396): a value of null removes, maps merge, all else replaces.
pub fn merge(document: &str, patch: &str) -> Result<String, ApplyError> {
    let mut target: Value = serde_json::from_str(document).map_err(|_| ApplyError::NotADocument)?;
    let patch: Value = serde_json::from_str(patch).map_err(|_| ApplyError::NotADocument)?;
    if !target.is_object() {
        return Err(ApplyError::NotADocument);
    }
    merge_value(&mut target, patch);
    Ok(target.to_string())
}

/// The recursion ends by the depth that the reader of JSON allows.
fn merge_value(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge_value(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_stay_integers_unless_a_float_is_involved() {
        for (value, by, sum) in [
            (None, Amount::Integer(2), Ok("2")),
            (Some("40"), Amount::Integer(2), Ok("42")),
            (Some("40"), Amount::Float(0.5), Ok("40.5")),
            (Some("1.5"), Amount::Integer(1), Ok("2.5")),
            (Some("-3"), Amount::Float(1.0), Ok("-2.0")),
            (Some("9223372036854775807"), Amount::Integer(1), Err(ApplyError::Overflow)),
            (Some("1e308"), Amount::Float(1e308), Err(ApplyError::NotFinite)),
            (Some("\"7\""), Amount::Integer(1), Err(ApplyError::NotANumber)),
            (Some("null"), Amount::Integer(1), Err(ApplyError::NotANumber)),
        ] {
            assert_eq!(increment(value, by), sum.map(str::to_owned), "{value:?} + {by:?}");
        }
    }

    /// The examples of RFC 7396, appendix A, that begin with an object.
    #[test]
    fn merging_follows_the_rfc() {
        for (document, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge(document, patch).as_deref(), Ok(merged), "{document} + {patch}");
        }
        assert_eq!(merge("[1]", "{}"), Err(ApplyError::NotADocument));
    }
}
