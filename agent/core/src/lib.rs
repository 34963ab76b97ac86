//! The agent's pure part: task state machine, probes, update queue, assignment.
