//! The environment of a task, and `${NAME}` in its arguments and files.

use std::collections::BTreeMap;

use kelson_model::id::TaskId;
use kelson_model::interpolation::{Piece, Stray, pieces};

/// Longest text that interpolation makes, in bytes.
const MAX_INTERPOLATED: usize = 4 << 20;

/// The environment of a task: names and values, in order.
pub type Environment = BTreeMap<String, String>;

/// A text asked for something that the task's environment does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpolateError {
    /// The name is not in the task's environment.
    #[error("${{{name}}} is not in the task's environment; known are {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names there are, without the ones of the system.
        known: String,
    },
    /// `${` without `}`.
    #[error("'${{' without '}}' in '{0}'; a dollar is written $$")]
    Unclosed(String),
    /// A dollar before something else.
    #[error("a single '$' in '{0}'; a dollar is written $$, a name ${{NAME}}")]
    Dollar(String),
    /// The result would be too long.
    #[error("the text is longer than {MAX_INTERPOLATED} bytes")]
    TooLong,
}

/// What a task's environment is made from, beside its own `env`.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The task.
    pub task: TaskId,
    /// Its namespace, `shop/checkout`.
    pub namespace: &'a str,
    /// The address that it binds to.
    pub host: &'a str,
    /// The task's work directory: its HOME and TMPDIR.
    pub home: &'a str,
    /// The agent's search path for programs.
    pub path: &'a str,
    /// Port numbers by name.
    pub ports: &'a BTreeMap<String, u16>,
}

/// Names the variable that holds the number of a port: `http-admin` is in `PORT_HTTP_ADMIN`.
pub fn port_variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    format!("PORT_{upper}")
}

impl Surroundings<'_> {
    /// Makes the environment of a task; nothing is inherited, and the task's own `env` comes last,
    /// as it stands.
    pub fn environment(&self, env: &Environment) -> Environment {
        let mut base = Environment::new();
        base.insert("PATH".to_owned(), self.path.to_owned());
        base.insert("HOME".to_owned(), self.home.to_owned());
        base.insert("TMPDIR".to_owned(), self.home.to_owned());
        base.insert("HOST".to_owned(), self.host.to_owned());
        base.insert("KELSON_TASK_ID".to_owned(), self.task.to_string());
        base.insert("KELSON_NAMESPACE".to_owned(), self.namespace.to_owned());
        for (name, number) in self.ports {
            base.insert(port_variable(name), number.to_string());
        }
        if let (1, Some(number)) = (self.ports.len(), self.ports.values().next()) {
            base.insert("PORT".to_owned(), number.to_string());
        }
        base.extend(
            env.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        base
    }
}

/// Replaces `${NAME}` by the task's variable NAME and `$$` by a dollar.
///
/// # Errors Where a name is unknown, a brace is missing, or a dollar stands alone: nothing is
/// replaced by an empty text silently.
pub fn interpolate(text: &str, environment: &Environment) -> Result<String, InterpolateError> {
    let excerpt = || text.chars().take(60).collect::<String>();
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Ok(Piece::Text(text)) => out.push_str(text),
            Ok(Piece::Dollar) => out.push('$'),
            Ok(Piece::Name(name)) => {
                let value = environment.get(name);
                out.push_str(value.ok_or_else(|| unknown(name, environment))?);
            }
            Err(Stray::Unclosed) => return Err(InterpolateError::Unclosed(excerpt())),
            Err(Stray::Alone) => return Err(InterpolateError::Dollar(excerpt())),
        }
        if out.len() > MAX_INTERPOLATED {
            return Err(InterpolateError::TooLong);
        }
    }
    Ok(out)
}

fn unknown(name: &str, environment: &Environment) -> InterpolateError {
    let known: Vec<&str> = environment
        .keys()
        .map(String::as_str)
        .filter(|known| !matches!(*known, "PATH" | "HOME" | "TMPDIR"))
        .take(20)
        .collect();
    InterpolateError::Unknown {
        name: name.chars().take(80).collect(),
        known: known.join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn environment_with(ports: &[(&str, u16)], env: &[(&str, &str)]) -> Environment {
        let ports = ports
            .iter()
            .map(|(name, port)| ((*name).to_owned(), *port))
            .collect();
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Surroundings {
            task: TaskId(7),
            namespace: "shop",
            host: "127.0.0.1",
            home: "/d/work",
            path: "/bin",
            ports: &ports,
        }
        .environment(&env)
    }

    #[test]
    fn the_environment_is_the_contracts_and_the_tasks_own_comes_last() {
        let environment = environment_with(
            &[("http-admin", 20_000)],
            &[("HOME", "/x"), ("PRICE", "$5")],
        );
        let expected: Environment = [
            ("HOME", "/x"),
            ("HOST", "127.0.0.1"),
            ("KELSON_NAMESPACE", "shop"),
            ("KELSON_TASK_ID", "tsk_7"),
            ("PATH", "/bin"),
            ("PORT", "20000"),
            ("PORT_HTTP_ADMIN", "20000"),
            ("PRICE", "$5"),
            ("TMPDIR", "/d/work"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        assert_eq!(environment, expected);
    }

    #[test]
    fn port_stands_only_where_there_is_exactly_one() {
        let environment = environment_with(&[("a", 1), ("b", 2)], &[]);
        assert!(!environment.contains_key("PORT"));
        assert!(!environment_with(&[], &[]).contains_key("PORT"));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_is_known() {
        let error =
            interpolate("${PROT_HTTP}", &environment_with(&[("http", 1)], &[])).unwrap_err();
        assert!(error.to_string().contains("PORT_HTTP"), "{error}");
        let empty = Environment::new();
        assert!(matches!(
            interpolate("${A", &empty),
            Err(InterpolateError::Unclosed(_))
        ));
        assert!(matches!(
            interpolate("$A", &empty),
            Err(InterpolateError::Dollar(_))
        ));
        assert_eq!(interpolate("a$$b$${c}", &empty).unwrap(), "a$b${c}");
    }

    proptest! {
        #[test]
        fn doubled_dollars_give_the_text_back(text in ".{0,60}") {
            let doubled = text.replace('$', "$$");
            prop_assert_eq!(interpolate(&doubled, &Environment::new()).unwrap(), text);
        }

        #[test]
        fn values_are_not_interpolated_again(value in ".{0,30}") {
            let environment: Environment = [("A".to_owned(), value.clone())].into_iter().collect();
            prop_assert_eq!(interpolate("<${A}>", &environment).unwrap(), format!("<{value}>"));
        }
    }
}
