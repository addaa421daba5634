//! What stands below the help of `picloud`: examples, and what its exit codes mean.

use crate::cli::Exit;

/// Commands to begin with, each with what it does.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("picloud deploy ./greenhouse --dry-run", "What would change?"),
    ("picloud triggers disable greenhouse/warn", "Let a trigger match no more."),
    ("picloud pause greenhouse/warn --reason 'sensor rebuilt'", "Let its work wait."),
    ("picloud outbox list --filter state:retry", "What is tried again?"),
    ("picloud executions list --watch", "What runs?"),
    ("picloud logs -f --app greenhouse", "What do its scripts log?"),
    ("picloud executions show 01J9ZK --chain", "What caused it, and what did it cause?"),
    ("picloud dead-letters list --group error", "What could not be done?"),
    ("picloud scripts dry-run greenhouse/warn --event 01J9ZK", "Would it work now?"),
    ("picloud dead-letters replay 01J9ZK", "Do it again."),
    ("picloud dead-letters discard --filter 'age:>30d' --expect 12", "It need not be done."),
    ("picloud kv set greenhouse/limits dry 20", "Store JSON under a key."),
    ("picloud secrets set greenhouse/API_KEY -", "From standard input."),
    ("picloud open 01J9ZK", "The console, at that dead letter or run."),
    ("picloud backups start", "Copy the store, and say where the copy is."),
    ("picloud --socket ./pi.sock apps list", "After ssh -NL ./pi.sock:/run/picloud/admin.sock pi"),
];

/// What each exit code means.
pub const EXITS: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "the command cannot be understood, or it would have had to ask"),
    (Exit::NotFound, "not found"),
    (Exit::NotAllowed, "not allowed"),
    (Exit::Conflict, "somebody else changed it, or another number matches than was expected"),
    (Exit::NoDaemon, "no daemon answers"),
    (Exit::ScriptFailed, "the script failed"),
    (
        Exit::Partly,
        "some of it was done, some failed; or the doctor has warnings and nothing worse",
    ),
];

/// Examples and exit codes, as they stand below the help.
pub(super) fn below() -> String {
    let most = EXAMPLES.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let mut text = String::from("Examples:\n");
    for (command, does) in EXAMPLES {
        text.push_str(&format!("  {command:most$}  {does}\n"));
    }
    text.push_str("\nExit codes:\n");
    for (exit, means) in EXITS {
        text.push_str(&format!("  {}  {means}\n", *exit as u8));
    }
    text.truncate(text.trim_end().len());
    text
}
