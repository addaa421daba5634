//! A terminal to run the console in: a pseudo-terminal with a shell on it, and behind it a screen that can be read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use vt100::{MouseProtocolMode, Parser, Screen};

use crate::wait::{self, PATIENCE, Since};

/// A program on a terminal of its own, a job of a shell there. It is killed with this.
pub struct Console {
    /// The side of the pseudo-terminal where a person would sit.
    seat: File,
    shell: Child,
    /// What the shell tells, and is told.
    reports: BufReader<UnixStream>,
    program: Pid,
    began: Since,
    output: Receiver<Vec<u8>>,
    pace: Arc<AtomicUsize>,
    terminal: Parser,
    raw: Vec<u8>,
    /// The settings of the terminal before the program began.
    found: String,
}

/// Runs a program as a shell with jobs does, and lives on: at its end the system would reset the terminal, and nobody could
/// see how it was left. Says the program's id and each status with which it stops or ends; a line takes it up again.
const SHELL: &str = r#"
set -m
sh -c 'echo "$$" >&2; exec "$@" 2>&1' sh "$@"
status=$?
while :; do
    printf '\033[?7777l'
    echo "$status" >&2
    read -r _ <&2 || exit
    fg >/dev/null
    status=$?
done
"#;

/// What the shell writes, with no effect, after all that the program wrote.
const MARK: &[u8] = b"\x1b[?7777l";

/// A shell's status of a job that was stopped.
const STOPPED: i32 = 128 + Signal::STOP.as_raw();

/// A slow reader takes what has come this often.
const SLOW_READ: Duration = Duration::from_millis(50);
const SLOW_READS_PER_SECOND: usize = 20;

