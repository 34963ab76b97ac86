//! The credentials of whoever runs a verb.

use std::path::{Path, PathBuf};

use kelson_trust::{Addresses, Credentials};

use crate::exit::Failure;

/// The file that is looked for when nobody names one: `${XDG_CONFIG_HOME:-~/.config}/kelson/
/// credentials`.
pub(crate) fn own_file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("kelson").join("credentials"))
}

/// Reads credentials.
///
/// # Errors
/// When the file cannot be read, or holds none.
pub(crate) fn load(file: &Path) -> Result<Credentials, Failure> {
    Credentials::load(file).map_err(|error| {
        Failure::usage(error.to_string())
            .with_hint("`kelson kernel init` writes such a file, and `kelson login` does")
    })
}

/// The credentials in `file`, where it is there.
///
/// # Errors
/// As [`load`].
pub(super) fn load_if_there(file: Option<PathBuf>) -> Result<Option<Lent>, Failure> {
    match file.filter(|file| file.exists()) {
        Some(file) => {
            let credentials = load(&file)?;
            Ok(Some(Lent { credentials, file }))
        }
        None => Ok(None),
    }
}

/// Credentials that nobody named, with their file.
pub(super) struct Lent {
    pub(super) credentials: Credentials,
    pub(super) file: PathBuf,
}

impl Lent {
    /// Whether they are meant for these addresses: they name one of them, or one is of another
    /// machine, which is never spoken to without any.
    pub(super) fn are_for(&self, addresses: &Addresses) -> bool {
        let known: Vec<_> = self.credentials.addresses.iter().collect();
        addresses
            .iter()
            .any(|address| known.contains(&address) || !address.is_loopback())
    }
}
