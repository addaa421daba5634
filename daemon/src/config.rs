//! The configuration file: TOML with a section for each part, and `PICLOUD__SECTION__KEY` in the environment on top.
//!
//! One table, [`keys`], has every key with its explanation. Reading, `check-config`, the example configuration and
//! the documentation walk over it, so that none of them can know a key that the others do not.

pub mod read;
pub mod render;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::limits::{self, Limit, Limits};

/// Where the file is when nobody says.
pub const DEFAULT_PATH: &str = "/etc/picloud/picloud.toml";
/// What environment variables begin with that set a key.
pub const ENVIRONMENT_PREFIX: &str = "PICLOUD__";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub http: HttpConfig,
    pub admin: AdminConfig,
    pub store: StoreConfig,
    pub backups: BackupsConfig,
    pub secrets: SecretsConfig,
    pub outbox: OutboxConfig,
    pub runtime: RuntimeConfig,
    pub log: LogConfig,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AdminConfig {
    pub socket: PathBuf,
    /// Where the admin API is to be had over TCP, for callers with a token.
    pub listen: Option<SocketAddr>,
    pub listen_reach: Reach,
}

/// From where a listener may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine only.
    Loopback,
    Anywhere,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// The path of `sqlite://PATH`.
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BackupsConfig {
    /// `None`: `backups` beside the store.
    pub directory: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SecretsConfig {
    /// `None`: `secrets.key` beside the store.
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutboxConfig {
    pub sync_durability: SyncDurability,
}

/// When the row of a sync request is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncDurability {
    /// With its effects; a run without effects leaves no row.
    WithEffects,
    /// Before its script starts.
    BeforeRun,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeConfig {
    pub directory: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub to: LogTo,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// To the journal if that is where standard error leads.
    Auto,
    Journal,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: HttpConfig { listen: SocketAddr::from(([0, 0, 0, 0], 8080)), hosts: Vec::new() },
            admin: AdminConfig {
                socket: PathBuf::from("/run/picloud/admin.sock"),
                listen: None,
                listen_reach: Reach::Loopback,
            },
            store: StoreConfig { path: PathBuf::from("/var/lib/picloud/picloud.db") },
            backups: BackupsConfig { directory: None },
            secrets: SecretsConfig { key_file: None },
            outbox: OutboxConfig { sync_durability: SyncDurability::WithEffects },
            runtime: RuntimeConfig { directory: PathBuf::from("/run/picloud") },
            log: LogConfig { level: LogLevel::Info, to: LogTo::Auto },
            limits: Limits::default(),
        }
    }
}

/// A value as the file or the environment has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Texts(Vec<String>),
    Whole(i64),
}

/// A key that is no limit.
pub struct Setting {
    section: &'static str,
    name: &'static str,
    doc: &'static [&'static str],
    get: fn(&Config) -> Value,
    set: fn(&mut Config, Value) -> Result<(), String>,
}

