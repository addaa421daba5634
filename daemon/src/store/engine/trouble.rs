//! What an error of SQLite means for us.

/// How to go on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No space left: the transaction is undone, the next one may pass.
    Full,
    /// The file cannot be written, reads go on.
    ReadOnly,
    /// What the file holds is only known after recovery, or it is damaged: the process has to end.
    Fatal,
    /// This statement failed, the store is well.
    Statement,
}

/// Where the error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Statement,
    Commit,
}

const SQLITE_READONLY: i64 = 8;
const SQLITE_IOERR: i64 = 10;
const SQLITE_CORRUPT: i64 = 11;
const SQLITE_FULL: i64 = 13;
const SQLITE_CANTOPEN: i64 = 14;
const SQLITE_NOTADB: i64 = 26;
const IOERR_READ: i64 = SQLITE_IOERR | (1 << 8);
const IOERR_SHORT_READ: i64 = SQLITE_IOERR | (2 << 8);
const IOERR_FSYNC: i64 = SQLITE_IOERR | (4 << 8);
const IOERR_DIR_FSYNC: i64 = SQLITE_IOERR | (5 << 8);

/// The extended result code, if the error is SQLite's.
pub(crate) fn code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}

pub(crate) fn of(error: &sqlx::Error, stage: Stage) -> Trouble {
    let Some(code) = code(error) else {
        return match error {
            // The connection's thread is gone: nothing more can be written.
            sqlx::Error::WorkerCrashed => Trouble::Fatal,
            _ => Trouble::Statement,
        };
    };
    match code & 0xFF {
        SQLITE_FULL => Trouble::Full,
        SQLITE_READONLY | SQLITE_CANTOPEN => Trouble::ReadOnly,
        // A page that could not be read, which SQLite may call damaged, fails who asked for it and nobody else: to end the
        // process would end it again at the next start. All else leaves the file in doubt.
        SQLITE_CORRUPT if stage == Stage::Statement => Trouble::Statement,
        SQLITE_CORRUPT | SQLITE_NOTADB => Trouble::Fatal,
        SQLITE_IOERR
            if stage == Stage::Statement && matches!(code, IOERR_READ | IOERR_SHORT_READ) =>
        {
            Trouble::Statement
        }
        SQLITE_IOERR => Trouble::Fatal,
        _ => Trouble::Statement,
    }
}

/// Whether a flush failed: the kernel takes what it could not write for written, so what the next flush says is worth nothing.
pub(crate) fn is_failed_flush(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(IOERR_FSYNC | IOERR_DIR_FSYNC))
}

pub(crate) fn is_not_a_database(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xFF == SQLITE_NOTADB)
}

pub(crate) fn is_corrupt(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xFF == SQLITE_CORRUPT)
}
