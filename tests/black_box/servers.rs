//! Unmodified servers of the distribution as services: they answer, survive the death of the agent,
//! and take a new configuration by rolling restart.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use kelson_testkit::processes::{self, Signal};
use kelson_testkit::programs::Package;
use kelson_testkit::{Dev, Look, http};
use serde_json::Value;

use crate::cluster::{Cluster, DEADLINE, pid};

/// A service of one task of an unpacked program, with one file of configuration that stands beside
/// the manifest.
fn manifest(package: &Package, name: &str, program: &str, args: &str) -> String {
    format!(
        "apiVersion: kelson/v1
kind: Service
metadata: {{name: {name}}}
spec:
  run:
    command: {program}
    args: {args}
    env: {{LD_LIBRARY_PATH: \"{libraries}\"}}
    files: [{{path: server.conf, source: kelson/{name}.conf, template: true}}]
  resources: {{cpus: 0.1, memory: 128Mi}}
  ports: [{{name: main}}]
  health: {{tcp: {{port: main}}, interval: 500ms}}
  stop: {{grace: 5s}}
  update: {{minHealthyTime: 100ms}}
",
        program = package.file(program).display(),
        libraries = package.library_path(),
    )
}

fn only_task(dev: &Dev, object: &str) -> Value {
    let tasks = dev.running(object).unwrap();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    tasks.first().unwrap().clone()
}

/// Kills the agent and waits until another one has come and the task is as it was.
fn survive_the_agent(cluster: &Cluster, object: &str) {
    let before = only_task(&cluster.dev, object);
    let agent = cluster.dev.agent().unwrap();
    assert!(processes::signal(agent.pid, Signal::KILL));
    cluster
        .dev
        .wait_for("another agent has come", DEADLINE, |_| {
            Ok(match cluster.dev.agent() {
                Some(new) if new.pid != agent.pid => Look::Found(()),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .unwrap();
    let head = cluster.repo.head().unwrap();
    cluster.dev.settle(&head).unwrap();
    assert_eq!(pid(&only_task(&cluster.dev, object)), pid(&before));
}

/// Sends one line to a Redis server and returns all words that it answers to it.
fn redis(task: &Value, line: &str) -> Result<String> {
    let port = task
        .pointer("/ports/main")
        .and_then(Value::as_u64)
        .context("no port")?;
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port)?))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "{line}\r\nQUIT\r\n")?;
    let lines: Vec<String> = BufReader::new(stream)
        .lines()
        .collect::<std::io::Result<_>>()?;
    Ok(lines.join(" "))
}

#[test]
fn redis_server_answers_survives_its_agent_and_takes_a_new_configuration() {
    let Some(package) = Package::find("redis-server").unwrap() else {
        return;
    };
    let configuration = |memory: &str| {
        format!(
            "bind 127.0.0.1\nport ${{PORT_MAIN}}\nsave \"\"\nappendonly no\nmaxmemory {memory}\n"
        )
    };
    let cluster = Cluster::empty();
    cluster
        .repo
        .write("kelson/redis.conf", configuration("32mb"))
        .unwrap();
    let yaml = manifest(&package, "redis", "usr/bin/redis-server", "[server.conf]");
    let commit = cluster
        .repo
        .commit_file("kelson/redis.yaml", yaml, "redis")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let task = only_task(&cluster.dev, "Service/redis");
    assert!(redis(&task, "PING").unwrap().contains("+PONG"));
    assert!(redis(&task, "SET kept yes").unwrap().contains("+OK"));

    survive_the_agent(&cluster, "Service/redis");
    assert!(
        redis(&only_task(&cluster.dev, "Service/redis"), "GET kept")
            .unwrap()
            .contains("yes")
    );

    let commit = cluster
        .repo
        .commit_file("kelson/redis.conf", configuration("48mb"), "more memory")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let task = only_task(&cluster.dev, "Service/redis");
    assert!(
        redis(&task, "CONFIG GET maxmemory")
            .unwrap()
            .contains(&(48 * 1024 * 1024).to_string())
    );
}

#[test]
fn nginx_answers_survives_its_agent_and_takes_a_new_configuration() {
    let Some(package) = Package::find("nginx").unwrap() else {
        return;
    };
    let configuration = |text: &str| {
        format!(
            "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen 127.0.0.1:${{PORT_MAIN}}; location / {{ return 200 \"{text}\"; }} }}
}}
"
        )
    };
    let cluster = Cluster::empty();
    cluster
        .repo
        .write("kelson/nginx.conf", configuration("first"))
        .unwrap();
    let yaml = manifest(
        &package,
        "nginx",
        "usr/sbin/nginx",
        "[-e, stderr, -p, \"${HOME}\", -c, server.conf]",
    );
    let commit = cluster
        .repo
        .commit_file("kelson/nginx.yaml", yaml, "nginx")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let fetch = || {
        let task = only_task(&cluster.dev, "Service/nginx");
        http::get(
            &format!("{}/", kelson_testkit::url(&task, "main").unwrap()),
            DEADLINE,
        )
        .unwrap()
        .body
    };
    assert_eq!(fetch(), "first");
    survive_the_agent(&cluster, "Service/nginx");
    assert_eq!(fetch(), "first");
    let commit = cluster
        .repo
        .commit_file(
            "kelson/nginx.conf",
            configuration("second"),
            "another answer",
        )
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(fetch(), "second");
}
