//! Compiled scripts, and what is checked before Rhai's compiler sees a source.

use std::sync::Arc;

use rhai::AST;

use crate::bounds::{SOURCE_BYTES_MAX, SOURCE_LINE_CHARS_MAX, SOURCE_NESTING_MAX};
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

    /// The text that it was compiled from.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }
}

/// Refuses a source that is too large or whose brackets are nested so deeply that the compiler would need too much
/// stack. Brackets in comments and texts count too; nobody writes that many.
pub(crate) fn check_source(source: &str) -> Result<(), ExecError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(ExecError {
            kind: ExecErrorKind::Compile,
            message: format!(
                "the script has {} bytes, at most {SOURCE_BYTES_MAX} are allowed",
                source.len()
            ),
            position: None,
        });
    }
    let mut depth = 0_usize;
    for (number, line) in (1_u32..).zip(source.lines()) {
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => (),
            }
            if depth > SOURCE_NESTING_MAX {
                return Err(ExecError {
                    kind: ExecErrorKind::Compile,
                    message: format!(
                        "brackets are nested more than {SOURCE_NESTING_MAX} levels deep"
                    ),
                    position: Some(Position {
                        line: number,
                        column: 0,
                        source_line: line.chars().take(SOURCE_LINE_CHARS_MAX).collect(),
                    }),
                });
            }
        }
    }
    Ok(())
}
