//! How roles look: the terminal's own colours and a few of the sixteen, right on light and dark ground without asking.

use ratatui::style::{Color, Modifier, Style};

use crate::text::Role;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Colours,
    /// Attributes only.
    Mono,
}

impl Theme {
    pub fn style(self, role: Role) -> Style {
        match self {
            Theme::Colours => coloured(role),
            Theme::Mono => mono(role),
        }
    }

    /// The style on the selected row. Nothing else is reversed.
    pub fn selected(self, style: Style) -> Style {
        // Dim and reversed cannot be read on many terminals.
        style.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED)
    }
}

/// No blue, yellow, white or bright colour: each of them cannot be read on one of the usual grounds.
fn coloured(role: Role) -> Style {
    let plain = Style::new();
    match role {
        Role::Text => plain,
        Role::Dim => plain.add_modifier(Modifier::DIM),
        Role::Strong => plain.add_modifier(Modifier::BOLD),
        Role::Accent => plain.fg(Color::Cyan),
        Role::Ok | Role::Added => plain.fg(Color::Green),
        Role::Warn => plain.fg(Color::Magenta).add_modifier(Modifier::BOLD),
        Role::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        Role::Running => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
        Role::Later => plain.fg(Color::Magenta),
        Role::Removed => plain.fg(Color::Red),
    }
}

fn mono(role: Role) -> Style {
    let plain = Style::new();
    match role {
        Role::Text | Role::Ok => plain,
        Role::Dim | Role::Later | Role::Removed => plain.add_modifier(Modifier::DIM),
        Role::Strong | Role::Accent | Role::Running | Role::Warn | Role::Added => {
            plain.add_modifier(Modifier::BOLD)
        }
        Role::Bad => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 11] = [
        Role::Text,
        Role::Dim,
        Role::Strong,
        Role::Accent,
        Role::Ok,
        Role::Warn,
        Role::Bad,
        Role::Running,
        Role::Later,
        Role::Added,
        Role::Removed,
    ];

    #[test]
    fn only_four_colours_and_the_terminals_own_are_used() {
        let allowed = [None, Some(Color::Red), Some(Color::Green), Some(Color::Cyan)];
        for role in ROLES {
            let style = Theme::Colours.style(role);
            assert!(allowed.contains(&style.fg) || style.fg == Some(Color::Magenta), "{role:?}");
            assert_eq!(style.bg, None, "{role:?}");
            let mono = Theme::Mono.style(role);
            assert_eq!((mono.fg, mono.bg), (None, None), "{role:?}");
        }
    }

    #[test]
    fn only_the_selection_is_reversed() {
        for theme in [Theme::Colours, Theme::Mono] {
            for role in ROLES {
                let style = theme.style(role);
                assert!(!style.add_modifier.contains(Modifier::REVERSED), "{theme:?} {role:?}");
                let selected = theme.selected(style);
                assert!(selected.add_modifier.contains(Modifier::REVERSED), "{theme:?} {role:?}");
                assert!(!selected.add_modifier.contains(Modifier::DIM), "{theme:?} {role:?}");
                assert_eq!((selected.fg, selected.bg), (style.fg, None), "{theme:?} {role:?}");
            }
        }
    }

    #[test]
    fn what_is_good_differs_from_what_is_not_in_both_themes() {
        for theme in [Theme::Colours, Theme::Mono] {
            for other in [Role::Warn, Role::Bad, Role::Removed, Role::Dim] {
                assert_ne!(theme.style(Role::Ok), theme.style(other), "{theme:?} {other:?}");
            }
            assert_ne!(theme.style(Role::Warn), theme.style(Role::Bad), "{theme:?}");
            assert_ne!(theme.style(Role::Added), theme.style(Role::Removed), "{theme:?}");
        }
    }
}
