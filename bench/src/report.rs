//! One line of JSON a value, in the form of the design's budgets.

use crate::failure::BenchError;
use crate::registry::{Bench, Budget};
use crate::sample::Samples;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Measures, and prints those of its values that were asked for; none asked means all.
pub(crate) fn measure(bench: &Bench, asked: &[String]) -> Result<(), BenchError> {
    let before = load_average()?;
    let start = Instant::now();
    let all = (bench.run)()?;
    let took = start.elapsed();
    let load = [before, load_average()?];
    for (budget, samples) in bench.budgets.iter().zip(&all) {
        if asked.is_empty() || asked.iter().any(|id| id == budget.id) {
            println!("{}", line(budget, samples, took, load));
        }
    }
    Ok(())
}

fn line(budget: &Budget, samples: &Samples, took: Duration, load: [f64; 2]) -> Value {
    let value = samples.value();
    let peer = samples.peer.as_ref().map(|peer| json!({ "name": peer.name, "value": round(peer.value) }));
    let mut line = json!({
        "id": budget.id,
        "what": budget.what,
        "value": round(value),
        "unit": budget.unit,
        "budget": budget.limit.number(),
        "within": budget.limit.holds(value),
        "peer": peer,
        "n": samples.values.len(),
        "warmup": samples.warmup,
        "seconds": round(took.as_secs_f64()),
        "load": load,
    });
    if let (Some(p50), Some(members)) = (samples.p50(), line.as_object_mut()) {
        members.insert("p50".to_owned(), json!(round(p50)));
    }
    line
}

/// Three decimals: more is noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The machine's load average over one minute.
fn load_average() -> Result<f64, BenchError> {
    let path = Path::new("/proc/loadavg");
    let text = std::fs::read_to_string(path).map_err(|source| BenchError::File { path: path.to_path_buf(), source })?;
    Ok(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Limit;
    use crate::sample::Peer;

    #[test]
    fn a_line_has_the_fields_of_the_design() {
        let budget = Budget { id: "x", what: "y", unit: "s", limit: Limit::AtMost(3.0) };
        let peer = Some(Peer { name: "other", value: 9.0 });
        let samples = Samples { values: vec![2.0, 3.5, 1.00049], warmup: 1, peer, ..Samples::default() };
        let printed = line(&budget, &samples, Duration::from_secs(7), [0.5, 1.5]);
        let expected = json!({
            "id": "x", "what": "y", "value": 2.0, "unit": "s", "budget": 3.0, "within": true,
            "peer": { "name": "other", "value": 9.0 }, "n": 3, "warmup": 1, "seconds": 7.0, "load": [0.5, 1.5],
        });
        assert_eq!(printed, expected);
        let samples = Samples { values: vec![2.0, 3.5, 1.0], percentile: 99, ..Samples::default() };
        let printed = line(&budget, &samples, Duration::ZERO, [0.0, 0.0]);
        assert_eq!((printed.get("value"), printed.get("p50")), (Some(&json!(3.5)), Some(&json!(2.0))));
    }

    #[test]
    fn nothing_measured_is_not_within() {
        for limit in [Limit::AtMost(3.0), Limit::AtLeast(3.0)] {
            let budget = Budget { id: "x", what: "", unit: "s", limit };
            let printed = line(&budget, &Samples::default(), Duration::ZERO, [0.0, 0.0]);
            assert_eq!(printed.get("within"), Some(&Value::Bool(false)));
        }
    }
}
