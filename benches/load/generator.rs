//! The load generator: a closed loop on each of its conns.
//!
//! It also reads the proxy's processor time, at the very moments at which it starts and stops
//! counting, so that the time and the requests belong to each other.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::LocalSet,
    time::{sleep, timeout},
};

use crate::{
    arguments::Arguments,
    board::{Board, percentile},
    load::{BULK, Load},
    meter::{self, Meter, Reading},
    origin::DOCUMENT,
    request::{self, CONNECTIONS, Form},
    sample::Sample,
    trust::Dialer,
    wire::{self, Next, Reader, Wire},
};

/// Puts the load on the proxy and prints what came of it.
///
/// # Errors
/// When the proxy does not answer on every conn in time.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<()> {
    let plan = Rc::new(Plan::new(arguments)?);
    let limit = plan.warm_up + plan.seconds + PATIENCE;
    let conns = LocalSet::new();
    let work = conns.run_until(async {
        if plan.load.is_bulk() { transfer(&plan).await } else { flood(&plan).await }
    });
    let sample = timeout(limit, work).await.map_err(|_elapsed| plan.stuck())??;
    print!("{sample}");
    Ok(())
}

/// What to do, and what was done.
struct Plan {
    board: Board,
    /// For whoever speaks TLS to the other end: to the origin itself, or inside a tunnel.
    dialer: Option<Dialer>,
    is_direct: bool,
    /// How many conns may be opening at a time: a thousand at once overflow a listener's queue,
    /// which costs a second and measures nothing.
    gate: Semaphore,
    load: Load,
    load_meter: Meter,
    /// The origin's port, as it is asked for.
    port: u16,
    proxy_meter: Meter,
    /// A request for every connection.
    requests: Vec<Vec<u8>>,
    seconds: Duration,
    target: SocketAddr,
    transfers: u32,
    warm_up: Duration,
}

impl Plan {
    fn new(arguments: &Arguments) -> io::Result<Self> {
        let target = arguments.value("target")?;
        let form = arguments.value::<Form>("form")?;
        let load = arguments.value::<Load>("load")?;
        let port = arguments.value("port")?;
        let authority = arguments.value::<String>("authority")?;
        let is_direct = form == Form::Direct;
        let authority = Path::new(&authority);
        let dialer = match load {
            _ if is_direct => Some(Dialer::new(target, authority)?),
            Load::Tunnel(_) | Load::TunnelChurn(_) => Some(Dialer::stranger(target, authority)?),
            _ => None,
        };
        let mut load_side = arguments.list("load-side")?;
        load_side.push(std::process::id());
        Ok(Self {
            board: Board::default(),
            dialer,
            is_direct,
            gate: Semaphore::new(64),
            load,
            load_meter: Meter::new(load_side),
            port,
            proxy_meter: Meter::new(arguments.list("proxy-side")?),
            requests: (0..CONNECTIONS).map(|number| form.request(load, number, port)).collect(),
            seconds: Duration::from_secs_f64(arguments.value("seconds")?),
            target,
            transfers: arguments.value("transfers")?,
            warm_up: Duration::from_secs_f64(arguments.value("warm-up")?),
        })
    }

    /// The next request. Every one names another connection than the one before.
    fn request(&self) -> &[u8] {
        &self.requests[self.board.turn(self.requests.len())]
    }

    fn read_meters(&self) -> Meters {
        Meters {
            load: self.load_meter.read(),
            machine: meter::machine(),
            proxy: self.proxy_meter.read(),
            time: Instant::now(),
        }
    }

    fn stuck(&self) -> io::Error {
        let (errors, rejected, first) = self.board.faults();
        let first = first.unwrap_or_else(|| "no answer at all".to_owned());
        let what =
            format!("no result in time; {errors} errors, {rejected} rejected, first: {first}");
        io::Error::new(io::ErrorKind::TimedOut, what)
    }
}

