//! A service in the outside that scripts call: it keeps what it was asked, and answers when the test lets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::wait::PATIENCE;

/// The service, on an address of this machine.
pub struct Outside {
    pub address: SocketAddr,
    asked: Receiver<Asked>,
}

/// One request that it was asked, on a connection that waits for its answer.
pub struct Asked {
    /// The request's line.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    stream: TcpStream,
}

impl Outside {
    /// Its thread ends with the test.
    pub fn new() -> Outside {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (tell, asked) = mpsc::channel();
        thread::spawn(move || serve(&listener, &tell));
        Outside { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request.
    #[track_caller]
    pub fn asked(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("somebody calls")
    }

    /// Whether nobody has called since.
    pub fn is_quiet(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self::new()
    }
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Answers with a 200.
    pub fn answer(mut self, body: &str) {
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        // Whoever called may be dead by now.
        let _gone = self.stream.write_all(format!("{head}{body}").as_bytes());
    }
}

fn serve(listener: &TcpListener, tell: &Sender<Asked>) {
    for stream in listener.incoming().flatten() {
        let Some(asked) = read(stream) else { continue };
        if tell.send(asked).is_err() {
            return;
        }
    }
}

fn read(stream: TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut text = String::new();
    reader.read_line(&mut text).ok()?;
    let line = text.trim_end().to_owned();
    let mut headers = Vec::new();
    loop {
        text.clear();
        reader.read_line(&mut text).ok()?;
        let Some((name, value)) = text.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: u64 = length.map_or(Some(0), |(_, length)| length.parse().ok())?;
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    Some(Asked { line, headers, body, stream })
}
