//! The vitals that a machine kept while nobody could hear it: as many as tell the whole time, in little room. Pure.

use stead_model::Vitals;

/// Samples kept of one machine: with some 200 bytes each, what a status may grow by, as the whole record is in memory.
pub const VITALS_HISTORY_MAX: usize = 32;

/// Puts new samples to those that are there, by time. Where there are too many, the one goes that leaves the smallest gap: so the first
/// and the last stay, and what is between tells of the whole time.
pub fn plan(present: &[Vitals], new: impl IntoIterator<Item = Vitals>) -> Vec<Vitals> {
    let mut samples: Vec<Vitals> = present.iter().cloned().chain(new).filter(|sample| sample.measured_at.is_some()).collect();
    samples.sort_by_key(|sample| sample.measured_at);
    samples.dedup_by_key(|sample| sample.measured_at);
    while samples.len() > VITALS_HISTORY_MAX {
        let gap = |window: &[Vitals]| match window {
            [before, _, after] => seconds(after).saturating_sub(seconds(before)),
            _ => i64::MAX,
        };
        let smallest = samples.windows(3).enumerate().min_by_key(|(_, window)| gap(window)).map(|(at, _)| at.saturating_add(1));
        let Some(at) = smallest else { break };
        samples.remove(at);
    }
    samples
}

fn seconds(sample: &Vitals) -> i64 {
    sample.measured_at.map_or(0, jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64) -> Vitals {
        Vitals { measured_at: jiff::Timestamp::from_second(second).ok(), ..Vitals::default() }
    }

    #[test]
    fn a_long_time_is_told_by_few_samples() {
        let month = (0..2_880).map(|number| sample(number * 900));
        let told = plan(&[], month);
        assert_eq!(told.len(), VITALS_HISTORY_MAX);
        assert_eq!((seconds(&told[0]), seconds(told.last().unwrap())), (0, 2_879 * 900));
        let gaps: Vec<i64> = told.windows(2).map(|pair| seconds(&pair[1]) - seconds(&pair[0])).collect();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*most <= least * 4, "no part of the time is left out: {gaps:?}");
    }

    #[test]
    fn a_sample_is_told_once_and_in_its_place() {
        let told = plan(&[sample(10), sample(30)], [sample(20), sample(30), Vitals::default()]);
        assert_eq!(told, [sample(10), sample(20), sample(30)]);
    }
}
