//! Compiled scripts, and what is checked before Rhai's compiler sees a source.

use std::sync::Arc;

use rhai::AST;

use crate::bounds::{ARGUMENTS_MAX, SOURCE_BYTES_MAX, SOURCE_LINE_CHARS_MAX, SOURCE_NESTING_MAX};
use crate::exec::{ExecError, ExecErrorKind, Position};

/// A script that compiles. Cheap to clone, and shared by all threads.
#[derive(Clone)]
pub struct Program {
    pub(crate) compiled: Arc<Compiled>,
}

pub(crate) struct Compiled {
    pub(crate) ast: AST,
    pub(crate) source: String,
    /// Whether the source names `event` at all; otherwise it need not be read.
    pub(crate) uses_event: bool,
    /// Whether the source has closures, which may share variables.
    pub(crate) has_closures: bool,
}

impl Program {
    pub(crate) fn new(ast: AST, source: &str) -> Program {
        let compiled = Compiled {
            ast,
            source: source.to_owned(),
            uses_event: source.contains("event"),
            has_closures: source.contains('|'),
        };
        Program { compiled: Arc::new(compiled) }
    }
}

/// Refuses a source that is too large for the compiler: in bytes, in brackets within each other (stack), in arguments or
/// parameters of one function (time). Brackets in comments and texts count too; nobody writes that many.
pub(crate) fn check_source(source: &str) -> Result<(), ExecError> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the script has {} bytes, at most {SOURCE_BYTES_MAX} are allowed",
            source.len()
        );
        return Err(ExecError { kind: ExecErrorKind::Compile, message, position: None });
    }
    let mut nesting = 0_usize;
    // Commas since a parenthesis or bar with nothing but names, numbers and space between: a list of arguments.
    let mut arguments: Option<usize> = None;
    for (number, line) in (1_u32..).zip(source.lines()) {
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' | b'{' => nesting += 1,
                b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
                _ => (),
            }
            arguments = match (byte, arguments) {
                (b'(' | b'|', _) => Some(1),
                (b',', Some(count)) => Some(count + 1),
                (b' ' | b'\t' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', count) => count,
                _ => None,
            };
            let message = if nesting > SOURCE_NESTING_MAX {
                format!("brackets are nested more than {SOURCE_NESTING_MAX} levels deep")
            } else if arguments.is_some_and(|count| count > ARGUMENTS_MAX) {
                format!("a function has more than {ARGUMENTS_MAX} arguments")
            } else {
                continue;
            };
            let source_line = line.chars().take(SOURCE_LINE_CHARS_MAX).collect();
            let position = Some(Position { line: number, column: 0, source_line });
            return Err(ExecError { kind: ExecErrorKind::Compile, message, position });
        }
    }
    Ok(())
}
