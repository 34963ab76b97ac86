//! What a program must not inherit: descriptors that somebody left open for all children, and
//! signals that somebody ignored.

use std::fs;

use tokio::signal::unix::{SignalKind, signal};

/// The standard library resets this one by itself where a program is started.
const SIGPIPE: i32 = 13;
pub(super) const SIGCHLD: i32 = 17;

/// Keeps every descriptor above standard error from whatever this process starts or becomes.
pub fn keep_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Makes signals that came ignored come as to any program, in whatever this process becomes: a
/// signal that is caught is set back to its default when another program is loaded, one that is
/// ignored is not. Starts no thread.
pub(super) fn stop_ignoring(is_meant: impl Fn(i32) -> bool) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = parse_ignored(&status).into_iter();
    let meant: Vec<i32> = ignored
        .filter(|number| *number != SIGPIPE && is_meant(*number))
        .collect();
    if meant.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    if let Ok(runtime) = runtime {
        let _inside = runtime.enter();
        for number in meant {
            // Those that cannot be caught cannot do harm by being ignored either.
            drop(signal(SignalKind::from_raw(number)));
        }
    }
}

/// Reads which signals a process ignores, by their numbers; without those that the C library keeps
/// to itself.
fn parse_ignored(status: &str) -> Vec<i32> {
    let mask = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.unwrap_or_default();
    (1..=64)
        .filter(|number| mask >> (number - 1) & 1 == 1 && !matches!(number, 32 | 33))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_by_their_numbers() {
        let status = "SigBlk:\t0000000000000001\nSigIgn:\t0000000180001006\nSigCgt:\t0\n";
        assert_eq!(parse_ignored(status), [2, 3, 13]);
        assert!(parse_ignored("").is_empty());
    }
}
