//! The embedded components.

static SERVICE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/service.wasm"));

/// Returns the component of the framework `service`, the one behind `kind: Service`.
pub fn service() -> &'static [u8] {
    SERVICE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_scheduler_is_a_component() {
        // The magic number, then version 13 in layer 1: a component, not a core module.
        assert!(service().starts_with(b"\0asm\x0d\x00\x01\x00"));
    }

    #[test]
    fn the_service_scheduler_has_no_wasi_import() {
        let has_wasi = service().windows(5).any(|bytes| bytes == b"wasi:");
        assert!(!has_wasi);
    }
}
