//! Who may do what: the roles of people and machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody is to a cluster. A role of people holds those before it: an administrator may do
/// what an operator may. The roles of machines hold no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything but secrets.
    Reader,
    /// Changes objects and tasks.
    Operator,
    /// Changes the cluster itself: its members, its agents, who may do what.
    Admin,
    /// A machine that runs tasks: acts for itself and its own tasks only.
    Agent,
    /// A member of the kernel.
    Member,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Reader,
        Self::Operator,
        Self::Admin,
        Self::Agent,
        Self::Member,
    ];

    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Agent => "agent",
            Self::Member => "member",
        }
    }

    /// Whether it is a role of people; the others are those of machines.
    pub fn is_of_people(self) -> bool {
        match self {
            Self::Reader | Self::Operator | Self::Admin => true,
            Self::Agent | Self::Member => false,
        }
    }

    /// Whether somebody of this role may do what `needed` may.
    pub fn holds(self, needed: Self) -> bool {
        if self.is_of_people() && needed.is_of_people() {
            self >= needed
        } else {
            self == needed
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role '{0}'; there are reader, operator, admin, agent and member")]
pub struct ParseRoleError(String);

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| ParseRoleError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_people_hold_each_other_and_those_of_machines_do_not() {
        assert!(Role::Admin.holds(Role::Reader));
        assert!(Role::Operator.holds(Role::Operator));
        assert!(!Role::Reader.holds(Role::Operator));
        for machine in [Role::Agent, Role::Member] {
            for person in [Role::Reader, Role::Operator, Role::Admin] {
                assert!(!machine.holds(person) && !person.holds(machine));
            }
            assert!(machine.holds(machine));
        }
        assert!(!Role::Agent.holds(Role::Member));
    }

    #[test]
    fn a_role_is_read_as_it_is_printed() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
