//! How much of a campaign is run.

/// All of it, or the share that `STEAD_CAMPAIGN_SHARE` names, such as `kills=20,history=2`, or as much as where nothing says how much.
pub(crate) fn of<T: std::str::FromStr>(campaign: &str, full: T, default: T) -> T {
    if std::env::var("STEAD_CAMPAIGN_FULL").is_ok_and(|full| full == "1") {
        return full;
    }
    let share = std::env::var("STEAD_CAMPAIGN_SHARE").unwrap_or_default();
    let own = share.split(',').find_map(|part| part.trim().strip_prefix(campaign)?.strip_prefix('='));
    own.map_or(default, |count| count.parse().ok().unwrap_or_else(|| panic!("STEAD_CAMPAIGN_SHARE: {count} is no number")))
}
