//! Ports: which of an agent's ports a new task is given, and which are known to be used by
//! something else.

use std::collections::BTreeMap;

use kelson_model::task::MAX_TAKEN_PORTS;
use kelson_model::template::TaskTemplate;
use kelson_model::time::ClusterTime;

use crate::record::Agent;

/// How long, in ms, a port that something else on the machine was seen to use is not picked.
const TAKEN_FOR: u64 = 600_000;

/// Ports by name.
pub(crate) type Given<'a> = BTreeMap<&'a str, u16>;

/// Picks ports, by name: the asked one where one is asked for, else the next free one of the
/// agent's range after the one given last. Also says which one of the range was given last then.
///
/// A port that something else on the machine was seen to use is picked only where no other is left;
/// one that is asked for is given all the same, and the agent looks again.
pub(crate) fn give_ports<'a>(
    agent: &Agent,
    template: &'a TaskTemplate,
    now: ClusterTime,
) -> Result<(Given<'a>, u16), String> {
    let range = agent.description.ports;
    let mut given = BTreeMap::new();
    let mut last = agent.last_port;
    let is_free = |port: u16, given: &Given<'_>| {
        !agent.used_ports.contains_key(&port) && !given.values().any(|other| *other == port)
    };
    for wish in template.ports.iter().filter(|wish| wish.port.is_some()) {
        let port = wish.port.unwrap_or_default();
        if !is_free(port, &given) {
            return Err(format!("port {port} is taken on the agent"));
        }
        given.insert(wish.name.as_str(), port);
    }
    for wish in template.ports.iter().filter(|wish| wish.port.is_none()) {
        let mut tries = range.count();
        let mut second_choice = None;
        last = loop {
            if tries == 0 {
                break second_choice.ok_or("no port is free on the agent")?;
            }
            tries -= 1;
            last = if last >= range.last || last < range.first {
                range.first
            } else {
                last + 1
            };
            let until = agent.taken_ports.get(&last);
            if is_free(last, &given) {
                if until.is_none_or(|until| *until <= now) {
                    break last;
                }
                second_choice.get_or_insert(last);
            }
        };
        given.insert(wish.name.as_str(), last);
    }
    Ok((given, last))
}

/// Remembers ports of the agent's range that something else on its machine uses; a port that one of
/// its own tasks holds is not among them, since it is free when that task has ended.
pub(crate) fn note_taken(agent: &mut Agent, ports: &[u16], now: ClusterTime) {
    let range = agent.description.ports;
    let until = ClusterTime(now.0.saturating_add(TAKEN_FOR));
    let known = agent.taken_ports.iter();
    let known = known.map(|(port, until)| (*port, *until));
    let still = known.filter(|(_, until)| *until > now);
    let newly = ports.iter().take(MAX_TAKEN_PORTS);
    let newly = newly.filter(|port| {
        (range.first..=range.last).contains(*port) && !agent.used_ports.contains_key(*port)
    });
    agent.taken_ports = still.chain(newly.map(|port| (*port, until))).collect();
}
