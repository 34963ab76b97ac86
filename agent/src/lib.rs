//! The agent's shell: supervisor, process driver, shim, isolation, connection.
