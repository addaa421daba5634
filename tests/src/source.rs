//! The repository as text: its files, and Rust files with code, comments and literals apart.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether documents that show what is really there are to be written anew, instead of compared: `PICLOUD_WRITE_DOCS`.
#[allow(clippy::disallowed_methods, reason = "the configuration of the tests")]
pub fn documents_are_to_be_written() -> bool {
    std::env::var_os("PICLOUD_WRITE_DOCS").is_some()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("the tests are a folder of the workspace").to_owned()
}

/// A file of the repository, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of the repository, in the order of their paths.
pub fn rust_files() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    paths.sort();
    paths.into_iter().map(|path| Source::parse(&path, &read(&path))).collect()
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder was listed by its parent") {
        let path = entry.expect("the folder stays as it is while tests run").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, found);
        } else if name.ends_with(".rs") {
            let below = path.strip_prefix(root()).expect("the walk began at the root");
            found.push(below.display().to_string());
        }
    }
}

/// One Rust file. `code` and `comments` are the text with everything else blanked, so lines keep their numbers.
#[derive(Debug)]
pub struct Source {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
    pub code: String,
    pub comments: String,
    pub literals: Vec<Literal>,
}

/// A text literal as it is written, without quotes; escapes are not undone.
#[derive(Debug, PartialEq)]
pub struct Literal {
    pub line: usize,
    pub text: String,
}

/// A line of a file, from 1.
pub fn line_at(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Offsets at which `word` stands by itself.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !text[..*at].ends_with(part) && !text[at + word.len()..].starts_with(part)
    })
}

/// The identifier at the start of a text.
pub fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Source {
        let mut source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code: String::with_capacity(text.len()),
            comments: String::with_capacity(text.len()),
            literals: Vec::new(),
        };
        let mut rest = text;
        let mut line = 1;
        while !rest.is_empty() {
            let piece = Piece::first(rest);
            source.push(&piece, line);
            line += piece.text().matches('\n').count();
            rest = &rest[piece.text().len()..];
        }
        source
    }

    fn push(&mut self, piece: &Piece<'_>, line: usize) {
        let blank: String =
            piece.text().chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        let (code, comment) = match piece {
            Piece::Code(text) => (*text, blank.as_str()),
            Piece::Comment(text) => (blank.as_str(), *text),
            Piece::Text { content, .. } => {
                self.literals.push(Literal { line, text: (*content).to_owned() });
                (blank.as_str(), blank.as_str())
            }
        };
        self.code.push_str(code);
        self.comments.push_str(comment);
    }

    /// Whether an item of this name is declared here.
    pub fn declares(&self, name: &str) -> bool {
        ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod ", "macro_rules! "]
            .iter()
            .any(|keyword| {
                let parts = self.code.match_indices(keyword);
                parts
                    .into_iter()
                    .any(|(at, _)| identifier(&self.code[at + keyword.len()..]) == name)
            })
    }

    /// Names of the functions that are tests.
    pub fn tests(&self) -> Vec<&str> {
        let attributes = ["#[test]", "#[tokio::test"];
        let starts = attributes.iter().flat_map(|attribute| self.code.match_indices(attribute));
        let names = starts.filter_map(|(at, _)| {
            let after = &self.code[at..];
            after.find("fn ").map(|name| identifier(&after[name + "fn ".len()..]))
        });
        names.collect()
    }

    /// The code without the unit tests, which come last.
    pub fn code_before_tests(&self) -> &str {
        let begin_tests = ["mod", "pub(crate) mod", "pub(super) mod"]
            .map(|begin| self.code.find(&format!("#[cfg(test)]\n{begin} ")));
        let end = begin_tests.into_iter().flatten().min().unwrap_or(self.code.len());
        &self.code[..end]
    }

    pub fn lines_before_tests(&self) -> usize {
        self.code_before_tests().lines().count()
    }
}

enum Piece<'a> {
    Code(&'a str),
    Comment(&'a str),
    Text { whole: &'a str, content: &'a str },
}

impl<'a> Piece<'a> {
    fn text(&self) -> &'a str {
        match self {
            Piece::Code(text) | Piece::Comment(text) | Piece::Text { whole: text, .. } => text,
        }
    }

    /// The piece that a text, which begins outside of comments and literals, begins with.
    fn first(text: &'a str) -> Piece<'a> {
        if text.starts_with("//") {
            return Piece::Comment(&text[..text.find('\n').unwrap_or(text.len())]);
        }
        if text.starts_with("/*") {
            return Piece::Comment(&text[..block_comment_end(text)]);
        }
        if text.starts_with('"') {
            let end = quoted_end(text, '"');
            return Piece::Text { whole: &text[..end], content: &text[1..end - 1] };
        }
        if let Some((whole, content)) = raw_text(text) {
            return Piece::Text { whole, content };
        }
        if text.starts_with('\'') && is_character(text) {
            let end = quoted_end(text, '\'');
            return Piece::Text { whole: &text[..end], content: &text[1..end - 1] };
        }
        let name = identifier(text).len();
        Piece::Code(&text[..name.max(text.chars().next().map_or(0, char::len_utf8))])
    }
}

/// `r"..."`, `r#"..."#` and so on, with or without a `b` or `c` before: all of it, and what is between the quotes.
fn raw_text(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let content = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", &after[..hashes]);
    let length = content.find(&close).unwrap_or(content.len());
    let whole = (text.len() - content.len() + length + close.len()).min(text.len());
    Some((&text[..whole], &content[..length]))
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut rest = text[1..].chars();
    match rest.next() {
        Some('\\') => true,
        Some(_) => rest.next() == Some('\''),
        None => false,
    }
}

fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_texts_are_told_apart() {
        let source = Source::parse(
            "a.rs",
            "//! doc\nfn f<'a>(x: &'a str) { g(\"in \\\" text // no\", '\"', r#\"raw \" text\"#); } /* a /* b */ c */ fn h() {}\n",
        );
        let comments: Vec<&str> = source.comments.lines().map(str::trim).collect();
        assert_eq!(comments, ["//! doc", "/* a /* b */ c */"]);
        assert!(source.code.contains("fn f<'a>(x: &'a str) { g("), "{}", source.code);
        assert!(source.code.contains("fn h() {}"), "{}", source.code);
        assert!(!source.code.contains("text"), "{}", source.code);
        let texts: Vec<&str> = source.literals.iter().map(|literal| &*literal.text).collect();
        assert_eq!(texts, ["in \\\" text // no", "\"", "raw \" text"]);
        assert!(source.literals.iter().all(|literal| literal.line == 2));
        assert_eq!(source.code.len(), source.text.len());
    }

    #[test]
    fn what_a_file_declares_is_found_by_its_name() {
        let source = Source::parse(
            "a.rs",
            "struct Row; impl Row { fn end(&self) {} }\n// fn gone() {}\n#[test]\nfn p1_it_holds() {}\n",
        );
        assert!(source.declares("Row") && source.declares("end"));
        assert!(!source.declares("gone") && !source.declares("en"));
        assert_eq!(source.tests(), ["p1_it_holds"]);
    }

    #[test]
    fn unit_tests_do_not_count_as_length() {
        let source = Source::parse("a.rs", "fn f() {}\n\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines_before_tests(), 2);
    }
}
