//! Long campaigns: tests whose name starts with `campaign_`, in full or the share that `test` runs.
//!
//! A campaign test reads `STEAD_CAMPAIGN_FULL` (set to `1` for all of it) and otherwise its own number in
//! `STEAD_CAMPAIGN_SHARE` (`NAME=COUNT`, separated by commas).

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::Tools;
use std::process::Command;

/// The campaigns, and how many rounds of each `test` runs.
const CAMPAIGNS: [(&str, u32); 2] = [("kills", 20), ("forgeries", 200)];

/// `cargo xtask campaign kills|forgeries [--share]`.
pub(crate) fn campaign(words: &[&str]) -> Outcome {
    let known = |name: &str| CAMPAIGNS.iter().any(|(campaign, _)| *campaign == name);
    let (name, full) = match words {
        [name] | [name, "--full"] if known(name) => (name, true),
        [name, "--share"] if known(name) => (name, false),
        _ => return Err(Failure::Usage("campaign takes kills or forgeries, and --full or --share".to_owned())),
    };
    let tools = Tools::install()?;
    let mut command = tools.nextest();
    command.args(["run", "--workspace", "--cargo-quiet", "--no-capture"]);
    command.args(["-E", &format!("test(/(^|::)campaign_{name}/)")]);
    if full {
        command.env("STEAD_CAMPAIGN_FULL", "1");
    } else {
        command.env("STEAD_CAMPAIGN_SHARE", share());
    }
    command::run(&mut command)
}

/// Makes of a bare `cargo nextest` the run of every campaign's share.
pub(crate) fn shares(command: &mut Command) -> &mut Command {
    command.args(["run", "--workspace", "--cargo-quiet", "-E", "test(/(^|::)campaign_/)"]);
    command.env_remove("STEAD_CAMPAIGN_FULL").env("STEAD_CAMPAIGN_SHARE", share())
}

fn share() -> String {
    CAMPAIGNS.iter().map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_names_every_campaign() {
        assert_eq!(share(), "kills=20,forgeries=200");
    }

    #[test]
    fn an_unknown_campaign_is_refused() {
        for bad in [&[][..], &["storms"], &["kills", "--half"]] {
            assert!(matches!(campaign(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
