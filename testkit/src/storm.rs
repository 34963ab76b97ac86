//! Random faults among commits: `kill -9` and SIGSTOP of every process of a cluster, and what must
//! be true when the storm is over.
//!
//! *Flow*: a repository of a few services whose tasks write down their id as they start; until the
//! time is up a die says what happens next: a commit, a killed process, a process that is stopped
//! for a while; then everything goes on again and the last commit must come true. *Guarantees*: one
//! seed gives one sequence of choices; which process is hit also depends on what lives at that
//! moment. *Caveats*: a storm on a busy machine is a milder one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::deadline::Look;
use crate::manifest::service;
use crate::processes::{self, Process, Signal};
use crate::{Dev, TestRepo, status};

/// What the services are called.
const SERVICES: [&str; 3] = ["api", "shop", "web"];
/// How long everything may take to come true after the last fault, on a small and busy machine.
const CALM: Duration = Duration::from_secs(180);
/// The longest that a process is stopped as a rule, in milliseconds: within the lease of an agent.
const LONGEST_STOP: u64 = 4_000;
/// How long a process is stopped now and then, in milliseconds: longer than the lease of an agent,
/// which is 10 s.
const LONG_STOP: u64 = 12_000;
/// One stop of this many is such a long one.
const STOPS_TO_A_LONG_ONE: u64 = 6;
/// The longest pause between two things that happen, in milliseconds.
const LONGEST_PAUSE: u64 = 700;

/// What a storm did.
#[derive(Debug, Default, Clone)]
pub struct Weather {
    /// How many commits were made.
    pub commits: u32,
    /// How many processes of each sort were killed.
    pub killed: BTreeMap<&'static str, u32>,
    /// How many processes of each sort were stopped for a while.
    pub stopped: BTreeMap<&'static str, u32>,
    /// How many tasks were started.
    pub starts: usize,
}

/// Lets a storm of this length loose on a cluster of its own; `say` hears of each thing that
/// happens.
///
/// # Errors
/// When a task was started twice under one id, something runs that should not, or the last commit
/// does not come true.
pub fn rage(seed: u64, length: Duration, mut say: impl FnMut(&str)) -> Result<Weather> {
    let mut storm = Storm::begin(seed)?;
    let began = Instant::now();
    while began.elapsed() < length {
        let happened = storm.strike()?;
        say(&format!(
            "{:6.1} s  {happened}",
            began.elapsed().as_secs_f32()
        ));
        storm.pause();
    }
    storm.calm()?;
    say(&format!(
        "{:6.1} s  everything is as git says",
        began.elapsed().as_secs_f32()
    ));
    Ok(storm.weather)
}

struct Storm {
    dice: Dice,
    repo: TestRepo,
    dev: Dev,
    starts: PathBuf,
    /// How many tasks, and which version, by service.
    wanted: BTreeMap<&'static str, (u32, u32)>,
    /// Whom to wake, and when.
    asleep: Vec<(Instant, u32)>,
    weather: Weather,
    _folder: tempfile::TempDir,
}

