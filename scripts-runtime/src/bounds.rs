//! Limits of the sandbox itself, which no script and no instance can change.

/// Bytes of a script's source.
pub const SOURCE_BYTES_MAX: usize = 256 << 10;

/// Brackets, braces and parentheses within each other in a script's source.
pub const SOURCE_NESTING_MAX: usize = 100;

/// Plain arguments of one call, parameters of one function.
pub const ARGUMENTS_MAX: usize = 255;

/// Variables that a script may have in scope at once.
pub const VARIABLES_MAX: usize = 1_024;

/// Functions that a script may define, closures included.
pub const FUNCTIONS_MAX: usize = 1_024;

/// Expressions within each other, outside and inside of functions.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Arrays and maps within each other in JSON.
pub const JSON_DEPTH_MAX: usize = 64;

/// Bytes of a collection's name, a key, a document's id.
pub const NAME_BYTES_MAX: usize = 512;

/// Stack that a thread must have free when it calls `Runtime::run` or `Runtime::compile`.
pub const STACK_BYTES: usize = 2 << 20;

/// Stack that nested calls of a script's functions may use.
pub(crate) const INTERPRETER_STACK_BYTES_MAX: usize = STACK_BYTES / 2;

/// Stack that one of Rhai's functions may use below the interpreter: what copying deeply nested data needs.
pub(crate) const NATIVE_STACK_BYTES_MAX: usize = 64 << 10;

/// Operations between two closer looks: has the host interrupted the run, how much memory does it hold.
pub(crate) const OPERATIONS_PER_LOOK: u64 = 64;

/// Bytes by which a run's memory may change before it tells the total of all runs.
pub(crate) const MEMORY_STEP_BYTES: i64 = 256 << 10;

/// Operations that a document costs that is looked at by `find`, `count`, `list` or `keys`.
pub(crate) const OPERATIONS_PER_ENTRY: u64 = 20;

/// Bytes of an error's message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_024;

/// Characters of the source line shown with an error.
pub(crate) const SOURCE_LINE_CHARS_MAX: usize = 200;
