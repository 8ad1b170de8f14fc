//! One measurement: one contender under one load, from start to stop.

use std::{
    env,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use crate::{
    contender::{Contender, Site},
    identity::AUTHORITY,
    load::Load,
    meter::Meter,
    options::Options,
    process::{LOAD_CORE, Process, pinned},
    request,
    sample::Sample,
};

/// Starts the contender afresh, so that neither memory nor idle conns of an earlier load count,
/// and lets the generator loose on it.
///
/// # Errors
/// When the contender does not come up, refuses, or the generator gets no result.
pub(crate) fn measure(
    contender: Contender,
    load: Load,
    site: &Site,
    origin: u32,
    options: &Options,
) -> io::Result<Sample> {
    let running = contender.start(site)?;
    if running.process.is_some() {
        probe(contender, load, contender.port(site), running.address)?;
    }
    let start = running.begun.map(|begun| begun.elapsed());
    let family = running.process.as_ref().map(Process::family).transpose()?;
    let family = family.unwrap_or_default();

    let mut generator = pinned(LOAD_CORE, env::current_exe()?);
    generator.args(["generate", "--target", &running.address.to_string()]);
    generator.args(["--form", contender.form(load).name(), "--load", &load.name()]);
    generator.arg("--authority").arg(site.directory.join(AUTHORITY));
    generator.args(["--proxy-side", &join(&family), "--load-side", &origin.to_string()]);
    generator.args(["--seconds", &options.seconds.to_string()]);
    generator.args(["--warm-up", &options.warm_up.to_string()]);
    generator.args(["--port", &contender.port(site).to_string()]);
    generator.args(["--transfers", &options.transfers.to_string()]);
    let output = generator.stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(io::Error::other(complaint.trim().to_owned()));
    }
    if !complaint.is_empty() {
        eprintln!("{} {}: {}", contender.name(), load.name(), complaint.trim());
    }

    let mut sample = String::from_utf8_lossy(&output.stdout).parse::<Sample>()?;
    if let Some(start) = start {
        sample.set("start_ms", start.as_secs_f64() * 1e3);
    }
    let peaks = Meter::new(family).peaks();
    if let Some(last) = peaks.last() {
        // nginx's last process is its worker; the others have one process only.
        sample.set("memory_mib", mebibytes(peaks.iter().sum()));
        sample.set("memory_worker_mib", mebibytes(*last));
    }
    Ok(sample)
}

/// One request before the load, because a refusal says why and a count of refusals does not.
fn probe(contender: Contender, load: Load, port: u16, address: SocketAddr) -> io::Result<()> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    if load.is_tunnelled() {
        tcp.write_all(request::connect(port).as_bytes())?;
    } else {
        tcp.write_all(&contender.form(load).request(Load::KeepAlive(1), 0, port))?;
    }
    let mut answer = [0; 4096];
    let length = tcp.read(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer[..length]).replace(['\r', '\n'], " ");
    Err(io::Error::other(format!("refused the first request: {answer}")))
}

fn join(processes: &[u32]) -> String {
    processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process stays far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
