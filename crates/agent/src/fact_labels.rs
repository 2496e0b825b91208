//! Labels made of facts. They count for selectors only where the trust root says so.

use std::collections::BTreeMap;

use stead_model::{FACT_LABEL_PREFIX, Facts, validate_label_value};

/// The labels that a machine's facts make, all under `facts.stead.dev/`. A value that is no label is left out.
pub fn fact_labels(facts: &Facts) -> BTreeMap<String, String> {
    let os = facts.os.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let pairs = [
        ("architecture", facts.architecture.clone()),
        ("hostname", facts.hostname.clone()),
        ("kernel", facts.kernel.clone()),
        ("machine-id", facts.machine_id.clone()),
        ("os", os),
    ];
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty() && validate_label_value(value).is_ok())
        .map(|(name, value)| (format!("{FACT_LABEL_PREFIX}{name}"), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_become_labels() {
        let facts = Facts {
            os: "Debian GNU/Linux 12".into(),
            architecture: "x86_64".into(),
            hostname: "not a label".into(),
            ..Facts::default()
        };
        let labels = fact_labels(&facts);
        assert_eq!(labels.get("facts.stead.dev/os").map(String::as_str), Some("debian"));
        assert_eq!(labels.get("facts.stead.dev/architecture").map(String::as_str), Some("x86_64"));
        assert_eq!(labels.len(), 2);
    }
}