/// One key of the file.
#[derive(Clone, Copy)]
pub enum Key {
    Setting(&'static Setting),
    Limit(&'static Limit),
}

/// Every key, section by section, in the order in which they are shown.
pub fn keys() -> impl Iterator<Item = Key> {
    SETTINGS.iter().map(Key::Setting).chain(limits::all().map(Key::Limit))
}

const SETTINGS: &[Setting] = &[
    Setting {
        section: "http",
        name: "listen",
        doc: &["Address and port on which routes are served."],
        get: |config| Value::Text(config.http.listen.to_string()),
        set: |config, value| {
            let text = text_of(value)?;
            config.http.listen = text.parse().map_err(|_| {
                format!("\"{text}\" is no address with port, such as 0.0.0.0:8080 or [::]:8080")
            })?;
            Ok(())
        },
    },
    Setting {
        section: "http",
        name: "hosts",
        doc: &[
            "Names under which the machine is reached, beside its addresses, localhost, its own name and",
            "the names that apps claim. A request for another name gets 421.",
        ],
        get: |config| Value::Texts(config.http.hosts.clone()),
        set: |config, value| {
            config.http.hosts = match value {
                Value::Texts(hosts) => hosts,
                Value::Text(_) | Value::Whole(_) => {
                    return Err(
                        "a list of names is wanted, such as [\"pi.example.org\"]".to_owned()
                    );
                }
            };
            Ok(())
        },
    },
    Setting {
        section: "admin",
        name: "socket",
        doc: &["Unix socket of the admin API, for console and command line."],
        get: |config| Value::Text(config.admin.socket.display().to_string()),
        set: |config, value| {
            config.admin.socket = path_of(value)?;
            Ok(())
        },
    },
    Setting {
        section: "admin",
        name: "listen",
        doc: &[
            "Address and port on which the admin API can be called with a token, such as \"127.0.0.1:8081\";",
            "\"\": nowhere. What is sent there is not encrypted.",
        ],
        get: |config| {
            let listen = config.admin.listen;
            Value::Text(listen.map_or_else(String::new, |listen| listen.to_string()))
        },
        set: |config, value| {
            let text = text_of(value)?;
            config.admin.listen = if text.is_empty() {
                None
            } else {
                Some(text.parse().map_err(|_| {
                    format!("\"{text}\" is no address with port, such as 127.0.0.1:8081")
                })?)
            };
            Ok(())
        },
    },
    Setting {
        section: "admin",
        name: "listen_reach",
        doc: &[
            "From where that address may be reached: \"loopback\", this machine only, or \"anywhere\", so that",
            "whoever listens on the network can read tokens.",
        ],
        get: |config| {
            Value::Text(
                match config.admin.listen_reach {
                    Reach::Loopback => "loopback",
                    Reach::Anywhere => "anywhere",
                }
                .to_owned(),
            )
        },
        set: |config, value| {
            config.admin.listen_reach = match text_of(value)?.as_str() {
                "loopback" => Reach::Loopback,
                "anywhere" => Reach::Anywhere,
                other => {
                    return Err(format!("\"{other}\" is neither \"loopback\" nor \"anywhere\""));
                }
            };
            Ok(())
        },
    },
    Setting {
        section: "store",
        name: "url",
        doc: &["Where everything is stored: sqlite://PATH, a file on a local disk."],
        get: |config| Value::Text(format!("sqlite://{}", config.store.path.display())),
        set: |config, value| {
            let text = text_of(value)?;
            let Some(path) = text.strip_prefix("sqlite://") else {
                return Err(format!("\"{text}\" is no store; write sqlite://PATH"));
            };
            config.store.path = path_of(Value::Text(path.to_owned()))?;
            Ok(())
        },
    },
    Setting {
        section: "backups",
        name: "directory",
        doc: &[
            "Folder for backups of this store and no other, made when the first is taken. Empty: backups beside the",
            "store. Best on another disk.",
        ],
        get: |config| {
            let path = config.backups.directory.as_ref();
            Value::Text(path.map_or_else(String::new, |path| path.display().to_string()))
        },
        set: |config, value| {
            config.backups.directory = match text_of(value)?.as_str() {
                "" => None,
                path => Some(path_of(Value::Text(path.to_owned()))?),
            };
            Ok(())
        },
    },
    Setting {
        section: "secrets",
        name: "key_file",
        doc: &[
            "File with the key that secrets are sealed with, made when the first secret is set. Empty: secrets.key",
            "beside the store. Backups of the store do not have it: without it all secrets have to be set again.",
        ],
        get: |config| {
            let path = config.secrets.key_file.as_ref();
            Value::Text(path.map_or_else(String::new, |path| path.display().to_string()))
        },
        set: |config, value| {
            config.secrets.key_file = match text_of(value)?.as_str() {
                "" => None,
                path => Some(path_of(Value::Text(path.to_owned()))?),
            };
            Ok(())
        },
    },
    Setting {
        section: "outbox",
        name: "sync_durability",
        doc: &[
            "When the row of a request whose caller waits is durable: \"with_effects\", so that a request that",
            "changes nothing writes nothing, or \"before_run\", so that every started request is on record.",
        ],
        get: |config| {
            Value::Text(
                match config.outbox.sync_durability {
                    SyncDurability::WithEffects => "with_effects",
                    SyncDurability::BeforeRun => "before_run",
                }
                .to_owned(),
            )
        },
        set: |config, value| {
            config.outbox.sync_durability = match text_of(value)?.as_str() {
                "with_effects" => SyncDurability::WithEffects,
                "before_run" => SyncDurability::BeforeRun,
                other => {
                    return Err(format!(
                        "\"{other}\" is neither \"with_effects\" nor \"before_run\""
                    ));
                }
            };
            Ok(())
        },
    },
    Setting {
        section: "runtime",
        name: "directory",
        doc: &[
            "Folder for what has to survive a restart of the daemon, but not of the machine. Best in memory",
            "(tmpfs).",
        ],
        get: |config| Value::Text(config.runtime.directory.display().to_string()),
        set: |config, value| {
            config.runtime.directory = path_of(value)?;
            Ok(())
        },
    },
    Setting {
        section: "log",
        name: "level",
        doc: &["The least that is logged: \"error\", \"warn\", \"info\" or \"debug\"."],
        get: |config| {
            Value::Text(
                match config.log.level {
                    LogLevel::Error => "error",
                    LogLevel::Warn => "warn",
                    LogLevel::Info => "info",
                    LogLevel::Debug => "debug",
                }
                .to_owned(),
            )
        },
        set: |config, value| {
            config.log.level = match text_of(value)?.as_str() {
                "error" => LogLevel::Error,
                "warn" => LogLevel::Warn,
                "info" => LogLevel::Info,
                "debug" => LogLevel::Debug,
                other => {
                    return Err(format!(
                        "\"{other}\" is none of \"error\", \"warn\", \"info\", \"debug\""
                    ));
                }
            };
            Ok(())
        },
    },
    Setting {
        section: "log",
        name: "to",
        doc: &[
            "Where the log goes: \"journal\", with a field for each value, \"stderr\", or \"auto\": to the journal when",
            "systemd has started the daemon, and else to standard error.",
        ],
        get: |config| {
            Value::Text(
                match config.log.to {
                    LogTo::Auto => "auto",
                    LogTo::Journal => "journal",
                    LogTo::Stderr => "stderr",
                }
                .to_owned(),
            )
        },
        set: |config, value| {
            config.log.to = match text_of(value)?.as_str() {
                "auto" => LogTo::Auto,
                "journal" => LogTo::Journal,
                "stderr" => LogTo::Stderr,
                other => {
                    return Err(format!(
                        "\"{other}\" is none of \"auto\", \"journal\", \"stderr\""
                    ));
                }
            };
            Ok(())
        },
    },
];

fn text_of(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Texts(_) | Value::Whole(_) => Err("a text in quotes is wanted".to_owned()),
    }
}

fn path_of(value: Value) -> Result<PathBuf, String> {
    let text = text_of(value)?;
    if text.is_empty() || text.contains('\0') {
        Err("a path is wanted".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

impl Config {
    /// Where the key of the secrets lies.
    pub fn key_file(&self) -> PathBuf {
        let beside_the_store = || self.store.path.with_file_name("secrets.key");
        self.secrets.key_file.clone().unwrap_or_else(beside_the_store)
    }

    /// Where backups lie.
    pub fn backup_folder(&self) -> PathBuf {
        let beside_the_store = || self.store.path.with_file_name("backups");
        self.backups.directory.clone().unwrap_or_else(beside_the_store)
    }
}

impl Key {
    /// The section of a limit is `limits.` and its part.
    pub fn section(self) -> String {
        match self {
            Self::Setting(setting) => setting.section.to_owned(),
            Self::Limit(limit) => format!("limits.{}", limit.part),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Setting(setting) => setting.name,
            Self::Limit(limit) => limit.name,
        }
    }

    pub fn doc(self) -> Vec<&'static str> {
        match self {
            Self::Setting(setting) => setting.doc.to_vec(),
            Self::Limit(limit) => limit.doc.iter().map(|line| line.trim()).collect(),
        }
    }

    pub fn get(self, config: &Config) -> Value {
        match self {
            Self::Setting(setting) => (setting.get)(config),
            Self::Limit(limit) => {
                Value::Whole(i64::try_from((limit.get)(&config.limits)).unwrap_or(i64::MAX))
            }
        }
    }

    fn set(self, config: &mut Config, value: Value) -> Result<(), String> {
        let limit = match self {
            Self::Setting(setting) => return (setting.set)(config, value),
            Self::Limit(limit) => limit,
        };
        let Value::Whole(value) = value else {
            return Err("a whole number is wanted".to_owned());
        };
        match u64::try_from(value) {
            Ok(value) if (limit.least..=limit.most).contains(&value) => {
                (limit.set)(&mut config.limits, value);
                Ok(())
            }
            Ok(_) | Err(_) => Err(format!(
                "{value} is out of bounds; {} to {} are allowed",
                limit.least, limit.most
            )),
        }
    }

    /// The name of the environment variable that sets it.
    pub fn variable(self) -> String {
        let section = self.section().replace('.', "__");
        format!("{ENVIRONMENT_PREFIX}{section}__{}", self.name()).to_uppercase()
    }

    /// An environment variable's text as the value that this key takes.
    fn value_of_text(self, text: &str, config: &Config) -> Result<Value, String> {
        match self.get(config) {
            Value::Text(_) => Ok(Value::Text(text.to_owned())),
            Value::Texts(_) => Ok(Value::Texts(
                text.split(',')
                    .map(str::trim)
                    .filter(|one| !one.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
            Value::Whole(_) => text
                .trim()
                .parse()
                .map(Value::Whole)
                .map_err(|_| "a whole number is wanted".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read::{ConfigError, File};
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::load(Some(File { path: "picloud.toml", text }), [])
    }

    fn refused(text: &str) -> String {
        load(text).expect_err("the configuration is wrong").to_string()
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(load("").expect("nothing is wrong"), Config::default());
    }

    #[test]
    fn the_file_overrides_the_defaults_and_the_environment_the_file() {
        let text = "[http]\nlisten = \"127.0.0.1:9000\"\nhosts = [\"a\"]\n[limits.run]\ntimeout_ms = 5_000\n";
        let file = Some(File { path: "picloud.toml", text });
        let config = Config::load(
            file,
            [
                ("PICLOUD__HTTP__HOSTS", "b, c"),
                ("PICLOUD__LIMITS__RUN__EFFECTS_MAX", "10"),
                ("PICLOUD_SOCKET", "not a key"),
                ("HOME", "/root"),
            ],
        )
        .expect("nothing is wrong");
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(config.http.hosts, ["b", "c"]);
        assert_eq!(config.limits.run.timeout_ms, 5_000);
        assert_eq!(config.limits.run.effects_max, 10);
        assert_eq!(config.limits.run.call_depth_max, 64);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place_and_the_nearest_key() {
        assert_eq!(
            refused("[http]\nlisten = \"127.0.0.1:1\"\n  host = []\n"),
            "picloud.toml, line 3, column 3: unknown key \"host\"; did you mean \"hosts\"?\n\
             3 |   host = []\n  |   ^"
        );
        assert!(
            refused("[htp]\nlisten = 1\n").contains("unknown key \"htp\"; did you mean \"http\"?")
        );
        assert!(refused("[limits.runs]\n").contains("did you mean \"run\"?"));
        assert!(refused("[limits.run]\ntimeout = 1\n").contains("unknown key \"timeout\""));
        assert!(refused("http = 1\n").contains("[http] is a section"));
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_with_its_place() {
        for (text, expected) in [
            ("[http]\nlisten = \"8080\"", "line 2, column 10: listen: \"8080\" is no address"),
            ("[http]\nhosts = \"a\"", "hosts: a list of names is wanted"),
            ("[http]\nhosts = [1]", "hosts: a list of texts is wanted"),
            ("[admin]\nsocket = \"\"", "socket: a path is wanted"),
            ("[admin]\nlisten = \"8081\"", "line 2, column 10: listen: \"8081\" is no address"),
            ("[admin]\nlisten_reach = \"x\"", "\"x\" is neither \"loopback\" nor \"anywhere\""),
            ("[store]\nurl = \"mysql://x\"", "url: \"mysql://x\" is no store; write sqlite://PATH"),
            ("[store]\nurl = \"sqlite://\"", "url: a path is wanted"),
            ("[outbox]\nsync_durability = \"never\"", "\"never\" is neither"),
            ("[limits.run]\ntimeout_ms = 1", "timeout_ms: 1 is out of bounds; 10 to 3600000"),
            ("[limits.run]\ntimeout_ms = -1", "timeout_ms: -1 is out of bounds"),
            ("[limits.run]\ntimeout_ms = 1.5", "a whole number is wanted, without a point"),
            ("[limits.run]\ntimeout_ms = \"5s\"", "a whole number is wanted"),
            ("[limits.run]\ntimeout_ms = 99999999999999999999", "the number is too large"),
            ("[http\nlisten = 1", "line 1"),
            ("[http]\n[http]", "line 2"),
        ] {
            let message = refused(text);
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }

    #[test]
    fn p8_the_admin_api_is_reached_from_the_network_only_if_its_owner_says_so() {
        for open in ["0.0.0.0:8081", "192.168.1.5:8081", "[::]:8081", "[::ffff:10.0.0.1]:1"] {
            let text = format!("[admin]\nlisten = \"{open}\"\n");
            assert!(refused(&text).contains("can be reached from the network"), "{open}");
            let config = load(&format!("{text}listen_reach = \"anywhere\"")).expect("is said");
            assert_eq!(config.admin.listen.map(|listen| listen.to_string()).as_deref(), Some(open));
        }
        for closed in ["127.0.0.1:8081", "[::1]:8081", ""] {
            load(&format!("[admin]\nlisten = \"{closed}\"")).expect("stays on this machine");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error() {
        let refused = |name, text| {
            Config::load(None, [(name, text)]).expect_err("the variable is wrong").to_string()
        };
        assert_eq!(
            refused("PICLOUD__HTTP__LISTENS", "x"),
            "environment variable PICLOUD__HTTP__LISTENS: sets no key that there is; did you mean \
             PICLOUD__HTTP__LISTEN?"
        );
        assert!(refused("PICLOUD__LIMITS__RUN__TIMEOUT_MS", "5s").contains("a whole number"));
    }

    #[test]
    fn every_key_can_be_set_to_what_it_is() {
        let default = Config::default();
        for key in keys() {
            let mut config = Config::default();
            key.set(&mut config, key.get(&default)).expect("a default is allowed");
            assert_eq!(config, default, "{}", key.variable());
        }
    }
}
