//! Facts about the machine that a figure is from.

use serde::Serialize;

/// The machine, as its system describes it; what it does not say is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The name of its processor.
    pub cpu: Option<String>,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// All of its memory, in bytes.
    pub memory: Option<u64>,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// How many processes wanted to run while this was measured, on average over the last minute:
    /// above `cores`, others were in the way.
    pub load: Option<f64>,
}

impl Machine {
    /// Looks at this machine, now.
    #[must_use]
    pub fn here() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        Machine {
            cpu: read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: read("/proc/meminfo")
                .and_then(|text| field(&text, "MemTotal"))
                .and_then(|value| value.split(' ').next()?.parse::<u64>().ok())
                .map(|kib| kib * 1024),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

/// The value of the first line `NAME : VALUE`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_first_line_of_a_name_is_taken() {
        let text = "processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Slow One\n";
        assert_eq!(field(text, "model name").unwrap(), "Fast One");
        assert_eq!(field(text, "model"), None);
    }
}
