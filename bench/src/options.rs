//! What a workload is told on its command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use kelson_testkit::programs;

/// How a workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether it is scaled down so that it ends in 20 s.
    pub is_quick: bool,
}

impl Options {
    /// Reads this program's arguments.
    ///
    /// # Errors
    /// When there is another argument than `--quick`.
    pub fn from_arguments() -> Result<Options> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options> {
        let mut options = Options { is_quick: false };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => options.is_quick = true,
                _ => bail!("a bench takes --quick, and no {argument}"),
            }
        }
        Ok(options)
    }

    /// One of two sizes.
    #[must_use]
    pub fn pick<T>(self, whole: T, quick: T) -> T {
        if self.is_quick { quick } else { whole }
    }

    /// A folder on the disk of the build for what a workload writes; on many machines the temporary
    /// folder is in memory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(self) -> Result<PathBuf> {
        let folder = programs::workspace()?.join("target/bench");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn quick_is_the_only_argument() {
        let parse = |arguments: &[&str]| Options::parse(arguments.iter().map(|a| (*a).to_owned()));
        assert_eq!(parse(&[]).unwrap().pick(10, 1), 10);
        assert_eq!(parse(&["--quick"]).unwrap().pick(10, 1), 1);
        assert!(parse(&["--slow"]).is_err());
    }
}