/// Many small requests, until the time is up.
async fn flood(plan: &Rc<Plan>) -> io::Result<Sample> {
    let ready = Rc::new(Semaphore::new(0));
    for _ in 0..plan.load.conns() {
        let (plan, ready) = (Rc::clone(plan), Rc::clone(&ready));
        drop(tokio::task::spawn_local(async move {
            work(&plan, &ready).await;
        }));
    }
    let conns = u32::try_from(plan.load.conns()).map_err(io::Error::other)?;
    // Every conn has had an answer, and then some time to settle.
    ready.acquire_many(conns).await.map_err(io::Error::other)?.forget();
    sleep(plan.warm_up).await;

    plan.board.record();
    let before = plan.read_meters();
    sleep(plan.seconds).await;
    Ok(score(plan, &before, 1000.0))
}

/// The life of one conn of a flood, with all its successors.
async fn work(plan: &Plan, ready: &Semaphore) {
    let mut fresh = true;
    loop {
        let done = if plan.load.is_churn() {
            visit(plan).await
        } else {
            stay(plan, ready, &mut fresh).await
        };
        if let Err(error) = done {
            plan.board.failed(&error);
            sleep(PAUSE).await;
        } else if fresh {
            fresh = false;
            ready.add_permits(1);
        }
    }
}

/// A conn for one request, which says so; the proxy closes it.
///
/// The other way round the generator would run out of ports: each stays taken for a while on the
/// side that closes first, and looking for a free one soon costs more than the request.
async fn visit(plan: &Plan) -> io::Result<()> {
    let start = Instant::now();
    let mut conn = Conn::open(plan).await?;
    let answer = conn.exchange(plan.request(), DOCUMENT).await?;
    plan.board.answered(answer.status, start.elapsed());
    match conn.wire.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(wire::malformed("bytes after the last answer")),
    }
}

/// A conn for as many requests as the proxy allows.
async fn stay(plan: &Plan, ready: &Semaphore, fresh: &mut bool) -> io::Result<()> {
    let permit = plan.gate.acquire().await.map_err(io::Error::other)?;
    let mut conn = Conn::open(plan).await?;
    drop(permit);
    loop {
        let start = Instant::now();
        let answer = conn.exchange(plan.request(), DOCUMENT).await?;
        plan.board.answered(answer.status, start.elapsed());
        if std::mem::take(fresh) {
            ready.add_permits(1);
        }
        if answer.next.close {
            return Ok(());
        }
    }
}

/// A few large bodies. The first one only warms up.
async fn transfer(plan: &Plan) -> io::Result<Sample> {
    let mut conn = Conn::open(plan).await?;
    carry(plan, &mut conn).await?;
    plan.board.record();
    let before = plan.read_meters();
    for _ in 0..plan.transfers {
        carry(plan, &mut conn).await?;
    }
    Ok(score(plan, &before, 1.0))
}

async fn carry(plan: &Plan, conn: &mut Conn) -> io::Result<()> {
    let start = Instant::now();
    let answer = match plan.load {
        Load::Upload => conn.upload(plan.request()).await?,
        _ => conn.exchange(plan.request(), BULK).await?,
    };
    plan.board.answered(answer.status, start.elapsed());
    Ok(())
}

/// All meters at one moment.
struct Meters {
    load: Reading,
    machine: Duration,
    proxy: Reading,
    time: Instant,
}

/// The result, with processor time per `unit` answers.
#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
fn score(plan: &Plan, before: &Meters, unit: f64) -> Sample {
    let after = plan.read_meters();
    let latencies = plan.board.finish();
    let (answers, elapsed) = (latencies.len() as f64, after.time - before.time);
    let (user, system) = after.proxy.since(&before.proxy);
    let (load_user, load_system) = after.load.since(&before.load);
    let load = load_user + load_system;
    let machine = after.machine.saturating_sub(before.machine);
    let others = machine.saturating_sub(user + system + load);
    let (errors, rejected, first) = plan.board.faults();
    if let Some(first) = first {
        eprintln!("{errors} errors, {rejected} rejected; first: {first}");
    }

    let each = |time: Duration| time.as_secs_f64() * 1000.0 / answers * unit;
    let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64();
    let mut sample = Sample::default();
    sample.set("answers", answers);
    sample.set("errors", errors as f64);
    sample.set("load_busy", share(load));
    sample.set("others_busy", share(others));
    sample.set("p50_ms", percentile(&latencies, 0.50));
    sample.set("p99_ms", percentile(&latencies, 0.99));
    sample.set("rejected", rejected as f64);
    sample.set("requests_per_second", answers / elapsed.as_secs_f64());
    if !plan.is_direct {
        sample.set("cpu_ms", each(user + system));
        sample.set("cpu_system_ms", each(system));
        sample.set("cpu_user_ms", each(user));
        sample.set("proxy_busy", share(user + system));
    }
    if plan.load.is_bulk() {
        sample.set("megabytes_per_second", answers * BULK as f64 / 1e6 / elapsed.as_secs_f64());
    }
    sample
}

