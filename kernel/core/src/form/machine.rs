//! Agents, frameworks and members.

use std::sync::Arc;

use kelson_model::agent::{AgentDescription, AgentState, PortRange};
use kelson_model::framework::{Ceiling, Description, FaultCause, KindDescription, Limits};
use kelson_model::member::{MemberDescription, Supports};
use kelson_model::session::SessionEnd;

use super::error::FormError;
use super::reader::Reader;
use super::statement::{Name, Way};
use super::writer::Writer;
use crate::command::{
    AdmitMember, DismissMember, FailFramework, FoundCluster, InstallFramework, RecordAgentDrift,
    RecordMember, RegisterAgent, SetAgentState, SetClusterVersion,
};
use crate::record::{Agent, Framework, MemberRecord};

form!(FoundCluster { cluster });
form!(AdmitMember { token, description });
form!(RecordMember {
    member,
    description
});
form!(DismissMember { member });
form!(Supports { oldest, newest });
form!(MemberDescription { name as Name, address, version as Name, supports });
form!(MemberRecord {
    id,
    token,
    description,
    dismissed
});
form!(SetClusterVersion { version });
form!(RegisterAgent {
    agent,
    token,
    incarnation,
    description,
    cluster
});
form!(SetAgentState {
    agent,
    incarnation,
    session,
    state,
    is_leaving
});
form!(RecordAgentDrift {
    agent,
    incarnation,
    task,
    field,
    desired,
    live,
    is_healed
});
form!(InstallFramework {
    key,
    component,
    description,
    namespaces,
    limits,
    config,
    is_built_in,
    ceiling,
    generation,
});
form!(FailFramework {
    key,
    component,
    reason,
    cause,
    is_built_in,
    generation
});

form!(PortRange { first, last });
form!(AgentDescription {
    name, address, resources, ports, attributes as Name, pid, version as Name,
});
form!(Agent {
    id, token, incarnation, session, description, attributes as Name, state, state_since, used, used_ports,
    used_in_range, last_port, taken_ports, room_version,
});
numbers!(AgentState, "state of an agent" { 0 = Ready, 1 = Unreachable, 2 = Gone });
numbers!(SessionEnd, "end of a session" {
    0 = UnknownAgent, 1 = OtherDirectory, 2 = OtherCluster, 3 = Superseded, 4 = Replaced,
    5 = Silent, 6 = Misspoken, 7 = Unavailable,
});

form!(Limits {
    memory,
    operations,
    state_writes,
    state
});
form!(Ceiling {
    each,
    total_memory,
    total_state
});
form!(Description {
    name,
    version,
    kinds,
    config_schema
});
form!(KindDescription { kind as Name, schema, templates, count });
form!(Framework {
    key,
    component,
    description,
    namespaces,
    limits,
    config,
    is_built_in,
    fault,
    cause,
    fault_generation,
});
numbers!(FaultCause, "cause of a fault" {
    0 = BadComponent, 1 = TooLarge, 2 = NotAllowed, 3 = Held,
});

/// Attributes.
impl Way<Arc<Vec<(String, String)>>> for Name {
    fn put(value: &Arc<Vec<(String, String)>>, to: &mut Writer) {
        to.count(value.len());
        for (name, value) in &**value {
            to.name(name);
            to.name(value);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Arc<Vec<(String, String)>>, FormError> {
        let mut attributes = Vec::new();
        for _ in 0..from.count(2)? {
            attributes.push((from.name()?.to_owned(), from.name()?.to_owned()));
        }
        Ok(Arc::new(attributes))
    }
}
