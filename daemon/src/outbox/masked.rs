//! Events as they are shown: what a caller signs in with is hidden, and comes back when an edited event is replayed.

use std::borrow::Cow;

use serde_json::Value;

use crate::outbox::source::OutboxSourceKind;

/// Stands for what is hidden.
pub const HIDDEN: &str = "(hidden)";

/// Header fields that callers sign in with.
const HIDDEN_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The event as JSON text, without what a caller signed in with.
pub fn shown(source: OutboxSourceKind, event: &str) -> Cow<'_, str> {
    let Some(mut value) = headers_of(source, event) else { return Cow::Borrowed(event) };
    let mut hides = false;
    for name in HIDDEN_HEADERS {
        if let Some(header) = value.pointer_mut(&format!("/headers/{name}")) {
            *header = Value::from(HIDDEN);
            hides = true;
        }
    }
    if hides { Cow::Owned(value.to_string()) } else { Cow::Borrowed(event) }
}

/// An edited event with what was hidden from its editor.
pub fn restored<'a>(source: OutboxSourceKind, edited: &'a str, original: &str) -> Cow<'a, str> {
    let Some(mut value) = headers_of(source, edited) else { return Cow::Borrowed(edited) };
    let Some(known) = headers_of(source, original) else { return Cow::Borrowed(edited) };
    let mut restores = false;
    for name in HIDDEN_HEADERS {
        let at = format!("/headers/{name}");
        if let (Some(header), Some(original)) = (value.pointer_mut(&at), known.pointer(&at))
            && header == HIDDEN
        {
            *header = original.clone();
            restores = true;
        }
    }
    if restores { Cow::Owned(value.to_string()) } else { Cow::Borrowed(edited) }
}

/// The event of a request that has header fields.
fn headers_of(source: OutboxSourceKind, event: &str) -> Option<Value> {
    if source != OutboxSourceKind::Http {
        return None;
    }
    serde_json::from_str::<Value>(event).ok().filter(|value| value["headers"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        r#"{"headers":{"authorization":"Bearer x","cookie":"a=1","x-a":"1"},"body":2}"#;

    #[test]
    fn what_a_caller_signs_in_with_is_hidden_and_comes_back() {
        let seen = shown(OutboxSourceKind::Http, EVENT);
        assert!(
            !seen.contains("Bearer") && !seen.contains("a=1") && seen.contains("\"x-a\":\"1\"")
        );
        let edited = seen.replace("\"body\":2", "\"body\":3");
        let restored = restored(OutboxSourceKind::Http, &edited, EVENT);
        let restored: Value = serde_json::from_str(&restored).expect("it is JSON");
        assert_eq!(restored["headers"]["authorization"], "Bearer x");
        assert_eq!((&restored["headers"]["cookie"], &restored["body"]), (&"a=1".into(), &3.into()));
    }

    #[test]
    fn other_events_are_shown_as_they_are() {
        for (source, event) in [
            (OutboxSourceKind::Task, EVENT),
            (OutboxSourceKind::Http, r#"{"b":1, "a":2}"#),
            (OutboxSourceKind::Http, r#"{"headers":{"x-a":"1"}, "a":2}"#),
        ] {
            assert_eq!(shown(source, event), event);
            assert_eq!(restored(source, event, EVENT), event);
        }
    }

    #[test]
    fn a_header_that_the_editor_changed_stays_changed() {
        let edited = r#"{"headers":{"authorization":"Bearer y"}}"#;
        assert_eq!(restored(OutboxSourceKind::Http, edited, EVENT), edited);
    }
}