impl Storm {
    fn begin(seed: u64) -> Result<Storm> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let starts = folder.path().join("starts");
        std::fs::write(&starts, "")?;
        let repo = TestRepo::init()?;
        let wanted: BTreeMap<_, _> = SERVICES.iter().map(|name| (*name, (2, 0))).collect();
        for (name, (instances, version)) in &wanted {
            write(&repo, &starts, name, *instances, *version)?;
        }
        let commit = repo.commit("the first services")?;
        let dev = Dev::builder().repo(repo.path()).start()?;
        dev.settle(&commit)?;
        Ok(Storm {
            dice: Dice(seed),
            repo,
            dev,
            starts,
            wanted,
            asleep: Vec::new(),
            weather: Weather::default(),
            _folder: folder,
        })
    }

    /// Lets one thing happen and says what it was.
    fn strike(&mut self) -> Result<String> {
        self.wake(false);
        if self.dev.has_ended()?.is_some() || self.dev.pid().is_none() {
            // Whoever is stopped may hold the lock of the data directory.
            self.wake(true);
            self.dev.start()?;
            return Ok("kelson dev starts again".to_owned());
        }
        match self.dice.below(10) {
            0..=2 => self.commit(),
            3..=6 => self.kill(),
            _ => self.stop(),
        }
    }

    fn commit(&mut self) -> Result<String> {
        let place = self.dice.below(SERVICES.len() as u64) as usize;
        let name = SERVICES.get(place).context("no such service")?;
        let (instances, version) = self.wanted.get_mut(name).context("no such service")?;
        if self.dice.below(2) == 0 {
            *version += 1;
        } else {
            *instances = 1 + u32::try_from(self.dice.below(4))?;
        }
        write(&self.repo, &self.starts, name, *instances, *version)?;
        let message = format!("{name}: {instances} of version {version}");
        self.repo.commit(&message)?;
        self.weather.commits += 1;
        Ok(format!("commit  {message}"))
    }

    fn kill(&mut self) -> Result<String> {
        let Some((sort, victim)) = self.victim(true) else {
            return Ok("nobody to kill".to_owned());
        };
        let _was_there = processes::signal(victim.pid, Signal::KILL);
        *self.weather.killed.entry(sort).or_default() += 1;
        if sort == "dev" {
            self.dev.wait_ended(CALM)?;
        }
        Ok(format!("kill    {sort} {}", victim.pid))
    }

    fn stop(&mut self) -> Result<String> {
        let Some((sort, victim)) = self.victim(false) else {
            return Ok("nobody to stop".to_owned());
        };
        let length = Duration::from_millis(match self.dice.below(STOPS_TO_A_LONG_ONE) {
            0 => LONG_STOP,
            _ => self.dice.below(LONGEST_STOP),
        });
        let _was_there = processes::signal(victim.pid, Signal::STOP);
        self.asleep.push((Instant::now() + length, victim.pid));
        *self.weather.stopped.entry(sort).or_default() += 1;
        Ok(format!("stop    {sort} {} for {length:?}", victim.pid))
    }

    /// A living process, each sort as likely as the others. `dev` itself is killed now and then,
    /// and never stopped: the harness asks through it.
    fn victim(&mut self, may_be_dev: bool) -> Option<(&'static str, Process)> {
        let mut sorts: BTreeMap<&'static str, Vec<Process>> = BTreeMap::new();
        for process in self.dev.processes() {
            let sort = sort_of(&process);
            if sort != "dev" || (may_be_dev && self.dice.below(4) == 0) {
                sorts.entry(sort).or_default().push(process);
            }
        }
        let (sort, mut there) = nth(sorts.into_iter().collect(), &mut self.dice)?;
        there.sort_by_key(|process| process.pid);
        Some((sort, nth(there, &mut self.dice)?))
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.dice.below(LONGEST_PAUSE)));
    }

    /// Lets go on whoever has been stopped for long enough, or everybody.
    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        self.asleep.retain(|(at, pid)| {
            let is_due = all || *at <= now;
            if is_due {
                let _was_there = processes::signal(*pid, Signal::CONT);
            }
            !is_due
        });
    }

    /// Ends the storm, waits until the last commit has come true, and counts.
    fn calm(&mut self) -> Result<()> {
        self.wake(true);
        if self.dev.has_ended()?.is_some() || self.dev.pid().is_none() {
            self.dev.start()?;
        }
        let head = self.repo.head()?;
        let wanted = self.wanted.clone();
        let data = self.dev.data_dir().to_owned();
        self.dev
            .wait_for("everything is as git says", CALM, |cli| {
                let now = match cli.status() {
                    Ok(now) if status::is_settled(&now, &head) => now,
                    Ok(now) => return Ok(Look::NotYet(now.to_string())),
                    Err(error) => return Ok(Look::NotYet(format!("{error:#}"))),
                };
                let tasks: Vec<Value> = match cli.tasks() {
                    Ok(tasks) => tasks,
                    Err(error) => return Ok(Look::NotYet(format!("{error:#}"))),
                };
                Ok(match differs(&wanted, &tasks, &running_below(&data)) {
                    None => Look::Found(()),
                    Some(difference) => Look::NotYet(format!("{difference}; {now}")),
                })
            })?;
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for id in std::fs::read_to_string(&self.starts)?.lines() {
            *count.entry(id.to_owned()).or_default() += 1;
        }
        self.weather.starts = count.len();
        let twice: Vec<_> = count.iter().filter(|(_, starts)| **starts > 1).collect();
        if !twice.is_empty() {
            bail!("started twice under one id: {twice:?}");
        }
        Ok(())
    }
}

