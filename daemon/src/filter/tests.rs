//! What filters let through, and how wrong ones are told.

use proptest::prelude::*;

use super::*;

/// A row of the outbox, as a list would show it.
struct Item;

impl Fields for Item {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let text = match key {
            "app" => "greenhouse",
            "script" => "warn",
            "source" => "docs",
            "origin" | "trigger" => "warn-when-dry",
            "state" => "retry",
            "error" => "HTTP: Connection refused (api.example.org)",
            "id" | "root" => "01J9ZKQ3M8",
            _ => return None,
        };
        Some(text.into())
    }

    fn number(&self, key: &str) -> Option<i64> {
        match key {
            "try" => Some(3),
            "age" => Some(3_600_000),
            _ => None,
        }
    }
}

fn passes(filter: &str) -> bool {
    OUTBOX.parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}")).passes(&Item)
}

#[test]
fn a_filter_lets_through_what_fits_all_of_its_terms() {
    for (filter, expected) in [
        ("", true),
        ("  ", true),
        ("app:greenhouse", true),
        ("APP:GreenHouse", true),
        ("app:green", false),
        ("app:green*", true),
        ("app:*house", true),
        ("app:g*e*o*e", true),
        ("app:*", true),
        ("app:*x*", false),
        ("app:greenhouse*greenhouse", false),
        ("-app:greenhouse", false),
        ("-app:garden", true),
        ("trigger:warn-when-dry", true),
        ("state:retry", true),
        ("state:due", false),
        ("error:refused", true),
        ("error:\"connection refused\"", true),
        ("error:\"refused connection\"", false),
        ("refused", true),
        ("\"Connection Refused\" warn", true),
        ("refused -timeout", true),
        ("refused -warn", false),
        ("key:a3", false),
        ("-key:a3", true),
        ("try:3", true),
        ("try:>=3 try:<4", true),
        ("try:>3", false),
        ("try:<=2", false),
        ("age:1h", true),
        ("age:>1h", false),
        ("age:>59m age:<=1h", true),
        ("-age:>1d", true),
        ("id:01j9", true),
        ("id:1J9", false),
        ("root:01J9ZKQ3M8", true),
        ("app:greenhouse state:retry try:>=3 -error:timeout refused", true),
        ("app:greenhouse state:retry try:>=4 -error:timeout refused", false),
    ] {
        assert_eq!(passes(filter), expected, "{filter}");
    }
}

#[test]
fn a_quote_may_hold_quotes_and_colons() {
    let filter = OUTBOX.parse(r#"error:"a \"b\" c:d" "x:y""#).expect("it is a filter");
    let texts: Vec<&Test> = filter.terms.iter().map(|term| &term.test).collect();
    let contains = |text: &str| Test::Contains(text.to_owned());
    assert_eq!(texts, [&contains(r#"a "b" c:d"#), &contains("x:y")]);
}

#[test]
fn what_is_wrong_is_named_with_what_was_probably_meant() {
    for (filter, expected) in [
        (
            "scirpt:warn",
            r#"in the filter of the outbox: unknown key "scirpt"; did you mean "script"?"#,
        ),
        ("is:open", r#"in the filter of the outbox: unknown key "is""#),
        ("http://x", r#"in the filter of the outbox: unknown key "http""#),
        ("state:rety", r#"in the filter, state: "rety" is unknown; did you mean retry?"#),
        (
            "state:completely",
            r#"in the filter, state: "completely" is none of running, due, later"#,
        ),
        ("app:", "in the filter, app: a value is missing"),
        ("try:many", r#"in the filter, try: "many" is no whole number; write 3 or >=3"#),
        ("try:>", r#"in the filter, try: "" is no whole number"#),
        ("age:>1", r#"in the filter, age: "1" is not a duration"#),
        ("error:\"x", "in the filter, a \" is not closed"),
        ("- x", "in the filter, a - negates nothing"),
        ("x -", "in the filter, a - negates nothing"),
    ] {
        let error = OUTBOX.parse(filter).expect_err(filter).to_string();
        assert!(error.starts_with(expected), "{filter}: {error}");
    }
}

#[test]
fn p7_a_filter_has_a_largest_length_and_a_largest_number_of_terms() {
    let long = "x".repeat(FILTER_BYTES_MAX + 1);
    assert_eq!(OUTBOX.parse(&long), Err(FilterError::TooLong(FILTER_BYTES_MAX + 1)));
    assert!(OUTBOX.parse(&long[1..]).is_ok());
    assert!(OUTBOX.parse(&"a ".repeat(FILTER_TERMS_MAX)).is_ok());
    assert_eq!(OUTBOX.parse(&"a ".repeat(FILTER_TERMS_MAX + 1)), Err(FilterError::TooManyTerms));
}

#[test]
fn what_an_index_can_answer_is_told() {
    let filter = OUTBOX.parse("x app:Greenhouse -state:due script:w*").expect("it is a filter");
    assert_eq!(filter.only("app"), Some("greenhouse"));
    assert_eq!(
        (filter.only("state"), filter.only("script"), filter.only("id")),
        (None, None, None)
    );
    assert!(filter.names("state") && !filter.names("id"));
}

#[test]
fn every_list_knows_its_keys_once() {
    for grammar in [&OUTBOX, &DEAD_LETTERS, &ABANDONED, &EXECUTIONS] {
        let mut names: Vec<&str> = grammar.keys.iter().map(|(key, _)| *key).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), grammar.keys.len(), "{}", grammar.list);
        assert!(grammar.parse("app:a age:>1h root:01 id:01 source:kv word").is_ok());
    }
    assert!(DEAD_LETTERS.parse("is:open is:any -is:replayed").is_ok());
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in ".{0,200}") {
        if let Ok(filter) = OUTBOX.parse(&text) {
            filter.passes(&Item);
        }
    }

    #[test]
    fn a_word_in_quotes_is_found_as_it_stands(word in "[^\u{0}]{1,40}") {
        let quoted = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        let filter = OUTBOX.parse(&quoted).expect("it is a filter");
        prop_assert_eq!(&filter.terms[0].test, &Test::Contains(word.to_lowercase()));
    }
}
