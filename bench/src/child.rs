//! Measurements in a process of their own, whose memory is that of what is measured and nothing else.

use crate::failure::BenchError;
use crate::{herd, record};
use std::path::Path;
use std::process::{Command, Stdio};

/// The private first word of the command line.
pub(crate) const FIRST_WORD: &str = "child";

/// Runs what the words after the first ask for, and prints its values on one line.
pub(crate) fn run(words: &[String]) -> Result<(), BenchError> {
    let answer = match words {
        [what, path] if what == "load" => record::load_once(Path::new(path))?,
        [what, first, count, folder] if what == "agents" => {
            let number = |word: &String| word.parse().map_err(BenchError::step("reading the command line"));
            return herd::agents(number(first)?, number(count)?, Path::new(folder));
        }
        other => return Err(BenchError::Answer { program: FIRST_WORD.to_owned(), answer: other.join(" ") }),
    };
    let words: Vec<String> = answer.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}

/// Starts this program again for one round, and returns the values that it prints.
pub(crate) fn measure<const COUNT: usize>(what: &str, path: &Path) -> Result<[f64; COUNT], BenchError> {
    let failed = |source| BenchError::Program { program: what.to_owned(), source };
    let own = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(own);
    command.args([FIRST_WORD, what]).arg(path).stderr(Stdio::inherit());
    let output = command.output().map_err(failed)?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let values: Vec<f64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
    <[f64; COUNT]>::try_from(values).map_err(|_| BenchError::Answer { program: what.to_owned(), answer })
}

/// This process's status.
pub(crate) const OWN_STATUS: &str = "/proc/self/status";

/// A process's resident memory, in KiB, out of its status.
pub(crate) fn resident_kib(path: &Path) -> Result<f64, BenchError> {
    let text = std::fs::read_to_string(path).map_err(|source| BenchError::File { path: path.to_path_buf(), source })?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| BenchError::Answer { program: path.display().to_string(), answer: text.clone() })
}
