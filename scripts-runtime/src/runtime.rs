//! The engine that all scripts of a daemon are compiled and run with.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Once};

use rhai::module_resolvers::DummyModuleResolver;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, OptimizationLevel, Scope, Token};

use crate::bounds::{EXPRESSION_DEPTH_MAX, FUNCTIONS_MAX, VARIABLES_MAX};
use crate::exec::{ExecError, ExecErrorKind, ExecReport, ExecRequest};
use crate::json::read::{self, Blobs};
use crate::json::write;
use crate::limits::RunLimits;
use crate::mask::Mask;
use crate::program::{self, Compiled, Program};
use crate::run::{self, MemoryOfAll};
use crate::{guards, message, services};

/// Compiles and runs scripts; one for a daemon, used by all of its threads.
///
/// A thread that calls [`Runtime::compile`] or [`Runtime::run`] has at least [`crate::bounds::STACK_BYTES`] of stack left.
pub struct Runtime {
    engine: Engine,
    memory_of_all: Arc<MemoryOfAll>,
}

impl Runtime {
    /// `limits` is the most that any script of the instance may use, `memory_of_all_bytes_max` what all runs together
    /// may hold. Sizes of strings, arrays and maps and the call depth are those of `limits` for every script.
    pub fn new(limits: &RunLimits, memory_of_all_bytes_max: u64) -> Runtime {
        silence_panics_of_runs();
        let memory_of_all = Arc::new(MemoryOfAll {
            held: AtomicI64::new(0),
            bytes_max: i64::try_from(memory_of_all_bytes_max).unwrap_or(i64::MAX),
        });
        let mut engine = Engine::new_raw();
        engine.register_global_module(StandardPackage::new().as_shared_module());
        engine.set_module_resolver(DummyModuleResolver::new());
        bound(&mut engine, limits);
        free_the_word_debug(&mut engine);
        observe(&mut engine, &memory_of_all);
        guards::register(&mut engine);
        services::register(&mut engine);
        Runtime { engine, memory_of_all }
    }

    /// Compiles a script; nothing of it runs.
    pub fn compile(&self, source: &str) -> Result<Program, ExecError> {
        program::check_source(source)?;
        let mut scope = Scope::new();
        scope.push_dynamic("event", Dynamic::UNIT);
        match self.engine.compile_with_scope(&scope, source) {
            Ok(ast) => Ok(Program::new(ast, source)),
            Err(error) => Err(message::compile_error(&error, source)),
        }
    }

    /// Runs a script on this thread until it ends or its limits, its host or an error end it.
    pub fn run(&self, program: &Program, request: &ExecRequest) -> ExecReport {
        let compiled = &*program.compiled;
        run::begin(request, compiled.has_closures);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.evaluate(compiled, request)));
        let result = outcome.unwrap_or_else(|_| {
            request.host.panicked(&PANIC_PLACE.take());
            Err(ExecError {
                kind: ExecErrorKind::Panicked,
                message:
                    "a built-in function failed; this is a defect of PiCloud, not of the script"
                        .to_owned(),
                position: None,
            })
        });
        let (run, usage) = run::end(&self.memory_of_all);
        let result = result.map_err(|error| hidden(error, &run.mask));
        let shows_effects = match &result {
            Ok(_) => true,
            Err(error) => error.kind == ExecErrorKind::Unknown,
        };
        let effects = if shows_effects { run.effects } else { Vec::new() };
        let (listed, mask, reads) = (run.listed, run.mask, run.entries.reads);
        ExecReport { result, effects, listed, mask, reads, usage }
    }

    fn evaluate(&self, program: &Compiled, request: &ExecRequest) -> Result<Arc<str>, ExecError> {
        let mut scope = Scope::new();
        let event = if program.uses_event { event(request)? } else { Dynamic::UNIT };
        scope.push_dynamic("event", event);
        let outcome = self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &program.ast);
        match (outcome, run::fatal()) {
            (Ok(result), None) => {
                let text = write::text(&result, "result", request.limits.response_bytes_max);
                text.map(Arc::from).map_err(|error| {
                    let (kind, message) = error.into_kind_and_message();
                    ExecError { kind, message, position: None }
                })
            }
            (Ok(_), Some((kind, message))) => Err(ExecError { kind, message, position: None }),
            (Err(error), fatal) => {
                Err(message::run_error(*error, fatal, &program.source, &run::mask()))
            }
        }
    }
}

