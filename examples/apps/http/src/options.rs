//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: example-http [OPTIONS]

  --text TEXT             what / answers (default: hello from example-http)
  --file PATH             what / answers is this file, read at every request
  --host HOST             where to listen (default: $HOST, else 127.0.0.1)
  --port PORT             (default: $PORT_HTTP, else $PORT, else 8080; 0 picks one)
  --start-after DURATION  wait before listening
  --slow DURATION         wait before each answer
  --drain DURATION        after SIGTERM, go on accepting for this long (default: 0s)
  --unhealthy             /health answers 503 from the start
  --unhealthy-after DURATION
                          /health answers 503 from then on
  --crash-after DURATION  exit by itself then, with the code of --exit (default: 1)
  --exit CODE             without --crash-after: exit at once with this code
  --ignore-term           SIGTERM does nothing

DURATION: 100ms, 30s, 10m, 2h. /health also answers 503 while a file `unhealthy` is in the working directory.
Paths: /  /health  /pid  /env/NAME
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    Serve(Options),
    Help,
}

/// How to serve, and how to misbehave.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Options {
    pub(crate) text: String,
    pub(crate) file: Option<PathBuf>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) start_after: Duration,
    pub(crate) slow: Duration,
    pub(crate) drain: Duration,
    pub(crate) unhealthy_after: Option<Duration>,
    pub(crate) crash_after: Option<Duration>,
    pub(crate) exit: u8,
    pub(crate) ignore_term: bool,
}

impl Options {
    /// Reads arguments (without the program's name) and, for host and port, the environment.
    pub(crate) fn parse(
        args: impl Iterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Invocation, String> {
        let mut options = Options {
            text: "hello from example-http".into(),
            file: None,
            host: env("HOST").unwrap_or_else(|| "127.0.0.1".into()),
            port: 8080,
            start_after: Duration::ZERO,
            slow: Duration::ZERO,
            drain: Duration::ZERO,
            unhealthy_after: None,
            crash_after: None,
            exit: 1,
            ignore_term: false,
        };
        if let Some(port) = env("PORT_HTTP").or_else(|| env("PORT")) {
            options.port = parse_number(&port)?;
        }
        let mut exit = None;
        let mut args = args;
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (arg, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--help" | "-h" => return Ok(Invocation::Help),
                "--text" => options.text = value()?,
                "--file" => options.file = Some(value()?.into()),
                "--host" => options.host = value()?,
                "--port" => options.port = parse_number(&value()?)?,
                "--start-after" => options.start_after = parse_duration(&value()?)?,
                "--slow" => options.slow = parse_duration(&value()?)?,
                "--drain" => options.drain = parse_duration(&value()?)?,
                "--unhealthy" => options.unhealthy_after = Some(Duration::ZERO),
                "--unhealthy-after" => options.unhealthy_after = Some(parse_duration(&value()?)?),
                "--crash-after" => options.crash_after = Some(parse_duration(&value()?)?),
                "--exit" => exit = Some(parse_number(&value()?)?),
                "--ignore-term" => options.ignore_term = true,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if let Some(code) = exit {
            options.exit = code;
            options.crash_after.get_or_insert(Duration::ZERO);
        }
        Ok(Invocation::Serve(options))
    }
}

fn parse_number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no such number"))
}

/// Reads `100ms`, `30s`, `10m` or `2h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is no duration like 100ms or 30s"))?;
    let unit = text.get(digits.len()..).unwrap_or_default();
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} is no duration like 100ms or 30s")),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, String> {
        Options::parse(args.iter().map(|a| (*a).to_owned()), |name| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    fn options(args: &[&str], env: &[(&str, &str)]) -> Options {
        match parse(args, env) {
            Ok(Invocation::Serve(options)) => options,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_port_comes_from_the_flag_then_port_http_then_port() {
        assert_eq!(
            options(&["--port", "1"], &[("PORT_HTTP", "2"), ("PORT", "3")]).port,
            1
        );
        assert_eq!(options(&[], &[("PORT_HTTP", "2"), ("PORT", "3")]).port, 2);
        assert_eq!(options(&[], &[("PORT", "3")]).port, 3);
        assert_eq!(options(&[], &[]).port, 8080);
    }

    #[test]
    fn exit_without_crash_after_means_at_once() {
        let parsed = options(&["--exit", "7"], &[]);
        assert_eq!((parsed.exit, parsed.crash_after), (7, Some(Duration::ZERO)));
        let parsed = options(&["--exit=7", "--crash-after=2s"], &[]);
        assert_eq!(
            (parsed.exit, parsed.crash_after),
            (7, Some(Duration::from_secs(2)))
        );
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in [
            "",
            "5",
            "ms",
            "-1s",
            "1d",
            "99999999999999999999s",
            "99999999999999999h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(
            parse(&["--txet", "x"], &[]),
            Err("unknown option --txet".into())
        );
        assert_eq!(parse(&["--text"], &[]), Err("--text needs a value".into()));
    }
}
