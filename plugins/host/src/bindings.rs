//! The generated host side of the treaty in `wit/`.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "framework",
    imports: { default: trappable },
});

pub(crate) use kelson::scheduler::{log, outcome, state, tables};