/// The error without the secrets that the run has read.
fn hidden(mut error: ExecError, mask: &Mask) -> ExecError {
    if mask.is_empty() {
        return error;
    }
    error.message = mask.hide(&error.message).into_owned();
    if let Some(position) = &mut error.position {
        position.source_line = mask.hide(&position.source_line).into_owned();
    }
    error
}

/// The event of the source with what every event has.
fn event(request: &ExecRequest) -> Result<Dynamic, ExecError> {
    let broken =
        |message: String| ExecError { kind: ExecErrorKind::Thrown, message, position: None };
    let read = read::value(&request.event, "the event", Blobs::Decoded, &request.limits);
    let mut event = read.map_err(|fault| match fault {
        crate::fault::Fault::Thrown(message) => broken(message),
        crate::fault::Fault::Fatal(kind, message) => ExecError { kind, message, position: None },
    })?;
    if let Ok(mut map) = event.as_map_mut() {
        map.insert("execution_id".into(), request.execution_id.to_string().into());
        map.insert("attempt".into(), i64::from(request.attempt).into());
        map.insert("depth".into(), i64::from(request.depth).into());
        map.insert("root_id".into(), request.root_id.to_string().into());
    } else {
        return Err(broken("the event is not a map".to_owned()));
    }
    Ok(event)
}

/// Limits that hold for each script alike. Operations and memory are a run's own, and counted by [`run::progress`].
fn bound(engine: &mut Engine, limits: &RunLimits) {
    engine
        .set_max_call_levels(usize::try_from(limits.call_depth_max).unwrap_or(usize::MAX))
        .set_max_string_size(limits.string_bytes_max)
        .set_max_array_size(limits.array_items_max)
        .set_max_map_size(limits.map_items_max)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX)
        .set_max_variables(VARIABLES_MAX)
        .set_max_functions(FUNCTIONS_MAX)
        .set_max_modules(0)
        .set_strict_variables(true)
        // Folding constants would do work without limits while compiling.
        .set_optimization_level(OptimizationLevel::None)
        // One table of strings for all threads would be a lock that all of them wait at.
        .set_max_strings_interned(0);
    for symbol in ["eval", "import", "export", "curry"] {
        engine.disable_symbol(symbol);
    }
}

/// Rhai reserves the word, so that it could not follow `log::`. As a plain function it is still Rhai's.
fn free_the_word_debug(engine: &mut Engine) {
    #[allow(
        deprecated,
        reason = "marked so since its signature may change, not since it goes away"
    )]
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if *word == "debug" => Token::Identifier(word),
        other => other,
    });
}

/// What is watched while a script runs.
fn observe(engine: &mut Engine, memory_of_all: &Arc<MemoryOfAll>) {
    let all = Arc::clone(memory_of_all);
    engine.on_progress(move |_| run::progress(&all));
    engine.on_print(services::log::print);
    engine.on_debug(|text, _, _| services::log::debug(text));
    #[allow(
        deprecated,
        reason = "marked so since its signature may change, not since it goes away"
    )]
    engine.on_var(|name, _, context| {
        if run::notes_shared()
            && let Some(variable) = context.scope().get(name)
            && variable.is_shared()
        {
            run::note_shared(variable);
        }
        Ok(None)
    });
}

