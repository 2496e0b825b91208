//! `cargo xtask openapi`: writes the OpenAPI documents that are served to where they are kept on file, and the table of limits.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::Tools;

/// `cargo xtask openapi [--new]`: over the newest version, or as a new one.
pub(crate) fn openapi(words: &[&str]) -> Outcome {
    let order = match words {
        [] => "rewrite",
        ["--new"] => "new",
        _ => return Err(Failure::Usage("openapi takes only --new".to_owned())),
    };
    let runner = Tools::install_runner()?;
    let mut nextest = crate::tools::subcommand(&runner, "nextest");
    nextest.args(["run", "--package", "stead-api", "--cargo-quiet", "-E"]);
    nextest.arg("test(what_is_served_is_the_newest_on_file) | test(the_table_of_limits_is_the_one_of_the_code)");
    command::run(nextest.env("STEAD_OPENAPI", order).env("STEAD_LIMITS", "rewrite"))?;
    eprintln!("crates/api/openapi and docs/limits.md are written: look at the difference before you commit it");
    Ok(())
}
