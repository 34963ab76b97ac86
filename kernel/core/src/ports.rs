//! Ports: which of an agent's ports a new task is given.

use std::collections::BTreeMap;

use kelson_model::template::TaskTemplate;

use crate::record::Agent;

/// Picks ports, by name: the asked one where one is asked for, else the next free one of the agent's range after the one given last.
/// Also says which one of the range was given last then.
pub(crate) fn give_ports(
    agent: &Agent,
    template: &TaskTemplate,
) -> Result<(BTreeMap<String, u16>, u16), String> {
    let range = agent.description.ports;
    let mut given = BTreeMap::new();
    let mut last = agent.last_port;
    let is_free = |port: u16, given: &BTreeMap<String, u16>| {
        !agent.used_ports.contains_key(&port) && !given.values().any(|other| *other == port)
    };
    for wish in template.ports.iter().filter(|wish| wish.port.is_some()) {
        let port = wish.port.unwrap_or_default();
        if !is_free(port, &given) {
            return Err(format!("port {port} is taken on the agent"));
        }
        given.insert(wish.name.clone(), port);
    }
    for wish in template.ports.iter().filter(|wish| wish.port.is_none()) {
        let mut tries = range.count();
        loop {
            if tries == 0 {
                return Err("no port is free on the agent".to_owned());
            }
            tries -= 1;
            last = if last >= range.last || last < range.first {
                range.first
            } else {
                last + 1
            };
            if is_free(last, &given) {
                break;
            }
        }
        given.insert(wish.name.clone(), last);
    }
    Ok((given, last))
}
