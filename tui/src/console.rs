//! What `picloud-tui` is started with, and what it begins with: the only place that reads its arguments and environment.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use picloud_api::instance::Instance;
use serde::de::IgnoredAny;

use crate::cli::surroundings::Surroundings;
use crate::client::{Client, ClientError, segment};
use crate::editor::{Editor, Wishes};
use crate::effect::Mouse;
use crate::listing::Listing;
use crate::model::{Fixed, Level, Model, Plots};
use crate::pace::Pace;
use crate::run::{self, Equipment, now};
use crate::screen::Screen;
use crate::screenshot;
use crate::symbols::{Charset, Locale, Wanted};
use crate::terminal;
use crate::theme::Theme;
use crate::when::Zone;

/// The console of a PiCloud.
#[derive(Parser)]
#[command(name = "picloud-tui", version, max_term_width = 100)]
struct Arguments {
    /// Begin at this row, dead letter or execution
    id: Option<String>,
    /// Admin socket of the daemon [default: $PICLOUD_SOCKET, or /run/picloud/admin.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Admin address of the daemon instead of its socket, such as http://127.0.0.1:8081 [default: $PICLOUD_URL]
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    url: Option<String>,
    /// Token to call with [default: $PICLOUD_TOKEN, where other users do not see it]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// What the machine is called in the header, where its socket is forwarded [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Letters instead of symbols; so it is anyway where the locale or the terminal has none
    #[arg(long)]
    ascii: bool,
    /// Letters instead of symbols, figures instead of plots, no rules: for screen readers
    #[arg(long)]
    plain: bool,
    /// Colours, or bold, dim and reversed alone [default: colours, unless $NO_COLOR is set]
    #[arg(long, value_name = "THEME")]
    theme: Option<ThemeName>,
    /// Paint what comes twice a second at most, for serial lines
    #[arg(long)]
    slow: bool,
    /// Print one frame of this screen as text, and end
    #[arg(long, value_name = "SCREEN")]
    screenshot: Option<ScreenName>,
    /// Columns and rows of that frame
    #[arg(long, value_name = "100x30", default_value = "100x30", requires = "screenshot")]
    size: String,
    /// Keys that are pressed before, such as '<enter>c'
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true)]
    #[arg(requires = "screenshot")]
    press: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ThemeName {
    Colours,
    Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScreenName {
    Overview,
    Outbox,
    Dead,
    Runs,
    Apps,
    Scripts,
    Triggers,
    Data,
    Log,
    System,
}

impl ScreenName {
    fn screen(self) -> Screen {
        match self {
            Self::Overview => Screen::Overview,
            Self::Outbox => Screen::Outbox,
            Self::Dead => Screen::Dead,
            Self::Runs => Screen::Runs,
            Self::Apps => Screen::Apps,
            Self::Scripts => Screen::Scripts,
            Self::Triggers => Screen::Triggers,
            Self::Data => Screen::Data,
            Self::Log => Screen::Log,
            Self::System => Screen::System,
        }
    }
}

/// All that can be said to `picloud-tui`.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the console in the process's own terminal.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _closed = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start: {error}"), None),
    };
    let ended = runtime.block_on(begin(arguments));
    // A name that is looked up in the background must not keep the shell waiting.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((cause, hint)) => complain(&cause, hint.as_deref()),
    }
}

fn complain(cause: &str, hint: Option<&str>) -> ExitCode {
    let mut errors = io::stderr();
    let _closed = writeln!(errors, "picloud-tui: {}", picloud_api::text::visible_lines(cause));
    if let Some(hint) = hint {
        let _closed = writeln!(errors, "hint: {}", picloud_api::text::visible(hint));
    }
    ExitCode::FAILURE
}

type Complaint = (String, Option<String>);

