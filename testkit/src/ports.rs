//! Ranges of ports for agents that run side by side on one machine.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Where the first range begins; the last one ends below 32768, where Linux begins to give out
/// ports of its own accord.
const FIRST: u16 = 20_000;
/// How many ports a range has.
const LENGTH: u16 = 100;
/// How many ranges there are.
const RANGES: u16 = 120;

/// A range that no other harness on this machine has, for as long as this value lives: a locked
/// file says so, and the lock ends with the process.
#[derive(Debug)]
pub(crate) struct PortRange {
    first: u16,
    _lock: File,
}

impl PortRange {
    /// Takes a free range.
    pub(crate) fn take() -> Result<PortRange> {
        let folder: PathBuf = std::env::temp_dir().join("kelson-testkit-ports");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        // Where to begin depends on the process, so that ranges are not all handed out again at
        // once.
        let begin = u16::try_from(std::process::id() % u32::from(RANGES)).unwrap_or_default();
        for number in 0..RANGES {
            let number = (begin + number) % RANGES;
            let path = folder.join(number.to_string());
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            if file.try_lock().is_ok() {
                return Ok(PortRange {
                    first: FIRST + number * LENGTH,
                    _lock: file,
                });
            }
        }
        bail!(
            "all {RANGES} port ranges are taken; {} holds their locks",
            folder.display()
        )
    }

    /// As `--port-range` takes it.
    pub(crate) fn argument(&self) -> String {
        format!("{}-{}", self.first, self.first + LENGTH - 1)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn two_ranges_that_are_held_differ() {
        let (one, other) = (PortRange::take().unwrap(), PortRange::take().unwrap());
        assert_ne!(one.argument(), other.argument());
    }
}