thread_local! {
    /// Where the last panic of a run on this thread was.
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic in a run becomes an error of the run; nothing is printed of it, and the host is told where it was.
fn silence_panics_of_runs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if run::is_running() {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                PANIC_PLACE.set(place);
            } else {
                others(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::effect::{Key, Stored};
    use crate::fault::Fault;
    use crate::host::{Host, HostError, Interrupt, LogLine, Need, NoSecret, Page};
    use crate::outside::{Outgoing, OutsideAnswer, OutsideCall, OutsideError};

    /// A store without entries that notes where panics were.
    #[derive(Default)]
    struct Empty(Mutex<Vec<String>>);

    impl Host for Empty {
        fn read(&self, _: &Key) -> Result<Option<Stored>, HostError> {
            Ok(None)
        }

        fn list(&self, _: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError> {
            Ok(Vec::new())
        }

        fn secret(&self, _: &str) -> Result<Result<Arc<str>, NoSecret>, HostError> {
            Ok(Err(NoSecret("none".to_owned())))
        }

        fn call_outside(&self, _: &OutsideCall) -> Result<OutsideAnswer, OutsideError> {
            Err(OutsideError("nobody is there".to_owned()))
        }

        fn permits(&self, _: Need) -> bool {
            true
        }

        fn log(&self, _: LogLine) {}

        fn panicked(&self, place: &str) {
            self.0.lock().expect("no panic while held").push(place.to_owned());
        }

        fn interrupted(&self) -> Option<Interrupt> {
            None
        }
    }

    fn request() -> ExecRequest {
        ExecRequest {
            event: "{}".into(),
            execution_id: "01".into(),
            attempt: 1,
            depth: 0,
            root_id: "01".into(),
            limits: RunLimits::default(),
            now_ms: 0,
            seed: 0,
            host: Arc::new(Empty::default()),
            outgoing: Outgoing::Sent,
        }
    }

    #[test]
    fn p6_a_panic_fails_its_run_and_no_other() {
        let mut runtime = Runtime::new(&RunLimits::default(), 1 << 20);
        runtime.engine.register_fn("explode", || -> i64 { panic!("not shown") });
        let source = r#"kv::collection("c").set("k", 1); try { explode(); } catch { } 1"#;
        let exploding = runtime.compile(source).expect("it compiles");
        let after = runtime.compile(r#"kv::collection("c").set("k", 1); 2"#).expect("it compiles");
        for _ in 0..2 {
            let report = runtime.run(&exploding, &request());
            let error = report.result.expect_err("it panics");
            assert_eq!(error.kind, ExecErrorKind::Panicked);
            assert!(!error.message.contains("not shown"));
            assert_eq!(report.effects, []);
            let report = runtime.run(&after, &request());
            assert_eq!((report.result.as_deref(), report.effects.len()), (Ok("2"), 1));
        }
    }

    #[test]
    fn the_host_is_told_where_a_function_panicked_also_within_a_service_call() {
        let mut runtime = Runtime::new(&RunLimits::default(), 1 << 20);
        runtime.engine.register_fn("explode", || -> i64 { panic!("outside") });
        runtime.engine.register_fn("explode_within", || {
            run::with(|_| -> Result<i64, Fault> { panic!("within") })
        });
        let host = Arc::new(Empty::default());
        for source in ["explode()", "explode_within()"] {
            let program = runtime.compile(source).expect("it compiles");
            runtime.run(&program, &ExecRequest { host: Arc::clone(&host) as _, ..request() });
        }
        let places = host.0.lock().expect("no panic while held").clone();
        assert!(places.iter().all(|place| place.contains("runtime.rs:")), "{places:?}");
        assert_eq!((places.len(), places[0] == places[1]), (2, false), "{places:?}");
    }

    #[test]
    fn runtime_and_program_are_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Runtime>();
        shared::<Program>();
    }

    /// Every name that Rhai itself gives to scripts was looked at for what it could make grow; one that is new with
    /// another version of Rhai has to be looked at too.
    #[test]
    fn without_the_guards_rhai_is_the_version_that_was_looked_at() {
        let lock = include_str!("../../Cargo.lock");
        let at = lock.find("name = \"rhai\"").expect("rhai is locked");
        assert!(
            lock[at..].starts_with("name = \"rhai\"\nversion = \"1.27.0\""),
            "look at Rhai's packages for new functions that amplify, then change this version"
        );
    }
}
