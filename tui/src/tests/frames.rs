//! Pictures of every screen at three sizes.

use crate::tests::world::World;

/// Compares a frame with the picture of this name.
#[track_caller]
pub(super) fn is_as_pictured(name: &str, frame: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, frame));
}

const SIZES: [(u16, u16); 3] = [(100, 30), (80, 24), (60, 15)];

const SCREENS: [(&str, &str); 10] = [
    ("overview", ""),
    ("outbox", "2"),
    ("dead", "3"),
    ("runs", "4"),
    ("apps", "5"),
    ("scripts", "6"),
    ("triggers", "7"),
    ("data", "8"),
    ("log", "9"),
    ("system", "0"),
];

#[test]
fn every_screen_fits_every_size() {
    for (name, keys) in SCREENS {
        for size in SIZES {
            let mut world = World::new(size);
            world.press(keys);
            is_as_pictured(&format!("{name}-{}x{}", size.0, size.1), &world.frame());
        }
    }
}