impl Console {
    /// Starts a program on a terminal of this many columns and rows, with nothing in its environment but `TERM`, `PATH`,
    /// `LANG` and these.
    pub fn open(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, OsString)],
        (columns, rows): (u16, u16),
    ) -> Console {
        let seat = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("there is a pseudo-terminal");
        grantpt(&seat).expect("it is ours");
        unlockpt(&seat).expect("it is ours");
        set_size(&seat, columns, rows);
        let found = settings(&seat);
        let (own, shells) = UnixStream::pair().expect("there are descriptors");
        own.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
        let shell = start(&seat, shells.into(), (program, arguments), environment);
        let mut reports = BufReader::new(own);
        let program = number(&mut reports).and_then(Pid::from_raw).expect("the shell starts it");
        let began = Since::now();
        let (tell, output) = mpsc::channel();
        let pace = Arc::new(AtomicUsize::new(0));
        let reader = File::from(seat.try_clone().expect("there are descriptors"));
        thread::spawn({
            let pace = pace.clone();
            move || read(reader, &pace, &tell)
        });
        let (terminal, raw) = (Parser::new(side(rows), side(columns), 0), Vec::new());
        let seat = File::from(seat);
        Console { seat, shell, reports, program, began, output, pace, terminal, raw, found }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.seat.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the screen's text is as wished. Panics, naming `what` and showing the screen, when that never comes.
    #[track_caller]
    pub fn shows(&mut self, is_shown: impl Fn(&str) -> bool, what: &str) {
        self.shows_state(|screen| is_shown(&text(screen)), what);
    }

    /// As [`Console::shows`], of all that is known of the screen.
    #[track_caller]
    pub fn shows_state(&mut self, is_shown: impl Fn(&Screen) -> bool, what: &str) {
        if let Err(why) = self.wait(is_shown, PATIENCE) {
            panic!("{why}: {what}\n{}", text(self.terminal.screen()));
        }
    }

    /// As [`Console::shows`], for whom a wait in vain is no defect: how long it took, or why it never came.
    pub fn comes_to_show(
        &mut self,
        is_shown: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<Duration, &'static str> {
        self.wait(|screen| is_shown(&text(screen)), limit)
    }

    fn wait(
        &mut self,
        is_shown: impl Fn(&Screen) -> bool,
        limit: Duration,
    ) -> Result<Duration, &'static str> {
        let begin = Since::now();
        loop {
            self.take_what_came();
            if is_shown(self.terminal.screen()) {
                return Ok(begin.elapsed());
            }
            match self.output.recv_timeout(limit.saturating_sub(begin.elapsed())) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => return Err("waited in vain"),
                Err(RecvTimeoutError::Disconnected) => return Err("the program has ended"),
            }
        }
    }

    /// The text on the screen: a line a row, without spaces at its end.
    pub fn screen(&mut self) -> String {
        self.take_what_came();
        text(self.terminal.screen())
    }

    /// Row and column of the cursor from 0, if it is shown.
    pub fn cursor(&mut self) -> Option<(u16, u16)> {
        self.take_what_came();
        let screen = self.terminal.screen();
        (!screen.hide_cursor()).then(|| screen.cursor_position())
    }

    /// Bytes that have come so far.
    pub fn raw_bytes(&mut self) -> usize {
        self.raw().len()
    }

    /// All that has come so far.
    pub fn raw(&mut self) -> &[u8] {
        self.take_what_came();
        &self.raw
    }

    /// Bytes that come within a time: for what ought to be quiet.
    pub fn bytes_within(&mut self, time: Duration) -> usize {
        let before = self.raw_bytes();
        let begin = Since::now();
        loop {
            match self.output.recv_timeout(time.saturating_sub(begin.elapsed())) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.raw.len() - before;
                }
            }
        }
    }

    /// From now on takes only so many bytes each second, as a slow line does; 0: all at once.
    pub fn read_slowly(&self, bytes_per_second: usize) {
        self.pace.store(bytes_per_second, Ordering::Relaxed);
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.take_what_came();
        self.terminal.screen_mut().set_size(side(rows), side(columns));
        set_size(&self.seat, columns, rows);
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.program, signal).expect("it is ours and has not ended");
    }

    pub fn id(&self) -> Pid {
        self.program
    }

    /// How long ago the shell became the program.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until the program is stopped, and the shell has the terminal.
    #[track_caller]
    pub fn stopped(&mut self) {
        assert_eq!(self.status(), STOPPED, "{}", text(self.terminal.screen()));
    }

    /// Gives the terminal to the stopped program and lets it go on, as the shell's `fg` does.
    pub fn go_on(&mut self) {
        self.reports.get_mut().write_all(b"fg\n").expect("the shell listens");
    }

    /// Waits for the end of the program. Its status as a shell tells it: 128 and more for a signal.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        let status = self.status();
        assert_ne!(status, STOPPED, "{}", text(self.terminal.screen()));
        status
    }

    /// What of the terminal is not as it was before the program began. None: it was left as found.
    pub fn left_behind(&mut self) -> Vec<&'static str> {
        self.take_what_came();
        let screen = self.terminal.screen();
        let states = [
            (screen.alternate_screen(), "the alternate screen"),
            (screen.hide_cursor(), "a hidden cursor"),
            (screen.bracketed_paste(), "bracketed paste"),
            (screen.mouse_protocol_mode() != MouseProtocolMode::None, "the mouse"),
            (screen.bold() || screen.inverse(), "attributes"),
            (settings(&self.seat) != self.found, "settings"),
        ];
        states.into_iter().filter_map(|(is_left, what)| is_left.then_some(what)).collect()
    }

    /// The next status, when all that the program wrote before has come.
    #[track_caller]
    fn status(&mut self) -> i32 {
        let Some(status) = number(&mut self.reports) else {
            panic!("it neither stops nor ends:\n{}", self.screen());
        };
        self.take_what_came();
        // What is typed meanwhile may be echoed behind it.
        let at = loop {
            if let Some(at) = self.raw.windows(MARK.len()).position(|bytes| bytes == MARK) {
                break at;
            }
            let bytes = self.output.recv_timeout(PATIENCE).expect("the shell writes its mark");
            self.take(&bytes);
        };
        self.raw.drain(at..at + MARK.len());
        status
    }

    fn take_what_came(&mut self) {
        while let Ok(bytes) = self.output.try_recv() {
            self.take(&bytes);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.terminal.process(bytes);
        self.raw.extend(bytes);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.pace.store(0, Ordering::Relaxed);
        // It may have ended already. The shell sees to it, finds that nobody is there any more, and ends as well.
        let _gone = kill_process_group(self.program, Signal::KILL);
        let _gone = self.reports.get_ref().shutdown(Shutdown::Both);
        if wait::within(PATIENCE, || self.shell.try_wait().ok().flatten()).is_none() {
            let _gone = self.shell.kill();
        }
    }
}

/// The program gets the terminal as its own, as it does from a shell or over SSH.
fn start(
    seat: &OwnedFd,
    reports: OwnedFd,
    (program, arguments): (&Path, &[&str]),
    environment: &[(&str, OsString)],
) -> Child {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let line = ioctl_tiocgptpeer(seat, flags).expect("the other side is there");
    Command::new("setsid")
        .args(["--ctty", "--", "/bin/sh", "-c", SHELL, "sh"])
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(line.try_clone().expect("there are descriptors"))
        .stdout(line)
        .stderr(reports)
        .spawn()
        .expect("setsid is there")
}

/// The next line that is a number: shells say other things too. `None` when they say no more.
fn number(reports: &mut BufReader<UnixStream>) -> Option<i32> {
    let mut lines = reports.lines().map_while(Result::ok);
    lines.find_map(|line| line.parse().ok())
}

