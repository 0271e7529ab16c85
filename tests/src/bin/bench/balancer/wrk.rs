//! wrk, which puts the load on: keep-alive connections with a request each under way all the time.

use std::time::Duration;

use tokio::process::Command;

/// Threads of wrk, as many as the contenders have.
pub const THREADS: usize = 2;
/// Connections kept busy.
const CONNECTIONS: usize = 64;
/// How long one measurement takes.
const LASTS: Duration = Duration::from_secs(8);

/// What wrk saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub requests_per_second: f64,
    pub p99: Duration,
    /// Answers that were no `2xx` or `3xx`, and connections that broke.
    pub errors: u64,
}

/// Asks `127.0.0.1:port` for `/`.
///
/// # Panics
/// When there is no wrk, or it says something else than it used to.
pub async fn run(port: u16) -> Seen {
    let output = Command::new("wrk")
        .args([format!("-t{THREADS}"), format!("-c{CONNECTIONS}"), format!("-d{}s", LASTS.as_secs())])
        .arg("--latency")
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()
        .await
        .expect("wrk can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    parse(&said).unwrap_or_else(|| panic!("wrk said: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

fn parse(said: &str) -> Option<Seen> {
    let value = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name).map(str::trim));
    let socket_errors = value("Socket errors:").map_or(0, numbers_in);
    let bad_answers = value("Non-2xx or 3xx responses:").map_or(0, numbers_in);
    Some(Seen {
        requests_per_second: value("Requests/sec:")?.parse().ok()?,
        p99: duration(value("99%")?)?,
        errors: socket_errors + bad_answers,
    })
}

/// The sum of the numbers in a text: `connect 0, read 3, write 0, timeout 1` is 4.
fn numbers_in(text: &str) -> u64 {
    text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// `850.00us`, `1.23ms`, `2.01s`
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let count: f64 = digits.parse().ok()?;
    let seconds = match &text[digits.len()..] {
        "us" => count / 1e6,
        "ms" => count / 1e3,
        "s" => count,
        _ => return None,
    };
    Some(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let said = "  Latency Distribution\n     50%    1.10ms\n     99%  850.00us\n  12 requests in 1s\n  \
                    Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec:  25313.97\n";
        let expected = Seen { requests_per_second: 25313.97, p99: Duration::from_micros(850), errors: 4 };
        assert_eq!(parse(said), Some(expected));
        assert_eq!(parse("unable to connect"), None);
        assert_eq!(duration("2.50ms"), Some(Duration::from_micros(2500)));
    }
}
