//! The console at a daemon in memory: keys are played, questions are answered, and what it wants done is written down.

use std::collections::VecDeque;

use ratatui::crossterm::event::KeyEvent;

use crate::effect::{Ask, Effect, Ticket};
use crate::message::{Failure, Live, Many, Message};
use crate::model::{Fixed, Model, Plots};
use crate::purpose::Purpose;
use crate::reply::Reply;
use crate::symbols::Charset;
use crate::tests::canned::NOW;
use crate::tests::daemon::Daemon;
use crate::theme::Theme;
use crate::when::Zone;
use crate::{screenshot, update, view};

/// Longer than the cursor has to rest for its row's detail to be asked for.
const PAUSE_MS: i64 = 200;
/// Answers that lead to questions that lead to answers.
const ROUNDS_MAX: usize = 64;

/// When the daemon answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answers {
    AtOnce,
    /// Only when [`World::release`] says so.
    Held,
    /// Never, and this is why.
    Fails(fn() -> Failure),
}

type Editor = Box<dyn Fn(&str) -> Option<String>>;

pub(super) struct World {
    pub(super) model: Model,
    pub(super) daemon: Daemon,
    pub(super) answers: Answers,
    /// What the user makes of a text.
    pub(super) editor: Editor,
    /// All that the console wanted done since it was last looked at.
    pub(super) effects: Vec<Effect>,
    pub(super) held: VecDeque<(Ticket, Ask)>,
}

impl World {
    /// Started, with everything there that the overview asks for.
    pub(super) fn new(size: (u16, u16)) -> World {
        let mut world = World::unstarted(size);
        world.start();
        world
    }

    /// Before the first question.
    pub(super) fn unstarted(size: (u16, u16)) -> World {
        let fixed = Fixed {
            host: "pi-greenhouse".to_owned(),
            place: "/run/picloud/admin.sock".to_owned(),
            user: "pi".to_owned(),
            zone: Zone::utc(),
            theme: Theme::Colours,
            charset: Charset::Unicode,
            plots: Plots::Drawn,
            version: "1.4.0",
        };
        World {
            model: Model::new(fixed, size, NOW),
            daemon: Daemon::new(),
            answers: Answers::AtOnce,
            editor: Box::new(|_| None),
            effects: Vec::new(),
            held: VecDeque::new(),
        }
    }

    pub(super) fn start(&mut self) {
        let effects = update::start(&mut self.model);
        self.obey(effects);
        self.wait(0);
    }

    /// Something comes, at this moment.
    pub(super) fn hear(&mut self, message: Message) {
        let now = self.model.now;
        let effects = update::update(&mut self.model, message, now);
        self.obey(effects);
    }

    /// Time passes, and whatever was asked is answered.
    pub(super) fn wait(&mut self, ms: i64) {
        self.model.now += ms;
        self.hear(Message::Tick);
    }

