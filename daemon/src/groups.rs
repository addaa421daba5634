//! Which of this machine's users may call the admin API by their group.
//!
//! The socket tells a caller's uid and its primary group only, so the groups are looked up by uid, in `/etc/passwd` and
//! `/etc/group`. Both are looked at again whenever they have changed. What other sources of NSS know (LDAP, SSSD,
//! systemd-homed, `DynamicUser`) is not seen: such a user needs a line in `/etc/group`, or a principal with its uid.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::field;
use crate::principal::Capability;

/// Members of the first may do everything, those of the second may read.
pub const GROUPS: [(&str, Capability); 2] =
    [("picloud-admin", Capability::InstanceAdmin), ("picloud", Capability::AppRead)];

/// Bytes of each of the two files; a larger one counts as empty.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is known of one uid. Everything else is a uid like any other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// The name of the user.
    pub name: Option<String>,
    /// What its groups give it, for all apps.
    pub capabilities: Vec<Capability>,
}

/// The members of [`GROUPS`] by uid. `passwd` and `group` are the texts of the two files; lines that are not understood
/// are passed over, as the C library does.
pub fn members(passwd: &str, group: &str) -> HashMap<u32, Member> {
    let lists: Vec<(Capability, u32, Vec<&str>)> = group.lines().filter_map(list_of).collect();
    let mut members: HashMap<u32, Member> = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(uid), Some(primary)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(uid), Ok(primary)) = (uid.parse::<u32>(), primary.parse::<u32>()) else {
            continue;
        };
        for (capability, gid, names) in &lists {
            if name.is_empty() || (primary != *gid && !names.contains(&name)) {
                continue;
            }
            let member = members.entry(uid).or_default();
            member.name.get_or_insert_with(|| name.to_owned());
            if !member.capabilities.contains(capability) {
                member.capabilities.push(*capability);
            }
        }
    }
    members
}

/// What a line of `/etc/group` gives, to the group of which number, and to which users by name.
fn list_of(line: &str) -> Option<(Capability, u32, Vec<&str>)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let (_, capability) = GROUPS.into_iter().find(|(known, _)| *known == name)?;
    let gid = fields.nth(1)?.parse().ok()?;
    let names = fields.next().unwrap_or_default();
    Some((capability, gid, names.split(',').map(str::trim).collect()))
}

/// The members as the files say now.
pub struct Groups {
    /// `None`: nobody is a member of anything.
    files: Option<[PathBuf; 2]>,
    read: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    marks: Option<[Mark; 2]>,
    members: Arc<HashMap<u32, Member>>,
}

/// By what a file that has changed is known.
type Mark = Option<(u64, u64, i64, i64)>;

impl Groups {
    pub fn of_this_machine() -> Groups {
        Groups::in_files("/etc/passwd", "/etc/group")
    }

    pub fn in_files(passwd: impl Into<PathBuf>, group: impl Into<PathBuf>) -> Groups {
        Groups { files: Some([passwd.into(), group.into()]), read: Mutex::default() }
    }

    pub fn none() -> Groups {
        Groups { files: None, read: Mutex::default() }
    }

    /// What is known of a uid; nothing, if it is in neither group.
    pub fn member(&self, uid: u32) -> Member {
        self.members().get(&uid).cloned().unwrap_or_default()
    }

    /// Whether a group gives this uid a capability, for all apps.
    pub fn gives(&self, uid: u32, capability: Capability) -> bool {
        let members = self.members();
        let given = members.get(&uid).map_or(&[][..], |member| &member.capabilities);
        given.iter().any(|one| *one == capability || *one == Capability::InstanceAdmin)
    }

    fn members(&self) -> Arc<HashMap<u32, Member>> {
        let Some(files) = &self.files else { return Arc::default() };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = [mark(&files[0]), mark(&files[1])];
        if read.marks != Some(marks) {
            let [passwd, group] = [text(&files[0]), text(&files[1])];
            *read = Reading { marks: Some(marks), members: Arc::new(members(&passwd, &group)) };
        }
        Arc::clone(&read.members)
    }
}

fn mark(path: &Path) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

fn text(path: &Path) -> String {
    let mut text = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= FILE_BYTES_MAX => String::from_utf8_lossy(&text).into_owned(),
        Ok(_) => {
            tracing::warn!("users or groups are not looked up: the file is too large");
            String::new()
        }
        Err(error) => {
            tracing::warn!({ field::ERROR } = %error, "users or groups cannot be looked up");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        anna:x:1000:1000:Anna,,,:/home/anna:/bin/bash\n\
        ben:x:1001:990:Ben:/home/ben:/bin/sh\n\
        # a note\n\
        broken:x:y:1\n\
        :x:1005:991::/:/bin/sh\n\
        cleo:x:1002:1002::/:/bin/sh\n\
        anna2:x:1000:1000:the same:/:/bin/sh\n\
        dora:x:1003:1003::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\n\
        anna:x:1000:\n\
        picloud:x:990:cleo,anna2\n\
        picloud-admin:x:991:anna, cleo\n\
        picloud-administrators:x:992:dora\n\
        picloud-admin\n";

    fn capabilities(uid: u32) -> Vec<Capability> {
        members(PASSWD, GROUP).remove(&uid).unwrap_or_default().capabilities
    }

    #[test]
    fn a_user_is_a_member_by_its_primary_group_and_by_every_list_that_names_it() {
        use Capability::{AppRead, InstanceAdmin};
        assert_eq!(capabilities(1001), [AppRead]);
        assert_eq!(capabilities(1002), [AppRead, InstanceAdmin]);
        // Two names of one uid: the kernel tells only the uid, so both lists count.
        assert_eq!(capabilities(1000), [InstanceAdmin, AppRead]);
        assert_eq!(members(PASSWD, GROUP)[&1000].name.as_deref(), Some("anna"));
    }

    #[test]
    fn whoever_is_in_no_such_group_gets_nothing() {
        for uid in [0, 1003, 1005, 4242] {
            assert_eq!(capabilities(uid), [], "{uid}");
        }
        assert!(members("", GROUP).is_empty() && members(PASSWD, "").is_empty());
        assert_eq!(Groups::none().member(0), Member::default());
    }

    #[test]
    fn a_change_of_the_files_holds_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [passwd, group] = ["passwd", "group"].map(|name| folder.path().join(name));
        let groups = Groups::in_files(&passwd, &group);
        assert!(!groups.gives(1002, Capability::AppData));
        std::fs::write(&passwd, PASSWD).expect("it can be written");
        std::fs::write(&group, GROUP).expect("it can be written");
        assert!(groups.gives(1002, Capability::AppData));
        // As `gpasswd` does: a new file in the place of the old one.
        let new = folder.path().join("group+");
        std::fs::write(&new, GROUP.replace("cleo", "gone")).expect("it can be written");
        std::fs::rename(&new, &group).expect("it can be renamed");
        assert!(!groups.gives(1002, Capability::AppData));
        assert!(groups.gives(1000, Capability::AppData));
    }
}
