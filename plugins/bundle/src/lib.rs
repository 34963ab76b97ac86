//! First-party scheduler components, built from source and embedded in the binary.