async fn begin(arguments: Arguments) -> Result<(), Complaint> {
    let plainly = |cause: String| (cause, None);
    let surroundings = Surroundings::of_this_process();
    let client = surroundings
        .console_client(arguments.socket.clone(), arguments.url.clone(), arguments.token.clone())
        .map_err(|error| (error.text(), error.hint().map(str::to_owned)))?;
    let environment = Environment::of_this_process();
    let fixed = fixed(&arguments, &environment, &client);
    if let Some(name) = arguments.screenshot {
        let size = screenshot::size(&arguments.size).map_err(plainly)?;
        let mut keys = screenshot::keys(&name.screen().digit().to_string()).map_err(plainly)?;
        if name.screen() == Screen::Overview {
            keys.clear();
        }
        keys.extend(screenshot::keys(&arguments.press).map_err(plainly)?);
        let model = Model::new(fixed, size, now());
        let frame = screenshot::take(model, &keys, client).await.map_err(plainly)?;
        return writeln!(io::stdout(), "{frame}").map_err(|error| plainly(error.to_string()));
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err((
            "the console needs a terminal".to_owned(),
            Some(
                "`picloud` prints for pipes, and `picloud-tui --screenshot SCREEN` a frame"
                    .to_owned(),
            ),
        ));
    }
    let size = terminal::size(environment.size);
    let mut model = Model::new(fixed, (size.width, size.height), now());
    if let Some(id) = &arguments.id {
        open_at(&mut model, &client, id).await?;
    }
    let equipment = Equipment {
        client,
        editor: Editor::choose(&environment.wishes),
        tmux: environment.tmux,
        pace: if arguments.slow { Pace::slow() } else { Pace::usual() },
        size: environment.size,
    };
    run::run(model, Mouse::Off, equipment).await.map_err(|error| plainly(error.to_string()))
}

/// What of the environment matters.
struct Environment {
    locale: Locale,
    no_colour: bool,
    tmux: Option<OsString>,
    user: String,
    host: String,
    wishes: Wishes,
    size: (Option<u16>, Option<u16>),
}

impl Environment {
    #[allow(clippy::disallowed_methods, reason = "this is where the environment is read")]
    fn of_this_process() -> Environment {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let number = |name: &str| text(name).and_then(|value| value.parse().ok());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Environment {
            locale: Locale {
                lc_all: text("LC_ALL"),
                lc_ctype: text("LC_CTYPE"),
                lang: text("LANG"),
                term: text("TERM"),
                ..Locale::default()
            },
            no_colour: set("NO_COLOR").is_some(),
            tmux: set("TMUX"),
            user: text("USER")
                .or_else(|| text("LOGNAME"))
                .unwrap_or_else(|| "this user".to_owned()),
            host,
            wishes: Wishes {
                visual: set("VISUAL"),
                editor: set("EDITOR"),
                path: set("PATH"),
                runtime_folder: set("XDG_RUNTIME_DIR"),
                temporary_folder: std::env::temp_dir(),
            },
            size: (number("COLUMNS"), number("LINES")),
        }
    }
}

fn fixed(arguments: &Arguments, environment: &Environment, client: &Client) -> Fixed {
    let mut locale = environment.locale.clone();
    if arguments.ascii || arguments.plain {
        locale.wanted = Wanted::Ascii;
    }
    let theme = match arguments.theme {
        Some(ThemeName::Mono) => Theme::Mono,
        Some(ThemeName::Colours) => Theme::Colours,
        None if environment.no_colour => Theme::Mono,
        None => Theme::Colours,
    };
    Fixed {
        host: arguments
            .name
            .clone()
            .or_else(|| client.host())
            .unwrap_or_else(|| environment.host.clone()),
        place: client.place().to_string(),
        user: environment.user.clone(),
        zone: Zone::system(),
        theme,
        charset: Charset::of(&locale),
        plots: if arguments.plain { Plots::Left } else { Plots::Drawn },
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Opens the screen where the thing with this id is.
async fn open_at(model: &mut Model, client: &Client, id: &str) -> Result<(), Complaint> {
    let failed = |error: ClientError| {
        let failure = crate::tasks::failure(error);
        (failure.text().to_owned(), failure.hint().map(str::to_owned))
    };
    let _there: Instance = client.get("/instance").await.map_err(failed)?;
    let id = id.to_uppercase();
    let places = [
        ("/dead-letters", Screen::Dead, Listing::Letters, "is:any "),
        ("/outbox", Screen::Outbox, Listing::Outbox, ""),
        ("/executions", Screen::Runs, Listing::Runs, ""),
        ("/abandoned", Screen::Runs, Listing::Abandoned, ""),
    ];
    for (path, screen, listing, filter) in places {
        match client.get::<IgnoredAny>(&format!("{path}/{}", segment(&id))).await {
            Ok(_) => {
                model.screen = screen;
                let levels = model.levels.get_mut(&screen).expect("every screen has its lists");
                levels.push(Level::new(listing, format!("{filter}id:{id}")));
                return Ok(());
            }
            Err(ClientError::Problem(problem)) if problem.status == 404 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err((
        format!("nothing has the id {id}"),
        Some("what has ended well is known from memory only, and for a while".to_owned()),
    ))
}
