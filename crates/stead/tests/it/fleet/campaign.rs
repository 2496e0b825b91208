//! Coordinator and agents killed at random moments under a stream of signed changes: nothing acknowledged is lost, no machine goes
//! back in any object's sequence, and every machine converges when the killing stops.

use std::collections::BTreeMap;

use super::campaign_rounds::{Campaign, Moment, Victim};

/// The kills of a full campaign.
const KILLS_FULL: u32 = 200;
/// The kills where nothing says how many.
const KILLS_DEFAULT: u32 = 20;
/// The seed where nothing says which.
const SEED_DEFAULT: u64 = 0x5eed;

#[test]
fn campaign_kills() {
    let seed = std::env::var("STEAD_CAMPAIGN_SEED").map_or(SEED_DEFAULT, |seed| seed.parse().unwrap());
    let kills = crate::share::of("kills", KILLS_FULL, KILLS_DEFAULT);
    println!("kills: seed {seed}");
    let mut campaign = Campaign::start(seed);
    let mut occurred: BTreeMap<(Victim, Moment), u32> = BTreeMap::new();
    for round in 0..kills {
        // Every fault is aimed at in turn, in an order that the seed shuffles within each turn; what is counted is what really occurred.
        let fault = campaign.round(round);
        *occurred.entry(fault).or_default() += 1;
    }
    let acknowledged = campaign.finish();
    println!("kills: ran {kills}/{KILLS_FULL}, {acknowledged} changes acknowledged");
    let count = |fits: &dyn Fn(&(Victim, Moment)) -> bool| -> u32 {
        occurred.iter().filter(|(fault, _)| fits(fault)).map(|(_, count)| count).sum()
    };
    let victims = Victim::ALL.map(|victim| (format!("{victim:?}"), count(&|fault| fault.0 == victim)));
    let moments = Moment::ALL.map(|moment| (format!("{moment:?}"), count(&|fault| fault.1 == moment)));
    for (name, count) in victims.iter().chain(&moments) {
        println!("kills: {name}: {count}");
    }
    for ((victim, moment), count) in &occurred {
        println!("kills: {victim:?} while {moment:?}: {count}");
    }
    let never: Vec<&String> = victims.iter().chain(&moments).filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert!(never.is_empty(), "faults that never occurred: {never:?}");
}
