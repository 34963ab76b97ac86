//! A component that is ready to be instantiated: compiled, its imports looked at, its exports
//! found.

use kelson_kernel_core::port::LoadFault;
use kelson_model::framework::{Description, Limits};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::{Framework, FrameworkPre};
use crate::limits;
use crate::sandbox::Sandbox;
use crate::text;

/// The interfaces that the sandbox gives, without their version.
const GIVEN: [&str; 4] = [
    "kelson:scheduler/tables",
    "kelson:scheduler/outcome",
    "kelson:scheduler/state",
    "kelson:scheduler/log",
];

/// A component that was described.
pub(crate) struct Loaded {
    pub(crate) pre: FrameworkPre<Sandbox>,
    /// What it may use where no turn's limits are at hand.
    pub(crate) limits: Limits,
    pub(crate) description: Description,
}

/// Looks at how a component begins, before anybody spends time on it.
pub(crate) fn check_beginning(content: &[u8]) -> Result<(), LoadFault> {
    if content.len() > limits::COMPONENT_BYTES {
        return Err(LoadFault::NotAComponent(format!(
            "it has {} bytes, more than {}",
            content.len(),
            limits::COMPONENT_BYTES
        )));
    }
    // The magic number, the version, and the layer: 0 is a core module, 1 a component.
    match content.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Err(LoadFault::NotAComponent(
            "it is a core module; wrap it as a component".to_owned(),
        )),
        _ => Err(LoadFault::NotAComponent(
            "it does not begin like one".to_owned(),
        )),
    }
}

/// Compiles a component into the form that is kept.
pub(crate) fn compile(engine: &Engine, content: &[u8]) -> Result<Vec<u8>, LoadFault> {
    engine.precompile_component(content).map_err(|error| {
        LoadFault::NotAComponent(text::message(&format!("{error:#}"), limits::MESSAGE_BYTES))
    })
}

/// Links a component with what the sandbox gives, and with nothing else.
pub(crate) fn link(
    engine: &Engine,
    component: &Component,
) -> Result<FrameworkPre<Sandbox>, LoadFault> {
    check_imports(engine, component)?;
    let forbidden = |error: wasmtime::Error| LoadFault::ForbiddenImport(explain(&error));
    let mut linker: Linker<Sandbox> = Linker::new(engine);
    Framework::add_to_linker::<_, HasSelf<_>>(&mut linker, |sandbox| sandbox).map_err(forbidden)?;
    let pre = linker.instantiate_pre(component).map_err(forbidden)?;
    FrameworkPre::new(pre).map_err(|error| LoadFault::MissingExport(explain(&error)))
}

fn check_imports(engine: &Engine, component: &Component) -> Result<(), LoadFault> {
    let component_type = component.component_type();
    for (name, import) in component_type.imports(engine) {
        // Types that exports share may be imported without a name of their own; they give nothing.
        let is_type = matches!(import.ty, ComponentItem::Type(_));
        let interface = name
            .split_once('@')
            .map_or(name, |(interface, _)| interface);
        if !is_type && !GIVEN.contains(&interface) {
            return Err(LoadFault::ForbiddenImport(text::message(
                name,
                limits::MESSAGE_BYTES,
            )));
        }
    }
    Ok(())
}

fn explain(error: &wasmtime::Error) -> String {
    text::message(&format!("{error:#}"), limits::MESSAGE_BYTES)
}
