//! The configuration as text: what holds, the example file, and the reference.

use std::fmt::Write;

use crate::config::{Config, Key, Value, keys};

/// How the keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Effective,
    /// Commented out: the example file, which says what the defaults are.
    Example,
}

const EXAMPLE_HEAD: &str = "\
# PiCloud's configuration. Every key is commented out at its default; remove the # to set it.
# Unknown keys are errors. `picloudd check-config` shows what holds, the environment included: the variable
# PICLOUD__HTTP__LISTEN sets listen of [http], and so on.
";

/// The configuration as a file that reads back as the same configuration.
pub fn file(config: &Config, form: Form) -> String {
    let mut text = String::new();
    if form == Form::Example {
        text.push_str(EXAMPLE_HEAD);
    }
    let mut section = String::new();
    for key in keys() {
        if key.section() != section {
            section = key.section();
            let gap = if text.is_empty() { "" } else { "\n" };
            push(&mut text, format_args!("{gap}[{section}]\n"));
        }
        for line in key.doc() {
            push(&mut text, format_args!("# {line}\n"));
        }
        if let Key::Limit(limit) = key {
            push(
                &mut text,
                format_args!("# {}, {} to {}\n", limit.unit.as_str(), limit.least, limit.most),
            );
        }
        let comment = if form == Form::Example { "# " } else { "" };
        push(
            &mut text,
            format_args!("{comment}{} = {}\n", key.name(), toml_text(&key.get(config))),
        );
    }
    text
}

const REFERENCE_HEAD: &str = "\
# Configuration

`picloudd run --config FILE` reads a TOML file; without `--config` it is `/etc/picloud/picloud.toml`. Every key
may be left out. Unknown keys are errors. `PICLOUD__SECTION__KEY` in the environment overrides the file: the
variable of `timeout_ms` in `[limits.run]` is `PICLOUD__LIMITS__RUN__TIMEOUT_MS`; lists are separated by commas.
`picloudd check-config` prints what holds.

This page is made from the daemon's own table: `picloudd check-config --print reference`.
";

/// The documentation of every key, in Markdown.
pub fn reference() -> String {
    let default = Config::default();
    let mut text = REFERENCE_HEAD.to_owned();
    let mut section = String::new();
    for key in keys() {
        if key.section() != section {
            section = key.section();
            push(
                &mut text,
                format_args!(
                    "\n## `[{section}]`\n\n| key | default | allowed | what it is |\n|---|---|---|---|\n"
                ),
            );
        }
        let allowed = match key {
            Key::Setting(_) => String::new(),
            Key::Limit(limit) => {
                format!("{} to {} ({})", limit.least, limit.most, limit.unit.as_str())
            }
        };
        push(
            &mut text,
            format_args!(
                "| `{}` | `{}` | {allowed} | {} |\n",
                key.name(),
                toml_text(&key.get(&default)),
                key.doc().join(" ")
            ),
        );
    }
    text
}

fn push(text: &mut String, args: std::fmt::Arguments<'_>) {
    text.write_fmt(args).expect("writing to a text does not fail");
}

fn toml_text(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Texts(texts) => toml::Value::from(texts.clone()).to_string(),
        Value::Whole(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read::File;

    #[test]
    fn what_is_shown_reads_back_as_the_same_configuration() {
        let config = Config::load(
            None,
            [
                ("PICLOUD__HTTP__HOSTS", "a \"quoted\" name,b"),
                ("PICLOUD__LIMITS__HTTP__HEADERS_MAX", "50"),
            ],
        )
        .expect("nothing is wrong");
        let text = file(&config, Form::Effective);
        let read = Config::load(Some(File { path: "shown", text: &text }), []);
        assert_eq!(read.expect("what is shown can be read"), config);
    }

    #[test]
    fn the_example_with_its_keys_switched_on_is_the_default() {
        let example = file(&Config::default(), Form::Example);
        let read = |text: &str| Config::load(Some(File { path: "example", text }), []);
        assert_eq!(read(&example).expect("the example is right"), Config::default());
        let on: String = example
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(read(&on).expect("the example is right"), Config::default());
    }

    #[test]
    fn the_example_and_the_reference_are_up_to_date() {
        for (path, made, form) in [
            ("packaging/picloud.toml", file(&Config::default(), Form::Example), "example"),
            ("docs/configuration.md", reference(), "reference"),
        ] {
            let full = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
            let found = std::fs::read_to_string(full).unwrap_or_default();
            assert!(
                found == made,
                "{path} is out of date; make it anew with: cargo run --bin picloudd -- check-config --print \
                 {form} >{path}"
            );
        }
    }
}
