//! How roles look: only colours that are right on light and dark alike, and attributes where there are none.

use ratatui::style::{Color, Modifier, Style};

use crate::text::Role;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Red, green, cyan and magenta of the terminal's own sixteen.
    Colours,
    /// Attributes only.
    Mono,
}

impl Theme {
    pub fn style(self, role: Role) -> Style {
        let (colour, modifier) = match role {
            Role::Text => (None, Modifier::empty()),
            Role::Dim => (None, Modifier::DIM),
            Role::Strong => (None, Modifier::BOLD),
            Role::Accent => (Some(Color::Cyan), Modifier::BOLD),
            Role::Ok | Role::Added => (Some(Color::Green), Modifier::empty()),
            Role::Warn => (Some(Color::Magenta), Modifier::empty()),
            Role::Bad => (Some(Color::Red), Modifier::BOLD),
            Role::Removed => (Some(Color::Red), Modifier::empty()),
            Role::Running => (Some(Color::Cyan), Modifier::empty()),
            Role::Later => (Some(Color::Magenta), Modifier::DIM),
        };
        let style = Style::new().add_modifier(modifier);
        match (self, colour) {
            (Theme::Colours, Some(colour)) => style.fg(colour),
            (Theme::Colours | Theme::Mono, _) => style,
        }
    }

    /// The row under the cursor.
    pub fn selected(self, style: Style) -> Style {
        // Dim and reversed is not to be read on many terminals.
        style.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED)
    }
}
