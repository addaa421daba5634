//! What can be done with the rows of each list: the keys, what they are called there, and what they ask for.

use crate::keys::Command;
use crate::listing::Listing;

/// What the key for it does here, in a few words, and what that asks for.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    pub command: Command,
    pub label: &'static str,
    /// A capability.
    pub needs: &'static str,
}

const fn verb(command: Command, label: &'static str, needs: &'static str) -> Verb {
    Verb { command, label, needs }
}

const CHAIN: Verb = verb(Command::Chain, "chain", "AppRead");

const OUTBOX: &[Verb] = &[
    verb(Command::Run, "run now", "OutboxManage"),
    verb(Command::Discard, "to dead letters", "OutboxManage"),
    CHAIN,
];

const GROUPS: &[Verb] = &[
    verb(Command::Run, "replay", "DeadLettersResolve"),
    verb(Command::Discard, "discard", "DeadLettersResolve"),
    verb(Command::Group, "one by one", "AppRead"),
];

const LETTERS: &[Verb] = &[
    verb(Command::Run, "replay", "DeadLettersResolve"),
    verb(Command::Try, "dry run", "AppInvoke"),
    verb(Command::Edit, "edit", "DeadLettersResolve"),
    verb(Command::Discard, "discard", "DeadLettersResolve"),
    CHAIN,
    verb(Command::Group, "group", "AppRead"),
];

const RUNS: &[Verb] = &[
    CHAIN,
    verb(Command::Try, "dry run", "AppInvoke"),
    verb(Command::Group, "abandoned", "AppRead"),
];

const ABANDONED: &[Verb] = &[CHAIN, verb(Command::Group, "runs", "AppRead")];

const APPS: &[Verb] = &[
    verb(Command::Hold, "pause", "AppWrite"),
    verb(Command::New, "new", "AppWrite"),
    verb(Command::Discard, "delete", "AppWrite"),
];

const ROUTES: &[Verb] = &[
    verb(Command::Hold, "pause", "AppManageRoutes"),
    verb(Command::Discard, "delete", "AppManageRoutes"),
    verb(Command::Group, "secrets", "AppSecrets"),
];

const SECRETS: &[Verb] =
    &[verb(Command::Discard, "delete", "AppSecrets"), verb(Command::Group, "routes", "AppRead")];

const SCRIPTS: &[Verb] = &[
    verb(Command::Edit, "edit", "AppManageScripts"),
    verb(Command::Try, "dry run", "AppInvoke"),
    verb(Command::Run, "run", "AppInvoke"),
    verb(Command::Versions, "versions", "AppRead"),
    verb(Command::Hold, "pause", "AppManageScripts"),
    verb(Command::Discard, "delete", "AppManageScripts"),
    verb(Command::New, "new", "AppManageScripts"),
];

const VERSIONS: &[Verb] = &[verb(Command::Run, "make current", "AppManageScripts")];

const TRIGGERS: &[Verb] = &[
    verb(Command::Toggle, "on/off", "AppManageTriggers"),
    verb(Command::Hold, "pause", "AppManageTriggers"),
    verb(Command::Run, "fire once", "AppManageTriggers"),
    verb(Command::Edit, "edit", "AppManageTriggers"),
    verb(Command::Discard, "delete", "AppManageTriggers"),
];

const ENTRIES: &[Verb] = &[
    verb(Command::Edit, "edit", "AppData"),
    verb(Command::Discard, "delete", "AppData"),
    verb(Command::New, "new", "AppData"),
];

const LOG: &[Verb] = &[CHAIN, verb(Command::Highlight, "hide/highlight", "AppRead")];

const BACKUPS: &[Verb] = &[verb(Command::New, "back up now", "InstanceAdmin")];

const TOKENS: &[Verb] = &[verb(Command::Discard, "revoke", "PrincipalsManage")];

/// In the order of the key line.
pub fn of(listing: &Listing) -> &'static [Verb] {
    match listing {
        Listing::Outbox => OUTBOX,
        Listing::Groups => GROUPS,
        Listing::Letters => LETTERS,
        Listing::Runs => RUNS,
        Listing::Abandoned => ABANDONED,
        Listing::Apps => APPS,
        Listing::Routes { .. } => ROUTES,
        Listing::Secrets { .. } => SECRETS,
        Listing::Scripts => SCRIPTS,
        Listing::Versions { .. } => VERSIONS,
        Listing::Triggers => TRIGGERS,
        Listing::Entries { .. } => ENTRIES,
        Listing::Log => LOG,
        Listing::Backups => BACKUPS,
        Listing::Tokens => TOKENS,
        Listing::Traffic
        | Listing::Collections
        | Listing::System
        | Listing::Nodes
        | Listing::Principals
        | Listing::Audit => &[],
    }
}
