//! The base lines. Those that are programs run as this program with a hidden first argument, so that their
//! processor time is their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use picloud_tests::measure::load::{self, Address, Load, Pace, Request, Until};
use picloud_tests::measure::process::Process;

use crate::shim::{Disk, Shim};

pub const SERVE: &str = "serve-constant";
pub const SYNC_LOOP: &str = "sync-loop";

/// Connections of every load that a case does not say otherwise of.
pub const CONNECTIONS: u32 = 64;

/// Runs until its standard input ends.
pub fn serve_constant() -> Result<()> {
    std::thread::spawn(|| {
        // Whoever started this has ended, or no longer wants it.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let answer = || async { ([(CONTENT_TYPE, "application/json")], r#"{"hello":"world"}"#) };
        let app = axum::Router::new().route("/hello", get(answer));
        axum::serve(listener, app).await.context("the server ended")
    })
}

/// Prints how many writes of 4 KiB with fdatasync a file takes in a second.
pub fn sync_loop(arguments: &[String]) -> Result<()> {
    let [folder, millis] = arguments else { anyhow::bail!("{SYNC_LOOP} FOLDER MILLISECONDS") };
    let time = Duration::from_millis(millis.parse()?);
    let path = PathBuf::from(folder).join("sync_loop.bin");
    let mut file = File::create(&path)?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    println!("{}", f64::from(count) / started.elapsed().as_secs_f64());
    Ok(fs::remove_file(&path)?)
}

/// Bare axum: answers a second, and microseconds of processor time an answer.
pub fn axum(time: Duration) -> Result<(f64, f64)> {
    with_axum(|address, process| {
        let (load, request) = (load_on(address, Until::Passed(time)), Request::get("/hello"));
        let before = process.cpu()?;
        let answers = load::run(&load, &request)?.all(200)?;
        let spent = process.cpu()?.saturating_sub(before);
        Ok((answers.per_second(), spent.as_secs_f64() * 1e6 / answers.count() as f64))
    })
}

/// Runs bare axum, warmed up, for as long as `use_it` takes.
pub fn with_axum<T>(use_it: impl FnOnce(SocketAddr, Process) -> Result<T>) -> Result<T> {
    let mut server = own(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let process = Process(server.id());
    let used = read_line(&mut server).and_then(|line| {
        let address: SocketAddr = line.parse()?;
        load::run(&load_on(address, Until::Sent(2_000)), &Request::get("/hello"))?.all(200)?;
        use_it(address, process)
    });
    drop(server.stdin.take());
    server.wait()?;
    used
}

fn load_on(address: SocketAddr, until: Until) -> Load {
    let (address, pace) = (Address::Tcp(address), Pace::Unpaced);
    Load { address, connections: CONNECTIONS, pace, until, first_number: 0 }
}

/// Writes with fdatasync a second.
pub fn fdatasync(folder: &Path, time: Duration, shim: &Shim, disk: Disk) -> Result<f64> {
    let mut command = own(SYNC_LOOP);
    command.arg(folder).arg(time.as_millis().to_string()).stdout(Stdio::piped());
    shim.apply(disk, &mut command)?;
    let mut child = command.spawn()?;
    let line = read_line(&mut child);
    child.wait()?;
    Ok(line?.parse()?)
}

/// This program with another task.
fn own(task: &str) -> Command {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(program);
    command.arg(task);
    command
}

fn read_line(child: &mut Child) -> Result<String> {
    let output = child.stdout.take().context("the output is read once")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
