//! The example server as a real process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    address: String,
    dir: std::path::PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn start(name: &str, args: &[&str]) -> Server {
    let dir = std::env::temp_dir().join(format!("example-http-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_example-http"))
        .args(["--host", "127.0.0.1", "--port", "0"])
        .args(args)
        .current_dir(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .to_owned();
    Server {
        child,
        address,
        dir,
    }
}

impl Server {
    fn send(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        self.send(path).read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(&self) {
        assert!(
            Command::new("kill")
                .args(["-TERM", &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running");
            std::thread::yield_now();
        }
    }
}

#[test]
fn it_serves_its_text_and_its_pid() {
    let server = start("text", &["--text", "v1"]);
    assert!(server.get("/").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(server.get("/").ends_with("\r\n\r\nv1\n"));
    assert!(
        server
            .get("/pid")
            .ends_with(&format!("\r\n\r\n{}\n", server.child.id()))
    );
    assert!(server.get("/nothing").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_file_named_unhealthy_makes_it_unhealthy_and_its_removal_healthy_again() {
    let server = start("unhealthy", &[]);
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    std::fs::write(server.dir.join("unhealthy"), "").unwrap();
    assert!(server.get("/health").starts_with("HTTP/1.1 503"));
    std::fs::remove_file(server.dir.join("unhealthy")).unwrap();
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_request_in_flight_is_answered_after_sigterm_and_the_exit_is_clean() {
    let mut server = start("in-flight", &["--slow", "300ms", "--drain", "100ms"]);
    let mut stream = server.send("/");
    // The answer takes longer than the drain period, so it is finished after the listener has
    // closed.
    server.terminate();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    assert_eq!(server.exit_code(), Some(0));
    if TcpStream::connect(&server.address).is_ok() {
        panic!("still listening after the end");
    }
}

#[test]
fn it_crashes_with_the_code_that_was_asked_for() {
    let mut server = start("crash", &["--crash-after", "50ms", "--exit", "42"]);
    assert_eq!(server.exit_code(), Some(42));
}
