//! `fail-over`: the leader of three members is killed; how long until the others have answered the
//! next change.
//!
//! Three `kelson kernel` processes on loopback, in plain, each with a log of its own on the same
//! disk. A change is asked of a member that goes on living, at the moment of the kill; it waits
//! there for the next leader. The killed member comes back before the next round. The reference, in
//! the same run: the same change while everybody lives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kelson_bench::{Bar, Histogram, Measure, Options, Plot, Report, Series, peak_memory};
use kelson_testkit::{Look, http, programs, wait_for};
use serde_json::{Value, json};

/// How long anything may take until this gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many members there are.
const MEMBERS: usize = 3;

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let rounds = options.pick(20, 5);
    let folder = tempfile::tempdir_in(options.scratch()?)?;
    let mut cluster = Cluster::raise(folder.path())?;
    let (mut calm, mut over) = (Series::default(), Series::default());
    for _ in 0..rounds {
        let leader = cluster.settle()?;
        let other = (leader + 1) % MEMBERS;
        for _ in 0..20 {
            calm.push(cluster.change(other)?);
        }
        cluster.kill(leader)?;
        over.push(cluster.change(other)?);
        cluster.run(leader)?;
    }
    cluster.settle()?;
    let peaks = cluster.members.iter().filter_map(Member::peak);
    let peak_memory = peaks.max();

    let reference = Measure::of("the same change, asked of a follower in peace", &calm);
    let what = format!(
        "{MEMBERS} members as processes on loopback, without agents or tasks; {rounds} times the leader is killed by SIGKILL, and a change is asked of a follower at once; peak memory is of one member"
    );
    let mut report = Report::new("fail-over", what, options);
    report.measures = vec![
        Measure::of("death of the leader to the next answered change", &over)
            .p50_at_most(1_000.0)
            .against(&reference),
    ];
    report.reference = vec![reference];
    report.peak_memory = peak_memory;
    report.note("what the goal is about besides (40,000 agents, 400,000 tasks, 200 seats) is not part of this workload yet");
    let bars: Vec<Bar> = report.measures.iter().map(Bar::from).collect();
    let title = format!("fail-over: {MEMBERS} members, {rounds} kills");
    let plot = Plot::new(&title, "ms from the kill; red: goal")
        .bars("to the next answered change", "ms", &bars)
        .histogram(&Histogram {
            title: "each kill".to_owned(),
            unit: "ms".to_owned(),
            values: over.values().to_vec(),
            marks: Vec::new(),
        });
    report.publish(&plot)
}

/// A member's process and where it is.
struct Member {
    folder: String,
    /// `127.0.0.1:PORT`; 0 until it is known.
    listen: String,
    process: Child,
}

impl Member {
    fn start(folder: &str, listen: &str, join: Option<&str>) -> Result<Member> {
        let mut command = Command::new(programs::kelson()?);
        command.args(["kernel", "--data-dir", folder, "--listen", listen]);
        command.args(join.iter().flat_map(|known| ["--join", known]));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)
            .with_context(|| format!("the member in {folder} says: {line:?}"))?;
        let address = ready.pointer("/address").and_then(Value::as_str);
        let listen = address.and_then(|address| address.strip_prefix("http://"));
        Ok(Member {
            folder: folder.to_owned(),
            listen: listen.context("no address")?.to_owned(),
            process,
        })
    }

    fn peak(&self) -> Option<u64> {
        peak_memory(self.process.id())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

struct Cluster {
    members: Vec<Member>,
    since: Value,
    sequence: u64,
}

impl Cluster {
    fn raise(folder: &Path) -> Result<Cluster> {
        let mut members: Vec<Member> = Vec::new();
        for number in 1..=MEMBERS {
            let own = folder.join(number.to_string());
            let known = members.first().map(|first| first.listen.clone());
            let own = own.to_str().context("a folder without a name")?;
            members.push(Member::start(own, "127.0.0.1:0", known.as_deref())?);
        }
        let mut cluster = Cluster {
            members,
            since: Value::Null,
            sequence: 0,
        };
        cluster.settle()?;
        let began = http::get(&cluster.url(0, "/v1/client")?, PATIENCE)?;
        let began: Value = serde_json::from_str(&began.body)?;
        cluster.since = began.get("since").context("no beginning")?.clone();
        Ok(cluster)
    }

    fn member(&self, place: usize) -> Result<&Member> {
        self.members.get(place).context("no such member")
    }

    fn url(&self, place: usize, path: &str) -> Result<String> {
        Ok(format!("http://{}{path}", self.member(place)?.listen))
    }

    /// Waits until all are voters that have everything; gives the place of the leader.
    fn settle(&self) -> Result<usize> {
        let url = self.url(0, "/v1/members")?;
        wait_for("all members have everything", PATIENCE, || {
            let seen = match http::get(&url, PATIENCE) {
                Ok(answer) => answer.body,
                Err(error) => return Ok(Look::NotYet(error.to_string())),
            };
            let list: Value = serde_json::from_str(&seen)?;
            let items = list.get("items").and_then(Value::as_array);
            let is = |item: &Value, key: &str, value: &str| item.get(key) == Some(&json!(value));
            let is_whole = |item: &Value| {
                is(item, "role", "voter")
                    && !is(item, "state", "unreachable")
                    && item.get("lag") == Some(&json!(0))
            };
            let whole = items.filter(|items| items.len() == MEMBERS && items.iter().all(is_whole));
            let leader = whole
                .into_iter()
                .flatten()
                .find(|item| is(item, "state", "leader"))
                .and_then(|item| item.get("address"))
                .and_then(|address| {
                    let mut members = self.members.iter();
                    members.position(|member| *address == json!(member.listen))
                });
            Ok(leader.map_or(Look::NotYet(seen), Look::Found))
        })
    }

    fn kill(&mut self, place: usize) -> Result<()> {
        let member = self.members.get_mut(place).context("no such member")?;
        member.process.kill()?;
        member.process.wait()?;
        Ok(())
    }

    fn run(&mut self, place: usize) -> Result<()> {
        let member = self.members.get_mut(place).context("no such member")?;
        *member = Member::start(&member.folder, &member.listen, None)?;
        Ok(())
    }

    /// Has something small changed; gives how long the answer took.
    fn change(&mut self, place: usize) -> Result<Duration> {
        self.sequence += 1;
        let body = json!({
            "client": "bench", "sequence": self.sequence, "since": self.since,
            "principal": {"actor": "bench", "via": "bench"},
            "request": {"setNamespace": {"namespace": "bench", "weight": 1 + self.sequence % 100}},
        })
        .to_string();
        let host = &self.member(place)?.listen;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST /v1/requests HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let took = begun.elapsed();
        ensure!(!answer.is_empty(), "member {host} hung up");
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("the change was not carried out: {answer}");
        }
        Ok(took)
    }
}
