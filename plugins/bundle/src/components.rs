//! The embedded components.

/// A scheduler in the box.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// The name of its framework, `service`.
    pub name: &'static str,
    /// Its component.
    pub component: &'static [u8],
}

/// All schedulers in the box, as the build script lists them.
pub static ALL: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/all.rs"));

/// The component of a framework in the box.
pub fn component(name: &str) -> Option<&'static [u8]> {
    let bundled = ALL.iter().find(|bundled| bundled.name == name)?;
    Some(bundled.component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_in_the_box_is_a_component() {
        assert!(component("service").is_some());
        for bundled in ALL {
            // The magic number, then version 13 in layer 1: a component, not a core module.
            let begin = b"\0asm\x0d\x00\x01\x00";
            assert!(bundled.component.starts_with(begin), "{}", bundled.name);
        }
    }

    #[test]
    fn no_scheduler_in_the_box_has_a_wasi_import() {
        for bundled in ALL {
            let has_wasi = bundled.component.windows(5).any(|bytes| bytes == b"wasi:");
            assert!(!has_wasi, "{}", bundled.name);
        }
    }
}