    /// Plays keys, each when the screen before it is complete.
    pub(super) fn press(&mut self, keys: &str) {
        for key in screenshot::keys(keys).expect("the test names keys") {
            self.key(key);
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) {
        self.hear(Message::Key(key));
        self.wait(PAUSE_MS);
    }

    /// Events on the stream of the list that is shown.
    pub(super) fn happens(&mut self, events: Vec<Live>) {
        let ticket = self.ticket(|purpose| matches!(purpose, Purpose::RowsStream));
        self.hear(Message::Events(ticket, events));
    }

    /// Events on the stream of figures.
    pub(super) fn counts(&mut self, events: Vec<Live>) {
        let ticket = self.ticket(|purpose| matches!(purpose, Purpose::StatsStream));
        self.hear(Message::Events(ticket, events));
    }

    pub(super) fn ticket(&self, wanted: impl Fn(&Purpose) -> bool) -> Ticket {
        let found = self.model.asked.iter().find(|(_, purpose)| wanted(purpose));
        *found.expect("it waits for that").0
    }

    /// The daemon goes away: its streams break, and nothing is answered.
    pub(super) fn lose(&mut self) {
        self.answers = Answers::Fails(gone);
        let ticket = self.ticket(|purpose| matches!(purpose, Purpose::StatsStream));
        self.hear(Message::StreamEnded(ticket, gone()));
    }

    /// Answers what was held.
    pub(super) fn release(&mut self) {
        self.answers = Answers::AtOnce;
        for (ticket, question) in std::mem::take(&mut self.held) {
            let answer = self.daemon.answer(&question);
            self.hear(Message::Answer(ticket, answer));
        }
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        let mut waiting = VecDeque::from(effects);
        for _ in 0..ROUNDS_MAX {
            let round = std::mem::take(&mut waiting);
            for effect in round {
                let message = self.message_of(&effect);
                self.effects.push(effect);
                if let Some(message) = message {
                    let now = self.model.now;
                    waiting.extend(update::update(&mut self.model, message, now));
                }
            }
            if waiting.is_empty() {
                return;
            }
        }
        panic!("the console asks and asks: {:?}", described(waiting.make_contiguous()));
    }

    /// What comes of it at once.
    fn message_of(&mut self, effect: &Effect) -> Option<Message> {
        match effect {
            Effect::Ask(ticket, question) => match self.answers {
                Answers::AtOnce => Some(Message::Answer(*ticket, self.daemon.answer(question))),
                Answers::Fails(why) => Some(Message::Answer(*ticket, Err(why()))),
                Answers::Held => {
                    self.held.push_back((*ticket, question.clone()));
                    None
                }
            },
            Effect::AskEach(ticket, questions) => {
                let mut many = Many::default();
                for question in questions {
                    match self.daemon.answer(question) {
                        Ok(Reply::Done(done)) => many.done.push(done.id),
                        Ok(_) => many.done.push(String::new()),
                        Err(why) => {
                            many.failed += 1;
                            many.first_failure = Some(why.text().to_owned());
                        }
                    }
                }
                Some(Message::Many(*ticket, many))
            }
            Effect::Edit(ticket, text) => {
                Some(Message::Edited(*ticket, Ok((self.editor)(&text.text))))
            }
            Effect::Copy(_) => Some(Message::Copied(Ok("sent to the clipboard"))),
            Effect::Write(text) => Some(Message::Written(Ok(text.name.clone()))),
            Effect::Follow(..)
            | Effect::Abort(_)
            | Effect::Plain(_)
            | Effect::Mouse(_)
            | Effect::Repaint
            | Effect::Suspend
            | Effect::Quit => None,
        }
    }

    /// What it wanted done since this was last asked, in words.
    pub(super) fn did(&mut self) -> Vec<String> {
        described(&std::mem::take(&mut self.effects))
    }

    /// Of that, whatever would change something.
    pub(super) fn changed(&mut self) -> Vec<String> {
        let did = self.did();
        did.into_iter()
            .filter(|one| ["POST", "PUT", "DELETE"].iter().any(|m| one.starts_with(m)))
            .collect()
    }

    pub(super) fn frame(&self) -> String {
        view::text(&view::page(&self.model))
    }

    /// The line of the frame that has this in it.
    pub(super) fn line(&self, with: &str) -> String {
        let frame = self.frame();
        let found = frame.lines().find(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("no line has {with:?} in\n{frame}")).trim().to_owned()
    }

    pub(super) fn cursor(&self) -> &str {
        self.model.level().cursor.as_deref().unwrap_or_default()
    }

    pub(super) fn note(&self) -> &str {
        self.model.note.as_ref().map(|note| note.text.as_str()).unwrap_or_default()
    }
}

pub(super) fn gone() -> Failure {
    Failure::NoDaemon {
        text: "no daemon answers at /run/picloud/admin.sock".to_owned(),
        hint: Some("sudo systemctl start picloud".to_owned()),
    }
}

/// Effects in words.
pub(super) fn described(effects: &[Effect]) -> Vec<String> {
    let ask = |question: &Ask| {
        let mut says = format!("{} {}", question.method, question.paths.join(" "));
        if let Some(version) = question.version {
            says = format!("{says} at {version}");
        }
        if let Some(body) = question.body.as_ref().filter(|body| **body != serde_json::json!({})) {
            says = format!("{says} {body}");
        }
        says
    };
    effects
        .iter()
        .flat_map(|effect| match effect {
            Effect::Ask(_, question) => vec![ask(question)],
            Effect::AskEach(_, questions) => questions.iter().map(ask).collect(),
            Effect::Follow(_, path) => vec![format!("follow {path}")],
            Effect::Abort(_) => vec!["abort".to_owned()],
            Effect::Edit(_, text) => vec![format!("edit {}", text.name)],
            Effect::Copy(text) => vec![format!("copy {text}")],
            Effect::Write(text) => vec![format!("write {}", text.name)],
            Effect::Plain(_) => vec!["plain".to_owned()],
            Effect::Mouse(mouse) => vec![format!("mouse {mouse:?}")],
            Effect::Repaint => vec!["repaint".to_owned()],
            Effect::Suspend => vec!["suspend".to_owned()],
            Effect::Quit => vec!["quit".to_owned()],
        })
        .collect()
}