/// Writes the manifest of a service whose tasks note their id before they become the example
/// server.
fn write(repo: &TestRepo, starts: &Path, name: &str, instances: u32, version: u32) -> Result<()> {
    let manifest = service(name)
        .instances(instances)
        .text(&format!("{name} {version}"))
        .noting_starts_in(starts);
    repo.write(&format!("kelson/{name}.yaml"), manifest.yaml())
}

/// What sort of process it is: a part of the cluster, or (for all that carries a task's id) a task.
fn sort_of(process: &Process) -> &'static str {
    ["kernel", "agent", "shim", "dev"]
        .into_iter()
        .find(|verb| process.is_kelson(verb))
        .unwrap_or("task")
}

/// The ids of the tasks that have a living program below this data directory.
fn running_below(data: &Path) -> BTreeSet<String> {
    processes::belonging_to(data)
        .iter()
        .filter(|process| sort_of(process) == "task")
        .filter_map(|process| processes::variable(process.pid, "KELSON_TASK_ID"))
        .collect()
}

/// The first way in which what runs is not what is wanted.
fn differs(
    wanted: &BTreeMap<&'static str, (u32, u32)>,
    tasks: &[Value],
    living: &BTreeSet<String>,
) -> Option<String> {
    let running: Vec<&Value> = tasks
        .iter()
        .filter(|task| task.get("state").is_some_and(|state| state == "running"))
        .collect();
    let known: BTreeSet<String> = running
        .iter()
        .filter_map(|task| Some(task.get("id")?.as_str()?.to_owned()))
        .collect();
    if known != *living {
        return Some(format!(
            "these run and are not known: {:?}; these are said to run and do not: {:?}",
            living.difference(&known).collect::<Vec<_>>(),
            known.difference(living).collect::<Vec<_>>()
        ));
    }
    let mut names = BTreeSet::new();
    for task in running {
        let of = |pointer: &str| task.pointer(pointer).and_then(Value::as_str);
        let name = (of("/workload/name"), of("/name"));
        if !names.insert(name) {
            return Some(format!("two tasks run as {name:?}"));
        }
    }
    wanted.iter().find_map(|(service, (instances, _))| {
        let there = names
            .iter()
            .filter(|(workload, _)| *workload == Some(service))
            .count();
        (there != *instances as usize)
            .then(|| format!("{there} tasks of {service} run, not {instances}"))
    })
}

/// A choice by dice; `None` where there is nothing to choose from.
fn nth<T>(mut from: Vec<T>, dice: &mut Dice) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let place = dice.below(from.len() as u64) as usize;
    Some(from.swap_remove(place))
}

/// A generator of numbers that one seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    /// A number from 0 to below the limit, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn task(id: &str, workload: &str, name: &str) -> Value {
        json!({"id": id, "name": name, "workload": {"name": workload}, "state": "running"})
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let roll = |seed| {
            let mut dice = Dice(seed);
            (0..8).map(|_| dice.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(roll(7), roll(7));
        assert_ne!(roll(7), roll(8));
    }

    #[test]
    fn a_lost_a_doubled_and_an_unknown_task_are_seen() {
        let wanted = BTreeMap::from([("web", (1, 0))]);
        let ids = |ids: &[&str]| {
            ids.iter()
                .map(|id| (*id).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let one = [task("tsk_1", "web", "web.0")];
        assert_eq!(differs(&wanted, &one, &ids(&["tsk_1"])), None);
        assert!(differs(&wanted, &one, &ids(&[])).unwrap().contains("tsk_1"));
        assert!(
            differs(&wanted, &one, &ids(&["tsk_1", "tsk_2"]))
                .unwrap()
                .contains("tsk_2")
        );
        let two = [task("tsk_1", "web", "web.0"), task("tsk_2", "web", "web.0")];
        assert!(
            differs(&wanted, &two, &ids(&["tsk_1", "tsk_2"]))
                .unwrap()
                .contains("two tasks")
        );
    }
}
