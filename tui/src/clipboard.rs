//! The user's clipboard, which is where the terminal is: reached with an escape sequence, inside tmux through tmux.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Bytes of an encoded text: some terminals drop a longer sequence.
pub const ENCODED_BYTES_MAX: usize = 74_000;

/// The way that a text went. No terminal confirms it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Osc52,
    Tmux,
}

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("a text of {bytes} bytes is too long for the clipboard of a terminal")]
    TooLong { bytes: usize },
    #[error("the terminal does not take it")]
    Terminal(#[source] io::Error),
}

const TMUX_TIME_MAX: Duration = Duration::from_secs(2);

/// Sends a text to the clipboard: through tmux inside of it (`tmux` is the value of `$TMUX`), else, and should tmux not
/// take it, over `terminal`.
pub async fn send(
    text: &str,
    tmux: Option<&OsStr>,
    terminal: &mut impl Write,
) -> Result<Sent, CopyError> {
    let is_in_tmux = tmux.is_some_and(|socket| !socket.is_empty());
    if is_in_tmux && load_buffer(Command::new("tmux"), text).await.is_ok() {
        return Ok(Sent::Tmux);
    }
    let sequence = osc52(text).ok_or(CopyError::TooLong { bytes: text.len() })?;
    terminal.write_all(&sequence).and_then(|()| terminal.flush()).map_err(CopyError::Terminal)?;
    Ok(Sent::Osc52)
}

/// The sequence that puts a text on the clipboard; `None` for one that is too long.
pub fn osc52(text: &str) -> Option<Vec<u8>> {
    let encoded = BASE64_STANDARD.encode(text);
    (encoded.len() <= ENCODED_BYTES_MAX).then(|| format!("\x1b]52;c;{encoded}\x1b\\").into_bytes())
}

/// Gives a text to tmux, which by default swallows the sequence of a program inside of it but sends its own.
async fn load_buffer(mut program: Command, text: &str) -> io::Result<()> {
    let mut tmux = program
        .args(["load-buffer", "-w", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = tmux.stdin.take().expect("its input was asked for");
    let taken = async {
        input.write_all(text.as_bytes()).await?;
        drop(input);
        tmux.wait().await
    };
    let status = tokio::time::timeout(TMUX_TIME_MAX, taken)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("tmux: {status}"))) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_text_is_encoded_and_ends_as_the_standard_says() {
        assert_eq!(osc52("01J9ZK\n"), Some(b"\x1b]52;c;MDFKOVpLCg==\x1b\\".to_vec()));
        assert_eq!(osc52(""), Some(b"\x1b]52;c;\x1b\\".to_vec()));
        assert!(!osc52("\x1b]\x07").expect("it is short")[1..].contains(&b'\x07'));
    }

    #[test]
    fn a_text_that_terminals_drop_is_not_sent() {
        let longest = ENCODED_BYTES_MAX / 4 * 3;
        assert_eq!(osc52(&"x".repeat(longest)).map(|it| it.len()), Some(ENCODED_BYTES_MAX + 9));
        assert_eq!(osc52(&"x".repeat(longest + 1)), None);
    }

    #[tokio::test]
    async fn outside_of_tmux_the_terminal_gets_it() {
        for tmux in [None, Some(OsStr::new(""))] {
            let mut terminal = Vec::new();
            let sent = send("a3", tmux, &mut terminal).await;
            assert_eq!(sent.expect("it is short"), Sent::Osc52);
            assert_eq!(terminal, b"\x1b]52;c;YTM=\x1b\\");
        }
        let sent = send(&"x".repeat(60_000), None, &mut io::sink()).await;
        assert_eq!(
            sent.expect_err("it is too long").to_string(),
            "a text of 60000 bytes is too long for the clipboard of a terminal"
        );
    }

    /// A script in place of tmux, with the folder that it works in.
    fn tmux(folder: &tempfile::TempDir, script: &str) -> Command {
        let mut tmux = Command::new("/bin/sh");
        tmux.args(["-c", script, "tmux"]).current_dir(folder.path());
        tmux
    }

    #[tokio::test]
    async fn tmux_is_given_the_text_as_it_is() {
        let folder = tempfile::tempdir().expect("there is room");
        let text = "it's\n\x1b 水 ".repeat(10_000);
        let tmux = tmux(&folder, "echo \"$@\" >arguments; cat >text");
        load_buffer(tmux, &text).await.expect("it takes all");
        let read = |name| fs::read_to_string(folder.path().join(name)).expect("it was written");
        assert_eq!(read("arguments"), "load-buffer -w -\n");
        assert_eq!(read("text"), text);
    }

    #[tokio::test]
    async fn a_tmux_that_will_not_is_no_success() {
        let folder = tempfile::tempdir().expect("there is room");
        assert!(load_buffer(tmux(&folder, "exit 1"), "").await.is_err());
        assert!(load_buffer(tmux(&folder, "exit 0"), &"x".repeat(1 << 20)).await.is_err());
        assert!(load_buffer(Command::new("/nowhere/tmux"), "x").await.is_err());
    }
}
