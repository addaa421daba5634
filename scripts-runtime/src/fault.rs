//! Why a service call of a script fails: with an error that the script may catch, or for good.

use crate::exec::ExecErrorKind;

/// The failure of a service call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The script may catch it with `try`.
    Thrown(String),
    /// The run ends with it, whatever the script does.
    Fatal(ExecErrorKind, String),
}

impl Fault {
    pub(crate) fn thrown(message: impl Into<String>) -> Fault {
        Fault::Thrown(message.into())
    }

    pub(crate) fn budget(message: impl Into<String>) -> Fault {
        Fault::Fatal(ExecErrorKind::Budget, message.into())
    }
}
