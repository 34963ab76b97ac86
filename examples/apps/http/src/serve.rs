//! Listening, and ending well.
//!
//! *Flow*: one thread accepts, one thread per connection answers, the main thread watches the clock
//! and the signal flag. After SIGTERM the listener goes on for the drain period (so that whoever
//! still has this address is served), then closes; what was accepted by then is answered. Answers
//! given while draining close their connection. *Caveat*: a connection that stays idle after an
//! answer is not waited for.

use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::{answer, request, signal};

/// How often the main thread looks at the clock and the flag.
const TICK: Duration = Duration::from_millis(10);
/// How long requests in flight may take after the drain period.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// A peer that sends or takes nothing for this long is dropped.
const IDLE: Duration = Duration::from_secs(30);
/// The first request of a connection must come within this time, for the end waits for it.
const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// More connections than this are closed at once.
const MAX_CONNECTIONS: usize = 1024;

#[derive(Default)]
struct Shared {
    draining: AtomicBool,
    closed: AtomicBool,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Serves until SIGTERM, SIGINT or the time of `--crash-after`; returns the exit code.
pub(crate) fn run_until_terminated(options: &Options) -> io::Result<u8> {
    let started = Instant::now();
    signal::watch();
    while started.elapsed() < options.start_after {
        if let Some(code) = is_over(options, started) {
            return Ok(code);
        }
        std::thread::sleep(TICK);
    }
    if options.crash_after == Some(Duration::ZERO) {
        return Ok(options.exit);
    }
    let listener = TcpListener::bind((options.host.as_str(), options.port))?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");

    let shared = Arc::new(Shared::default());
    let accepting = {
        let (shared, options) = (Arc::clone(&shared), options.clone());
        std::thread::spawn(move || accept(&listener, &shared, &options, started))
    };
    let code = loop {
        if let Some(code) = is_over(options, started) {
            break code;
        }
        std::thread::sleep(TICK);
    };
    if code != 0 {
        println!("crashing with {code}, as asked");
        return Ok(code);
    }
    println!("terminated: draining");
    shared.draining.store(true, Ordering::SeqCst);
    std::thread::sleep(options.drain);
    shared.closed.store(true, Ordering::SeqCst);
    // Wakes the accepting thread; when it fails, nobody is listening any more, which is what is
    // wanted.
    drop(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
    if accepting.join().is_err() {
        return Err(io::Error::other("the accepting thread failed"));
    }
    let last = Instant::now();
    while shared.in_flight.load(Ordering::SeqCst) > 0 && last.elapsed() < LAST_ANSWERS {
        std::thread::sleep(TICK);
    }
    println!("done");
    Ok(0)
}

/// The exit code, once it is time.
fn is_over(options: &Options, started: Instant) -> Option<u8> {
    if options
        .crash_after
        .is_some_and(|after| started.elapsed() >= after)
    {
        return Some(options.exit);
    }
    (signal::is_terminated() && !options.ignore_term).then_some(0)
}

/// Accepts until closed, and then what was already waiting to be accepted.
fn accept(listener: &TcpListener, shared: &Arc<Shared>, options: &Options, started: Instant) {
    loop {
        if shared.closed.load(Ordering::SeqCst) && listener.set_nonblocking(true).is_err() {
            return;
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if shared.closed.load(Ordering::SeqCst) => return,
            Err(_) => continue,
        };
        if shared.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        // From here on the connection counts as in flight: a peer that got through is waited for.
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let (shared, options) = (Arc::clone(shared), options.clone());
        std::thread::spawn(move || {
            // A peer that goes away in the middle is its own affair.
            drop(converse(&stream, &shared, &options, started));
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Answers what comes over one connection, which counts as in flight until its first answer and
/// again during each later one.
fn converse(
    stream: &TcpStream,
    shared: &Shared,
    options: &Options,
    started: Instant,
) -> io::Result<()> {
    let first = converse_once(stream, shared, options, started, FIRST_REQUEST);
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    let Some(mut reader) = first? else {
        return Ok(());
    };
    stream.set_read_timeout(Some(IDLE))?;
    while let Some(request) = request::read(&mut reader)? {
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let written = reply(stream, shared, options, &request, started);
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !written? {
            break;
        }
    }
    Ok(())
}

/// The first request of a connection; returns the reader if the connection stays open.
fn converse_once<'s>(
    stream: &'s TcpStream,
    shared: &Shared,
    options: &Options,
    started: Instant,
    patience: Duration,
) -> io::Result<Option<BufReader<&'s TcpStream>>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let Some(request) = request::read(&mut reader)? else {
        return Ok(None);
    };
    Ok(reply(stream, shared, options, &request, started)?.then_some(reader))
}

/// Answers one request and says whether the connection stays open.
fn reply(
    mut stream: &TcpStream,
    shared: &Shared,
    options: &Options,
    request: &request::Request,
    started: Instant,
) -> io::Result<bool> {
    std::thread::sleep(options.slow);
    let answer = answer::answer(options, request, started.elapsed());
    let keep_alive = request.keep_alive && !shared.draining.load(Ordering::SeqCst);
    stream.write_all(&answer.encode(keep_alive, request.method == "HEAD"))?;
    Ok(keep_alive)
}
