//! `cargo xtask metrics`: writes the page that lists every metric from what a running coordinator and a running agent expose.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::Tools;

/// `cargo xtask metrics`.
pub(crate) fn metrics(words: &[&str]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(Failure::Usage(format!("metrics takes no \"{word}\"")));
    }
    let runner = Tools::install_runner()?;
    let mut nextest = crate::tools::subcommand(&runner, "nextest");
    nextest.args(["run", "--package", "stead", "--cargo-quiet", "-E", "test(every_metric_is_on_the_page)"]);
    command::run(nextest.env("STEAD_METRICS_PAGE", "rewrite"))?;
    eprintln!("docs/metrics.md is written: look at the difference before you commit it");
    Ok(())
}
