use kelson_kernel_core::RowKey;
use kelson_kernel_core::command::{Command, RegisterAgent, SetAgentState};
use kelson_model::agent::AgentState;
use kelson_model::id::AgentId;
use kelson_model::session::SessionEnd;
use kelson_model::task::TaskState;

use crate::world::{World, is_unchanged, machine, service, session_over, spec};

#[test]
fn an_unreachable_agent_keeps_its_tasks_and_offers_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    let before = world.state.index;
    world.set_agent(agent, AgentState::Unreachable);
    assert_eq!(world.task(task).state, TaskState::Staging);
    assert_eq!(world.the_agent(agent).free().cpus.0, 0);
    let changed: Vec<_> = world.state.changed_since(before).unwrap();
    assert!(changed.contains(&RowKey::Task(task)));
    world.set_agent(agent, AgentState::Ready);
    assert_eq!(world.the_agent(agent).free().cpus.0, 3000);
}

#[test]
fn the_tasks_of_a_gone_agent_are_lost_and_hold_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 2));
    let ended = world.launch(&service("web"), 0, agent);
    world.say(ended, TaskState::Finished);
    let running = world.launch(&service("web"), 1, agent);
    world.set_agent(agent, AgentState::Gone);
    assert_eq!(world.task(ended).state, TaskState::Finished);
    assert_eq!(world.task(running).state, TaskState::Lost);
    assert!(!world.seen(running).is_ended_by_hand());
    assert_eq!(world.the_agent(agent).used.cpus.0, 0);
}

#[test]
fn news_of_an_older_session_changes_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let before = world.state.clone();
    world.done(Command::SetAgentState(SetAgentState {
        agent,
        incarnation: 0,
        session: None,
        state: AgentState::Gone,
        is_leaving: false,
    }));
    assert!(is_unchanged(&before, &world.state));
    let unknown = session_over(world.apply(Command::SetAgentState(SetAgentState {
        agent: AgentId(9),
        incarnation: 1,
        session: None,
        state: AgentState::Gone,
        is_leaving: false,
    })));
    assert_eq!(unknown, SessionEnd::UnknownAgent);
}

#[test]
fn an_attach_that_comes_before_the_word_that_its_agent_is_unreachable_wins() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let older = world.the_agent(agent).session;
    world.apply(Command::RegisterAgent(RegisterAgent {
        agent: Some(agent),
        token: "token-1".to_owned(),
        incarnation: 1,
        description: machine(4, 1024),
        cluster: String::new(),
    }));
    let unreachable = |session| {
        Command::SetAgentState(SetAgentState {
            agent,
            incarnation: 1,
            session: Some(session),
            state: AgentState::Unreachable,
            is_leaving: false,
        })
    };
    world.done(unreachable(older));
    assert_eq!(world.the_agent(agent).state, AgentState::Ready);
    let newer = world.the_agent(agent).session;
    world.done(unreachable(newer));
    assert_eq!(world.the_agent(agent).state, AgentState::Unreachable);
}
