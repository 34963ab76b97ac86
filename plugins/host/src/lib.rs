//! The sandbox of schedulers: wasmtime, limits, linking, turns.
