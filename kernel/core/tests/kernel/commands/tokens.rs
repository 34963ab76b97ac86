use kelson_kernel_core::command::{Command, CreateToken, RegisterAgent, RevokeToken, UseToken};
use kelson_kernel_core::record::MOST_TOKENS;
use kelson_kernel_core::{Entry, Reply};
use kelson_model::access::Role;
use kelson_model::agent::AgentState;
use kelson_model::code::Code;
use kelson_model::id::{AgentId, Digest, TokenId};
use kelson_model::principal::Principal;
use kelson_model::quantity::Millis;
use kelson_model::session::SessionEnd;
use kelson_model::time::WallTime;

use crate::world::{World, machine, ns, session_over};

fn create(role: Role, uses: u32) -> CreateToken {
    CreateToken {
        role,
        namespace: None,
        name: String::new(),
        hash: Digest::of(b"secret"),
        ttl: Millis(60_000),
        uses,
    }
}

fn made(world: &mut World, create: CreateToken) -> TokenId {
    match world.apply(Command::CreateToken(create)) {
        Reply::TokenCreated { token } => token,
        other => panic!("no token: {other:?}"),
    }
}

fn joining(token: TokenId, key: &str) -> UseToken {
    UseToken {
        token,
        hash: Digest::of(b"secret"),
        role: Role::Agent,
        key: Digest::of(key.as_bytes()),
        directory: format!("directory of {key}"),
        name: key.to_owned(),
    }
}

fn joined(world: &mut World, joining: UseToken) -> AgentId {
    match world.apply(Command::UseToken(joining)) {
        Reply::Joined { id } => AgentId(id),
        other => panic!("not joined: {other:?}"),
    }
}

fn refused(world: &mut World, command: Command) {
    assert_eq!(world.refused(command).code, Code::TokenRefused);
}

#[test]
fn by_a_token_for_one_machine_one_joins_and_may_ask_again() {
    let mut world = World::new();
    let token = made(&mut world, create(Role::Agent, 1));
    let agent = joined(&mut world, joining(token, "one"));
    assert_eq!(world.the_agent(agent).state, AgentState::Unreachable);
    refused(&mut world, Command::UseToken(joining(token, "two")));
    assert_eq!(joined(&mut world, joining(token, "one")), agent);
    let both = made(&mut world, create(Role::Agent, 2));
    let first = joined(&mut world, joining(both, "three"));
    assert_ne!(first, agent);
    assert_ne!(joined(&mut world, joining(both, "four")), first);
    refused(&mut world, Command::UseToken(joining(both, "five")));
}

#[test]
fn a_token_that_is_unknown_expired_revoked_or_shown_with_another_secret_is_told_alike() {
    let mut world = World::new();
    let mut told = Vec::new();
    let mut tell = |world: &mut World, joining| {
        let refusal = world.refused(Command::UseToken(joining));
        told.push(refusal);
    };
    tell(&mut world, joining(TokenId(4711), "one"));
    let token = made(&mut world, create(Role::Agent, 9));
    let guess = UseToken {
        hash: Digest::of(b"guess"),
        ..joining(token, "one")
    };
    tell(&mut world, guess);
    world.done(Command::RevokeToken(RevokeToken { token }));
    tell(&mut world, joining(token, "one"));
    refused(&mut world, Command::RevokeToken(RevokeToken { token }));
    let token = made(&mut world, create(Role::Agent, 9));
    world.wait(60_000);
    tell(&mut world, joining(token, "one"));
    assert!(told.iter().all(|refusal| *refusal == told[0]), "{told:?}");
}

#[test]
fn a_token_expires_by_whichever_clock_says_so_first() {
    let mut world = World::new();
    let token = made(&mut world, create(Role::Agent, 9));
    joined(&mut world, joining(token, "one"));
    let record = world.state.tokens[&token].clone();
    let (made, wall) = (record.made, record.made_wall);
    let late = WallTime(wall.0 + 60_000);
    assert!(!record.has_expired(made.after(Millis(59_999)), WallTime(0)));
    assert!(record.has_expired(made.after(Millis(60_000)), WallTime(0)));
    assert!(record.has_expired(made, late));
    let entry = world.entry(
        Principal::kernel(),
        Command::UseToken(joining(token, "two")),
    );
    let reply = world.apply_entry(&Entry {
        wall: late,
        ..entry
    });
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

#[test]
fn tokens_that_cannot_be_are_not_made() {
    let mut world = World::new();
    let in_namespace = CreateToken {
        namespace: Some(ns("shop")),
        ..create(Role::Agent, 1)
    };
    let named = |name: &str| CreateToken {
        name: name.to_owned(),
        ..create(Role::Reader, 0)
    };
    let living = |ttl| CreateToken {
        ttl: Millis(ttl),
        ..create(Role::Reader, 0)
    };
    for wrong in [
        create(Role::Agent, 0),
        create(Role::Agent, 1001),
        create(Role::Reader, 1),
        in_namespace,
        named("al ice"),
        named(&"x".repeat(65)),
        living(0),
        living(367 * 24 * 3600 * 1000),
    ] {
        refused(&mut world, Command::CreateToken(wrong));
    }
    made(&mut world, named("alice"));
    // A person's lets no machine in.
    let person = made(&mut world, create(Role::Admin, 0));
    refused(&mut world, Command::UseToken(joining(person, "one")));
    let as_person = UseToken {
        role: Role::Admin,
        ..joining(person, "one")
    };
    refused(&mut world, Command::UseToken(as_person));
}

#[test]
fn so_many_tokens_hold_at_a_time_and_those_that_have_expired_make_room() {
    let mut world = World::new();
    for _ in 0..MOST_TOKENS {
        made(&mut world, create(Role::Reader, 0));
    }
    let one_more = Command::CreateToken(create(Role::Reader, 0));
    let refusal = world.refused(one_more.clone());
    assert_eq!(refusal.code, Code::TooMuchAtOnce);
    world.wait(60_000);
    made(&mut world, create(Role::Reader, 0));
    assert_eq!(world.state.tokens.len(), 1);
}

#[test]
fn an_agent_that_has_joined_attaches_from_its_own_directory_only() {
    let mut world = World::new();
    let token = made(&mut world, create(Role::Agent, 1));
    let agent = joined(&mut world, joining(token, "one"));
    let attach = |directory: &str| {
        Command::RegisterAgent(RegisterAgent {
            agent: Some(agent),
            token: directory.to_owned(),
            incarnation: 1,
            description: machine(4, 1024),
            cluster: String::new(),
        })
    };
    let end = session_over(world.apply(attach("another")));
    assert_eq!(end, SessionEnd::OtherDirectory);
    let reply = world.apply(attach("directory of one"));
    assert!(matches!(reply, Reply::Attached { agent: id, .. } if id == agent));
    assert_eq!(world.the_agent(agent).state, AgentState::Ready);
}
