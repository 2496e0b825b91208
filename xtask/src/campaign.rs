//! Long campaigns: tests whose name starts with `campaign_`, in full or the share that `test` runs.
//!
//! A campaign test reads `STEAD_CAMPAIGN_FULL` (set to `1` for all of it) and otherwise its own number in
//! `STEAD_CAMPAIGN_SHARE` (`NAME=COUNT`, separated by commas). `STEAD_CAMPAIGN_SEED` is where its choices come from.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::Tools;
use std::process::Command;

/// The campaigns, and how many rounds of each `test` runs.
const CAMPAIGNS: [(&str, u32); 4] = [("kills", 20), ("forgeries", 200), ("history", 2), ("delivery", 15)];

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    name: &'a str,
    /// How many rounds; none for all of them.
    rounds: Option<u32>,
    seed: Option<u64>,
}

impl<'a> Plan<'a> {
    fn read(words: &[&'a str]) -> Option<Self> {
        let (name, mut rest) = words.split_first()?;
        let (name, share) = CAMPAIGNS.iter().find(|(campaign, _)| campaign == name).map(|(_, share)| (*name, *share))?;
        let mut plan = Self { name, rounds: None, seed: None };
        loop {
            rest = match rest {
                [] => return Some(plan),
                ["--full", rest @ ..] => rest,
                ["--share", rest @ ..] => {
                    plan.rounds = Some(share);
                    rest
                }
                ["--rounds", count, rest @ ..] => {
                    plan.rounds = Some(count.parse().ok().filter(|count| *count > 0)?);
                    rest
                }
                ["--seed", seed, rest @ ..] => {
                    plan.seed = Some(seed.parse().ok()?);
                    rest
                }
                _ => return None,
            };
        }
    }
}

/// `cargo xtask campaign kills|forgeries|history|delivery [--full | --share | --rounds N] [--seed S]`.
pub(crate) fn campaign(words: &[&str]) -> Outcome {
    let usage = "campaign takes kills, forgeries, history or delivery, then --full, --share or --rounds N, and --seed S";
    let plan = Plan::read(words).ok_or_else(|| Failure::Usage(usage.to_owned()))?;
    let tools = Tools::install()?;
    let mut command = tools.nextest();
    command.args(["run", "--workspace", "--cargo-quiet", "--no-capture"]);
    command.args(["-E", &format!("test(/(^|::)campaign_{}/)", plan.name)]);
    match plan.rounds {
        Some(rounds) => command.env_remove("STEAD_CAMPAIGN_FULL").env("STEAD_CAMPAIGN_SHARE", format!("{}={rounds}", plan.name)),
        None => command.env("STEAD_CAMPAIGN_FULL", "1"),
    };
    if let Some(seed) = plan.seed {
        command.env("STEAD_CAMPAIGN_SEED", seed.to_string());
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
        assert_eq!(share(), "kills=20,forgeries=200,history=2,delivery=15");
    }

    #[test]
    fn rounds_and_seed_can_be_chosen() {
        let plan = |words| Plan::read(words).unwrap();
        assert_eq!(plan(&["history"]), Plan { name: "history", rounds: None, seed: None });
        assert_eq!(plan(&["history", "--share"]), Plan { name: "history", rounds: Some(2), seed: None });
        let chosen = Plan { name: "history", rounds: Some(1), seed: Some(7) };
        assert_eq!(plan(&["history", "--seed", "7", "--rounds", "1"]), chosen);
    }

    #[test]
    fn an_unknown_campaign_is_refused() {
        for bad in [&[][..], &["storms"], &["kills", "--half"], &["kills", "--rounds", "0"], &["kills", "--seed"]] {
            assert!(matches!(campaign(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
