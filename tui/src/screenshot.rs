//! One frame as text, for documents: the console without a terminal.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::effect::Effect;
use crate::message::Message;
use crate::model::{Link, Loading, Model};
use crate::run::now;
use crate::tasks::Tasks;
use crate::{update, view};

/// So long it is waited for what the frame needs.
const WAIT_MAX: Duration = Duration::from_secs(10);
const MESSAGES_MAX: usize = 256;
/// So often it is looked whether everything is there.
const LOOK_MS: u64 = 50;

/// Plays keys, each when the screen before it has all that it asks for, and returns the last frame.
pub async fn take(mut model: Model, keys: &[KeyEvent], client: Client) -> Result<String, String> {
    let (sender, mut messages) = mpsc::channel(MESSAGES_MAX);
    let mut tasks = Tasks::new(client, sender);
    obey(&mut tasks, update::start(&mut model));
    let mut keys = keys.iter();
    let deadline = tokio::time::sleep(WAIT_MAX);
    let mut deadline = std::pin::pin!(deadline);
    loop {
        if model.loading() == Loading::Done {
            match keys.next() {
                Some(key) => {
                    let effects = update::update(&mut model, Message::Key(*key), now());
                    obey(&mut tasks, effects);
                    continue;
                }
                None => break,
            }
        }
        let wake = update::wake_at(&model).unwrap_or(i64::MAX).saturating_sub(now());
        let wake = Duration::from_millis(u64::try_from(wake).unwrap_or_default().min(LOOK_MS));
        let message = tokio::select! {
            message = messages.recv() => message.unwrap_or(Message::Tick),
            () = tokio::time::sleep(wake) => Message::Tick,
            () = deadline.as_mut() => break,
        };
        obey(&mut tasks, update::update(&mut model, message, now()));
    }
    tasks.stop();
    match &model.link {
        Link::Live => Ok(view::text(&view::page(&model))),
        Link::Lost(lost) => Err(lost.why.text().to_owned()),
        Link::Refused(why) => Err(why.text().to_owned()),
        Link::Connecting(_) => Err("the daemon does not answer".to_owned()),
    }
}

fn obey(tasks: &mut Tasks, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::Ask(ticket, question) => tasks.ask(ticket, question),
            Effect::AskEach(ticket, questions) => tasks.ask_each(ticket, questions),
            Effect::Follow(ticket, path) => tasks.follow(ticket, path),
            Effect::Abort(ticket) => tasks.abort(ticket),
            // A picture edits, copies and writes nothing.
            Effect::Edit(..)
            | Effect::Copy(_)
            | Effect::Write(_)
            | Effect::Plain(_)
            | Effect::Mouse(_)
            | Effect::Repaint
            | Effect::Suspend
            | Effect::Quit => {}
        }
    }
}

/// Keys as they are written: characters, with `<enter>`, `<esc>`, `<tab>`, `<space>` and the like for others.
pub fn keys(text: &str) -> Result<Vec<KeyEvent>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (code, modifiers) = match named {
            Some((name, after)) => {
                rest = after;
                named_key(name)?
            }
            None => {
                rest = &rest[first.len_utf8()..];
                (KeyCode::Char(first), KeyModifiers::NONE)
            }
        };
        keys.push(KeyEvent::new(code, modifiers));
    }
    Ok(keys)
}

fn named_key(name: &str) -> Result<(KeyCode, KeyModifiers), String> {
    let code = match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "space" => KeyCode::Char(' '),
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "lt" => KeyCode::Char('<'),
        _ => {
            let letter = name.strip_prefix('^').and_then(|rest| rest.chars().next());
            let Some(letter) = letter else {
                return Err(format!(
                    "<{name}> is no key; <enter>, <esc>, <tab>, <space>, <^d> are"
                ));
            };
            return Ok((KeyCode::Char(letter), KeyModifiers::CONTROL));
        }
    };
    Ok((code, KeyModifiers::NONE))
}

/// A size as `100x30`.
pub fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').and_then(|(columns, rows)| {
        let (columns, rows) = (columns.parse::<u16>().ok()?, rows.parse::<u16>().ok()?);
        (columns > 0 && rows > 0 && columns <= 1_000 && rows <= 500).then_some((columns, rows))
    });
    parsed.ok_or_else(|| format!("\"{text}\" is no size such as 100x30"))
}
