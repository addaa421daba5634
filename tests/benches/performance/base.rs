//! The base lines: this program with a hidden first argument, so that their processor time is their own and they can be
//! limited like the daemon.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use picloud_daemon::store::bench::bare_rows_per_second;
use picloud_tests::appliance::limits::Limits;
use picloud_tests::measure::load::{self, Address, Load, Pace, Request, Until};
use picloud_tests::measure::process::Process;

use crate::ground::{Ground, block_on};
use crate::shim::Disk;

pub const SERVE: &str = "serve-constant";
pub const SYNC_LOOP: &str = "sync-loop";
pub const SQLITE_LOOP: &str = "sqlite-loop";

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
    let (folder, time) = folder_and_time(arguments)?;
    let path = folder.join("sync_loop.bin");
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

/// Prints how many rows SQLite alone takes, claims and deletes in a second.
pub fn sqlite_loop(arguments: &[String]) -> Result<()> {
    let (folder, time) = folder_and_time(arguments)?;
    println!("{}", block_on(bare_rows_per_second(&folder, time))??);
    Ok(())
}

fn folder_and_time(arguments: &[String]) -> Result<(PathBuf, Duration)> {
    let [folder, millis] = arguments else { anyhow::bail!("wanted are FOLDER MILLISECONDS") };
    Ok((PathBuf::from(folder), Duration::from_millis(millis.parse()?)))
}

/// Bare axum: answers a second, and microseconds of processor time an answer.
pub fn axum(limits: &Limits, time: Duration) -> Result<(f64, f64)> {
    with_axum(limits, |address, process| {
        let (load, request) = (load_on(address, Until::Passed(time)), Request::get("/hello"));
        let before = process.cpu()?;
        let answers = load::run(&load, &request)?.all(200)?;
        let spent = process.cpu()?.saturating_sub(before);
        Ok((answers.per_second(), spent.as_secs_f64() * 1e6 / answers.count() as f64))
    })
}

/// Runs bare axum, warmed up, for as long as `use_it` takes.
pub fn with_axum<T>(
    limits: &Limits,
    use_it: impl FnOnce(SocketAddr, Process) -> Result<T>,
) -> Result<T> {
    let mut server = own(limits, SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
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
pub fn fdatasync(ground: &Ground, disk: Disk) -> Result<f64> {
    let mut command = own(&ground.limits, SYNC_LOOP);
    ground.shim.apply(disk, &mut command)?;
    looped(ground, command)
}

/// Rows a second that SQLite alone takes, claims and deletes.
pub fn sqlite(ground: &Ground) -> Result<f64> {
    looped(ground, own(&ground.limits, SQLITE_LOOP))
}

fn looped(ground: &Ground, mut command: Command) -> Result<f64> {
    let millis = ground.options.time.as_millis().to_string();
    command.arg(&ground.folder).arg(millis).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let line = read_line(&mut child);
    child.wait()?;
    Ok(line?.parse()?)
}

/// This program with another task.
fn own(limits: &Limits, task: &str) -> Command {
    let program = std::env::current_exe().expect("a running program has a path");
    within(limits, program.as_os_str(), task)
}

/// A program that begins its life within limits.
pub fn within(limits: &Limits, program: &OsStr, argument: &str) -> Command {
    let mut words: Vec<OsString> = limits.enter().into_iter().map(OsString::from).collect();
    words.push(program.to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(argument);
    command
}

fn read_line(child: &mut Child) -> Result<String> {
    let output = child.stdout.take().context("the output is read once")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
