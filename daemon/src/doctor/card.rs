//! What the kernel knows of the card under the store, and of its wear.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use picloud_api::health::Check;

use crate::doctor::{Machine, State, check};

/// `None`: the folder cannot be looked at, which other checks tell.
pub(super) fn look(folder: &Path, machine: &Machine) -> Option<Check> {
    let device = fs::metadata(folder).ok()?.dev();
    Some(of_device(device, &machine.sys))
}

fn of_device(device: u64, sys: &Path) -> Check {
    let Some(card) = card(device, sys) else {
        return check("card", State::Ok, "the disk of the store tells nothing of its wear", None);
    };
    let read = |name: &str| {
        let text = fs::read_to_string(card.join("device").join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    let name = format!("{} ({})", shown(&card), read("name"));
    match read("type").as_str() {
        "SD" => {
            let (made, by) = (read("date"), read("manfid"));
            let text = format!("{name}, made {made} by {by}: SD cards tell nothing of their wear");
            check("card", State::Ok, text, None)
        }
        _ => worn(&name, &read("life_time"), &read("pre_eol_info")),
    }
}

/// The folder of the whole card that a partition is on.
fn card(device: u64, sys: &Path) -> Option<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let own = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))).ok()?;
    let mut own_and_whole = own.ancestors().take(2);
    let card = own_and_whole.find(|folder| folder.join("device").is_dir())?;
    shown(card).starts_with("mmcblk").then(|| card.to_owned())
}

fn shown(card: &Path) -> String {
    card.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An eMMC tells tenths of its life that are used, for each of two kinds of its memory, and how many of its spare blocks.
fn worn(name: &str, life_time: &str, pre_eol_info: &str) -> Check {
    let number = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let tenths = life_time.split_whitespace().filter_map(number).max().filter(|used| *used > 0);
    let spare = number(pre_eol_info).unwrap_or(0);
    let Some(tenths) = tenths else {
        let text = format!("{name} tells nothing of its wear");
        return check("card", State::Ok, text, None);
    };
    let used = match tenths {
        1..=10 => format!("{} to {} % of its life is used", (tenths - 1) * 10, tenths * 10),
        _ => "its life is used up".to_owned(),
    };
    let spare_left = match spare {
        2 => ", its spare blocks are nearly used up",
        3.. => ", its spare blocks are used up",
        _ => "",
    };
    let text = format!("{name}: {used}{spare_left}");
    let remedy = "take a backup to another disk, then move to a new card: picloudd backup FILE";
    match (tenths, spare) {
        (11.., _) | (_, 3..) => check("card", State::Bad, text, Some(remedy)),
        (9.., _) | (_, 2) => check("card", State::Warn, text, Some(remedy)),
        _ => check("card", State::Ok, text, None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A kernel with one card, which says this of itself; its second partition is 179:2.
    fn sys(says: &[(&str, &str)]) -> TempDir {
        let sys = tempfile::tempdir().expect("a folder");
        let device = sys.path().join("devices/mmc0/mmc0:0001");
        let partition = device.join("block/mmcblk0/mmcblk0p2");
        fs::create_dir_all(&partition).expect("is made");
        fs::create_dir_all(sys.path().join("dev/block")).expect("is made");
        symlink(&device, device.join("block/mmcblk0/device")).expect("is made");
        symlink(&partition, sys.path().join("dev/block/179:2")).expect("is made");
        for (name, text) in says {
            fs::write(device.join(name), format!("{text}\n")).expect("is written");
        }
        sys
    }

    fn told(says: &[(&str, &str)]) -> (String, String) {
        let check = of_device(rustix::fs::makedev(179, 2), sys(says).path());
        (check.state, check.text)
    }

    #[test]
    fn a_card_tells_what_it_knows_of_its_wear() {
        let sd = [("type", "SD"), ("name", "SC32G"), ("date", "02/2024"), ("manfid", "0x000003")];
        let (state, text) = told(&sd);
        assert_eq!(state, "ok");
        assert!(text.starts_with("mmcblk0 (SC32G), made 02/2024 by 0x000003"), "{text}");
        let emmc = |life: &str, spare: &str| {
            told(&[("type", "MMC"), ("name", "DG40"), ("life_time", life), ("pre_eol_info", spare)])
        };
        for (life, spare, state, part) in [
            ("0x01 0x01", "0x01", "ok", "0 to 10 %"),
            ("0x01 0x09", "0x01", "warn", "80 to 90 %"),
            ("0x01 0x01", "0x02", "warn", "nearly"),
            ("0x0a 0x01", "0x03", "bad", "used up"),
            ("0x0b 0x01", "0x01", "bad", "its life is used up"),
            ("0x00 0x00", "0x00", "ok", "nothing"),
            ("", "", "ok", "nothing"),
        ] {
            let told = emmc(life, spare);
            assert!(told.0 == state && told.1.contains(part), "{life} {spare}: {told:?}");
        }
    }

    #[test]
    fn another_disk_is_no_card() {
        let nowhere = of_device(rustix::fs::makedev(8, 1), sys(&[]).path());
        assert_eq!((nowhere.state.as_str(), nowhere.name.as_str()), ("ok", "card"));
    }
}
