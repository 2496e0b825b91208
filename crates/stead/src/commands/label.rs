//! Labels on the command line: `KEY=VALUE`.

use std::str::FromStr;

use stead_model::{validate_label_key, validate_label_value};

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is no label; write KEY=VALUE"))?;
        validate_label_key(key).and_then(|()| validate_label_value(value)).map_err(|error| error.to_string())?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// The labels as objects hold them; of two values for one key the later stands.
pub(crate) fn to_map(labels: &[Label]) -> std::collections::BTreeMap<String, String> {
    labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect()
}
