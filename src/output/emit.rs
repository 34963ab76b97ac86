//! The two streams.

use std::io::Write as _;

/// Writes data to stdout.
///
/// # Errors
/// When nobody reads it any more, or the disk is full.
pub(crate) fn emit(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Says a line on stderr. When nobody listens there, there is nobody to tell that either.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