/// A conn to the proxy, or to the origin itself.
struct Conn {
    reader: Reader,
    wire: Box<dyn Wire>,
}

async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(target).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Opens a tunnel. The other end says nothing after its answer until it is spoken to.
async fn tunnel(plan: &Plan) -> io::Result<TcpStream> {
    let mut tcp = dial(plan.target).await?;
    tcp.write_all(request::connect(plan.port).as_bytes()).await?;
    let answer = Reader::new(4096).head(&mut tcp, Answer::parse).await?;
    match answer.map(|answer| answer.status) {
        Some(200) => Ok(tcp),
        _ => Err(wire::malformed("no tunnel")),
    }
}

/// The head of a response.
#[derive(Clone, Copy)]
struct Answer {
    next: Next,
    status: u16,
}

impl Conn {
    async fn open(plan: &Plan) -> io::Result<Self> {
        let wire: Box<dyn Wire> = match &plan.dialer {
            Some(dialer) if plan.is_direct => Box::new(dialer.dial().await?),
            Some(dialer) => Box::new(dialer.shake(tunnel(plan).await?).await?),
            None => Box::new(dial(plan.target).await?),
        };
        let capacity = if plan.load.is_bulk() { PIECE.len() } else { 4096 };
        Ok(Self { reader: Reader::new(capacity), wire })
    }

    /// One request without a body, and its whole answer of `expected` bytes.
    async fn exchange(&mut self, request: &[u8], expected: u64) -> io::Result<Answer> {
        self.wire.write_all(request).await?;
        self.wire.flush().await?;
        let answer = self.answer().await?;
        let framing = answer.next.framing;
        let length = self.reader.body(&mut *self.wire, framing, |_| {}).await?;
        if answer.status == 200 && length != expected {
            return Err(wire::malformed("a body of another length than the origin sends"));
        }
        Ok(answer)
    }

    /// One request with a large body, and its answer, which says how much arrived.
    async fn upload(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.wire.write_all(request).await?;
        let mut left = BULK;
        while left > 0 {
            let piece = PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.wire.write_all(&PIECE[..piece]).await?;
            left -= piece as u64;
        }
        self.wire.flush().await?;
        let answer = self.answer().await?;
        let mut body = Vec::new();
        let keep = |piece: &[u8]| body.extend_from_slice(piece);
        self.reader.body(&mut *self.wire, answer.next.framing, keep).await?;
        if answer.status == 200 && body != format!(r#"{{"bytes":{BULK}}}"#).as_bytes() {
            return Err(wire::malformed("the origin got another number of bytes"));
        }
        Ok(answer)
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let answer = self.reader.head(&mut *self.wire, Answer::parse).await?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Answer {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let mut lines = wire::lines(head);
        let status = lines.next().unwrap_or_default().split(|byte| *byte == b' ').nth(1);
        let status = wire::number(status.unwrap_or_default())?;
        let mut next = Next::new();
        for (name, value) in lines.filter_map(wire::field) {
            next.note(name, value)?;
        }
        Ok(Self { next, status: u16::try_from(status).unwrap_or_default() })
    }
}

/// How much longer than planned a measurement may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// After an error, so that a proxy that refuses is not hammered.
const PAUSE: Duration = Duration::from_millis(5);

static PIECE: [u8; 256 * 1024] = [b'x'; 256 * 1024];
