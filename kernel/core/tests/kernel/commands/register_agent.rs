use kelson_kernel_core::Reply;
use kelson_kernel_core::assignment::full_assignment;
use kelson_kernel_core::command::{Command, RegisterAgent};
use kelson_model::agent::{AgentState, PortRange};
use kelson_model::id::AgentId;
use kelson_model::quantity::Resources;
use kelson_model::session::SessionEnd;
use kelson_model::task::TaskState;
use serde_json::json;

use crate::world::{World, is_unchanged, launch, machine, service, session_over, spec, with_ports};

fn register(agent: Option<AgentId>, token: &str, incarnation: u64) -> RegisterAgent {
    RegisterAgent {
        agent,
        token: token.to_owned(),
        incarnation,
        description: machine(4, 1024),
        cluster: String::new(),
    }
}

fn over(world: &mut World, register: RegisterAgent) -> SessionEnd {
    session_over(world.apply(Command::RegisterAgent(register)))
}

fn attached(world: &mut World, register: RegisterAgent) -> AgentId {
    match world.apply(Command::RegisterAgent(register)) {
        Reply::Attached { agent, session } => {
            assert_eq!(world.the_agent(agent).session, session);
            agent
        }
        reply => panic!("not attached: {reply:?}"),
    }
}

#[test]
fn an_agent_that_lost_the_answer_to_its_registration_gets_the_same_id() {
    let mut world = World::new();
    let first = attached(&mut world, register(None, "t", 1));
    let again = attached(&mut world, register(None, "t", 1));
    assert_eq!(first, again);
    assert_eq!(world.state.agents.len(), 1);
    let other = attached(&mut world, register(None, "u", 1));
    assert_ne!(first, other);
}

#[test]
fn an_older_incarnation_another_token_and_an_unknown_id_are_refused() {
    let mut world = World::new();
    world.apply(Command::RegisterAgent(register(None, "t", 5)));
    let id = Some(world.state.last_agent);
    let before = world.state.clone();
    for (register, end) in [
        (register(id, "t", 4), SessionEnd::Superseded),
        (register(id, "u", 6), SessionEnd::OtherDirectory),
        (
            register(Some(AgentId(99)), "t", 6),
            SessionEnd::UnknownAgent,
        ),
    ] {
        assert_eq!(over(&mut world, register), end);
        assert!(is_unchanged(&before, &world.state));
    }
    attached(&mut world, register(id, "t", 6));
    assert_eq!(world.the_agent(world.state.last_agent).incarnation, 6);
}

#[test]
fn an_agent_of_another_cluster_is_refused_whatever_its_id() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    for id in [None, Some(agent)] {
        let foreign = RegisterAgent {
            cluster: "another".to_owned(),
            ..register(id, "token-1", 2)
        };
        assert_eq!(over(&mut world, foreign), SessionEnd::OtherCluster);
    }
    let own = RegisterAgent {
        cluster: world.state.cluster.clone(),
        ..register(Some(agent), "token-1", 2)
    };
    assert_eq!(attached(&mut world, own), agent);
}

#[test]
fn a_gone_agent_attaches_again_without_the_tasks_that_were_lost() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    world.set_agent(agent, AgentState::Gone);
    assert_eq!(world.task(task).state, TaskState::Lost);
    assert_eq!(
        attached(&mut world, register(Some(agent), "token-1", 2)),
        agent
    );
    let back = world.the_agent(agent);
    assert_eq!(back.state, AgentState::Ready);
    assert_eq!(back.used, Resources::default());
    assert!(full_assignment(&world.state, agent).is_empty());
    assert_eq!(world.task(task).state, TaskState::Lost);
}

#[test]
fn an_agent_that_attaches_again_keeps_its_tasks_and_their_ports() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ported = with_ports(spec("a", 1), json!([{"name": "http"}]));
    let workload = world.serve(&service("web"), ported);
    world.launch(&service("web"), 0, agent);
    let mut again = register(Some(agent), "token-1", 2);
    // The port that is held stands outside the new range.
    again.description.ports = PortRange {
        first: 30_000,
        last: 30_000,
    };
    world.apply(Command::RegisterAgent(again));
    let attached = world.the_agent(agent);
    assert_eq!(attached.used_ports.len(), 1);
    assert_eq!(attached.used_in_range, 0);
    assert_eq!(full_assignment(&world.state, agent).len(), 1);
    assert!(
        world
            .operate("default", vec![launch(workload, 1, 1, agent)])
            .is_empty()
    );
    let refusals = world.operate("default", vec![launch(workload, 1, 2, agent)]);
    assert_eq!(refusals[0].reason, "no port is free on the agent");
}

#[test]
fn an_agent_that_comes_back_smaller_is_given_nothing_more() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 4));
    for slot in 0..3 {
        world.launch(&service("web"), slot, agent);
    }
    let smaller = RegisterAgent {
        description: machine(2, 1024),
        ..register(Some(agent), "token-1", 2)
    };
    world.apply(Command::RegisterAgent(smaller));
    assert_eq!(world.the_agent(agent).free().cpus.0, 0);
    let refusals = world.operate("default", vec![launch(workload, 1, 3, agent)]);
    assert_eq!(refusals[0].reason, "no room on the agent");
    assert_eq!(
        world.live_in("default"),
        3,
        "nothing is taken from it either"
    );
}
