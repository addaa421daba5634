//! A tour as a document: what stands in its blocks is played against a real daemon, and compared with what stands there.
//!
//! A `console` block has commands after `$` with what they printed. A block with a file's name behind its language is
//! that file, as it is to be written at that point. Prose and other blocks are left alone.

use std::collections::HashMap;

/// A piece of the document, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Lines that are kept as they are.
    Prose(String),
    File {
        path: String,
        text: String,
    },
    /// A command with what it prints.
    Command {
        command: String,
        printed: String,
    },
}

/// Takes a document apart.
pub fn pieces(document: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut block: Option<String> = None;
    for line in document.lines() {
        let fence = line.strip_prefix("```");
        match (&block, fence) {
            (None, Some(mark)) => {
                block = Some(mark.to_owned());
                if let Some((_, path)) = mark.split_once(' ') {
                    let (path, text) = (path.to_owned(), String::new());
                    prose(&mut pieces, line);
                    pieces.push(Piece::File { path, text });
                    continue;
                }
            }
            (Some(_), Some(_)) => block = None,
            (Some(mark), None) if mark.contains(' ') => {
                if let Some(Piece::File { text, .. }) = pieces.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
                continue;
            }
            (Some(mark), None) if mark == "console" => {
                match (line.strip_prefix("$ "), pieces.last_mut()) {
                    (Some(command), _) => {
                        let (command, printed) = (command.to_owned(), String::new());
                        pieces.push(Piece::Command { command, printed });
                    }
                    (None, Some(Piece::Command { printed, .. })) => {
                        printed.push_str(line);
                        printed.push('\n');
                    }
                    (None, _) => prose(&mut pieces, line),
                }
                continue;
            }
            (Some(_) | None, None) => {}
        }
        prose(&mut pieces, line);
    }
    pieces
}

fn prose(pieces: &mut Vec<Piece>, line: &str) {
    match pieces.last_mut() {
        Some(Piece::Prose(text)) => text.push_str(&format!("{line}\n")),
        _ => pieces.push(Piece::Prose(format!("{line}\n"))),
    }
}

/// Puts a document together again.
pub fn document(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Prose(prose) => text.push_str(prose),
            Piece::File { text: file, .. } => text.push_str(file),
            Piece::Command { command, printed } => {
                text.push_str(&format!("$ {command}\n{printed}"));
            }
        }
    }
    text
}

/// A word of what was printed, with what is another one each time masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Same(String),
    /// `now`, `3 s ago`, `in 4 m`
    When,
    /// `370 us`, `1.2 ms`, `0.51 s`
    Took,
}

/// The words of a text without what is another one each time. How wide columns are depends on that.
pub fn masked(text: &str, user: &str) -> Vec<Word> {
    let parts: Vec<String> = text.split_whitespace().map(|word| without_ids(word, user)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < parts.len() {
        let (word, taken) = match parts[at..] {
            ["now", ..] => (Word::When, 1),
            [number, unit, "ago", ..] if is_amount(number, unit) => (Word::When, 3),
            ["in", number, unit, ..] if is_amount(number, unit) => (Word::When, 3),
            [number, unit, ..] if is_amount(number, unit) => (Word::Took, 2),
            [word, ..] => (Word::Same(word.to_owned()), 1),
            [] => break,
        };
        words.push(word);
        at += taken;
    }
    words
}

fn is_amount(number: &str, unit: &str) -> bool {
    let unit = unit.trim_end_matches(',');
    number.parse::<f64>().is_ok() && ["us", "ms", "s", "m", "h", "d"].contains(&unit)
}

/// A word in which ids, times and who it was are masked.
fn without_ids(word: &str, user: &str) -> String {
    let mut masked = word.to_owned();
    for id in ids(word) {
        masked = masked.replace(&id, "ID");
    }
    let is_time = |run: &&str| run.len() == 13 && run.bytes().all(|byte| byte.is_ascii_digit());
    for time in runs(word).into_iter().filter(is_time) {
        masked = masked.replace(time, "TIME");
    }
    if masked == user { "root".to_owned() } else { masked }
}

/// Longest parts of letters and digits.
fn runs(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty()).collect()
}

/// The ids in a text, in their order.
pub fn ids(text: &str) -> Vec<String> {
    let is_digit =
        |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte));
    let is_id = |run: &&str| run.len() == 26 && run.starts_with('0') && run.bytes().all(is_digit);
    runs(text).into_iter().filter(is_id).map(str::to_owned).collect()
}

/// The text with other ids, where others are known for them.
pub fn with_ids(text: &str, known: &HashMap<String, String>) -> String {
    let mut replaced = text.to_owned();
    for id in ids(text) {
        if let Some(other) = known.get(&id) {
            replaced = replaced.replace(&id, other);
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_taken_apart_and_put_together() {
        let text = "# A\n```sh\n$ not played\n```\n```toml a/b.toml\nx = 1\n```\n```console\n$ one\n1\n2\n$ two\n```\nend\n";
        let taken = pieces(text);
        let command = |command: &str, printed: &str| Piece::Command {
            command: command.to_owned(),
            printed: printed.to_owned(),
        };
        let file = Piece::File { path: "a/b.toml".to_owned(), text: "x = 1\n".to_owned() };
        assert_eq!(taken[1..2], [file]);
        assert_eq!(taken[3..5], [command("one", "1\n2\n"), command("two", "")]);
        assert_eq!(document(&taken), text);
    }

    #[test]
    fn what_is_another_one_each_time_is_masked_and_nothing_else() {
        let one = "WHEN     ID\n3 s ago  01M87CG4B1E2B8WR7DQ1STY001 {\"at\":1795544321917}\ntook 370 us, after 1.2 ms anna\n";
        let other = "WHEN ID\nnow 01M87CG4B1E2B8WR7DQ1STY002 {\"at\":1795544321918}\ntook 2 s, after 5 us bert\n";
        assert_eq!(masked(one, "anna"), masked(other, "bert"));
        assert_ne!(masked("3 rows", ""), masked("4 rows", ""));
        assert_eq!(ids(one), ["01M87CG4B1E2B8WR7DQ1STY001"]);
    }
}
