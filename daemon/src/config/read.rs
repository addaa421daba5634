//! Reading: the file, and the environment on top.

use picloud_api::text;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{AdminConfig, Config, ENVIRONMENT_PREFIX, Key, Reach, Value, keys};

/// The configuration is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}, line {line}, column {column}: {message}\n{excerpt}")]
    File { path: String, line: usize, column: usize, message: String, excerpt: String },
    #[error("environment variable {name}: {message}")]
    Variable { name: String, message: String },
    /// Each key is right, but not with the other.
    #[error("{0}")]
    Together(String),
}

/// The configuration file's name, for errors, and its text.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    pub path: &'a str,
    pub text: &'a str,
}

impl Config {
    /// The defaults, the file on top, the environment on top of that.
    pub fn load<'e>(
        file: Option<File<'_>>,
        environment: impl IntoIterator<Item = (&'e str, &'e str)>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(file) = file {
            read_file(file, &mut config)?;
        }
        for (name, text) in environment {
            if name.starts_with(ENVIRONMENT_PREFIX) {
                read_variable(name, text, &mut config)
                    .map_err(|message| ConfigError::Variable { name: name.to_owned(), message })?;
            }
        }
        check_reach(&config.admin)?;
        Ok(config)
    }
}

/// Tokens are as good as passwords: they leave the machine only when its owner says so.
fn check_reach(admin: &AdminConfig) -> Result<(), ConfigError> {
    match (admin.listen, admin.listen_reach) {
        (Some(listen), Reach::Loopback) if !listen.ip().to_canonical().is_loopback() => {
            Err(ConfigError::Together(format!(
                "[admin] listen = \"{listen}\" can be reached from the network, where tokens could be read; listen on \
                 127.0.0.1 and forward it by ssh, or set listen_reach = \"anywhere\" in [admin]"
            )))
        }
        (Some(_) | None, Reach::Loopback | Reach::Anywhere) => Ok(()),
    }
}

fn read_variable(name: &str, text: &str, config: &mut Config) -> Result<(), String> {
    let Some(key) = keys().find(|key| key.variable() == name) else {
        let known: Vec<String> = keys().map(Key::variable).collect();
        return Err(match text::nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("sets no key that there is; did you mean {meant}?"),
            None => "sets no key that there is; `picloudd check-config` shows all".to_owned(),
        });
    };
    let value = key.value_of_text(text, config)?;
    key.set(config, value)
}

fn read_file(file: File<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let refuse = |offset: usize, message: String| {
        let place = text::place(file.text, offset);
        ConfigError::File {
            path: file.path.to_owned(),
            line: place.line,
            column: place.column,
            message,
            excerpt: text::excerpt(place.line, place.column, place.source_line),
        }
    };
    let table = DeTable::parse(file.text).map_err(|error| {
        refuse(error.span().map_or(0, |span| span.start), error.message().to_owned())
    })?;
    read_table("", table.get_ref(), config).map_err(|(offset, message)| refuse(offset, message))
}

/// Reads a table below the section `prefix`; an error comes with the byte where it is.
fn read_table(
    prefix: &str,
    table: &DeTable<'_>,
    config: &mut Config,
) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let offset = name.span().start;
        let name: &str = name.get_ref();
        let known = keys().find(|key| key.section() == prefix && key.name() == name);
        if let Some(key) = known {
            let at = |message: String| (value.span().start, format!("{name}: {message}"));
            let value = value_of_toml(value).map_err(at)?;
            key.set(config, value).map_err(at)?;
            continue;
        }
        let section = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let below = format!("{section}.");
        let is_section =
            keys().any(|key| key.section() == section || key.section().starts_with(&below));
        match value.get_ref() {
            DeValue::Table(table) if is_section => read_table(&section, table, config)?,
            _ if is_section => return Err((offset, format!("[{section}] is a section"))),
            _ => {
                return Err((
                    offset,
                    text::unknown_key(name, names_below(prefix).iter().map(String::as_str)),
                ));
            }
        }
    }
    Ok(())
}

/// Names of the keys and sections directly below a section.
fn names_below(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for key in keys() {
        let path = format!("{}.{}", key.section(), key.name());
        let rest = if prefix.is_empty() {
            Some(path.as_str())
        } else {
            path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
            names.push(name.to_owned());
        }
    }
    names
}

fn value_of_toml(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Value::Text(text.to_string())),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix())
                .map(Value::Whole)
                .map_err(|_| "the number is too large".to_owned())
        }
        DeValue::Array(values) => {
            let texts = values.iter().map(|one| match one.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err("a list of texts is wanted".to_owned()),
            });
            texts.collect::<Result<_, _>>().map(Value::Texts)
        }
        DeValue::Float(_) => Err("a whole number is wanted, without a point".to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("a text, a whole number or a list is wanted".to_owned())
        }
    }
}