/// Reads until the terminal hangs up, or nobody listens.
fn read(mut seat: File, pace: &AtomicUsize, tell: &Sender<Vec<u8>>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let most = match pace.load(Ordering::Relaxed) {
            0 => buffer.len(),
            slow => {
                wait::pass(SLOW_READ);
                (slow / SLOW_READS_PER_SECOND).clamp(1, buffer.len())
            }
        };
        match seat.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => return,
            Ok(count) if tell.send(buffer[..count].to_vec()).is_err() => return,
            Ok(_) => {}
        }
    }
}

fn text(screen: &Screen) -> String {
    let (_, columns) = screen.size();
    let rows = screen.rows(0, columns.get()).map(|row| row.trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

fn side(length: u16) -> NonZero<u16> {
    NonZero::new(length).expect("a screen has rows and columns")
}

fn set_size(seat: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(seat, size).expect("it is a terminal");
}

/// On Linux either side tells those of the line.
fn settings(seat: impl AsFd) -> String {
    format!("{:?}", tcgetattr(seat).expect("it is a terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Console {
        Console::open(Path::new("/bin/sh"), &["-c", script], &[], (20, 4))
    }

    #[test]
    fn keys_go_in_and_the_screen_comes_out() {
        let mut console = Console::open(Path::new("/bin/cat"), &[], &[], (20, 4));
        console.keys("hello\r");
        console.shows(|text| text == "hello\nhello\n\n", "what was typed, and what cat says");
        assert_eq!(console.raw(), b"hello\r\nhello\r\n");
        assert_eq!(console.cursor(), Some((2, 0)));
        console.keys("\x04");
        assert_eq!(console.ended(), 0);
        assert_eq!(console.left_behind(), [""; 0]);
        assert_eq!(console.raw(), b"hello\r\nhello\r\n");
    }

    #[test]
    fn the_terminal_is_the_programs_own_and_its_environment_bare() {
        let mut console = Console::open(
            Path::new("/bin/sh"),
            &["-c", "stty size </dev/tty; env | grep -c .; echo $WISH >&2; exit 7"],
            &[("WISH", "granted".into())],
            (33, 9),
        );
        assert_eq!(console.ended(), 7);
        let screen = console.screen();
        let lines: Vec<&str> = screen.lines().collect();
        assert_eq!((lines[0], lines[2]), ("9 33", "granted"), "{screen}");
        assert!(lines[1].parse::<u32>().is_ok_and(|count| count < 10), "{screen}");
    }

    #[test]
    fn signals_and_sizes_reach_the_program() {
        let mut console = shell(
            "trap 'stty size' WINCH; trap 'echo bye; exit 3' TERM; echo ready; \
             while :; do read a; done",
        );
        console.shows(|text| text.starts_with("ready"), "that it is ready");
        console.resize(50, 7);
        console.keys("\r");
        console.shows(|text| text.contains("7 50"), "the new size");
        console.signal(Signal::TERM);
        console.keys("\r");
        assert_eq!(console.ended(), 3);
        assert!(console.screen().contains("bye"), "{}", console.screen());
    }

    #[test]
    fn a_program_stops_and_goes_on() {
        let mut console = shell("echo begun; kill -STOP $$; echo goes on; read a; exit 4");
        console.stopped();
        assert_eq!(console.raw(), b"begun\r\n");
        console.go_on();
        console.shows(|text| text.contains("goes on"), "that it goes on");
        console.keys("\r");
        assert_eq!(console.ended(), 4);
    }

    #[test]
    fn what_a_program_leaves_behind_is_seen() {
        let sequences = r"\033[?1049h\033[?25l\033[?2004h\033[?1000h\033[1m";
        let mut console = shell(&format!("printf '{sequences}'; stty raw"));
        assert_eq!(console.ended(), 0);
        let left = [
            "the alternate screen",
            "a hidden cursor",
            "bracketed paste",
            "the mouse",
            "attributes",
            "settings",
        ];
        assert_eq!(console.left_behind(), left);
    }

    #[test]
    fn a_slow_reader_holds_the_program_up() {
        let mut console = shell("read a; head -c 60000 /dev/zero | tr '\\0' x; echo; echo done");
        console.read_slowly(400_000);
        // The read that is under way still takes all.
        console.keys("\r");
        assert_eq!(console.ended(), 0);
        assert!(console.screen().contains("done"), "{}", console.screen());
        assert!(console.raw_bytes() > 60_000);
        assert_eq!(console.bytes_within(Duration::from_millis(1)), 0);
    }

    #[test]
    fn a_program_that_is_let_go_is_killed() {
        let mut console = shell("trap '' TERM HUP INT; echo ready; while :; do read a; done");
        console.shows(|text| text.starts_with("ready"), "that it is ready");
        let id = console.id();
        drop(console);
        assert!(rustix::process::test_kill_process(id).is_err());
    }
}
