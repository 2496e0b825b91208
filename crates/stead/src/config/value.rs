//! The types of settings, and what is wrong with a value that is not of its type.

use stead_model::Digest;

/// What the value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    Text,
    Path,
    Url,
    Digest,
    /// What `tracing` filters by.
    Filter,
    Choice(&'static [&'static str]),
    Integer {
        min: u64,
        max: u64,
    },
}

impl ValueType {
    /// Checks a value; the error says what was expected.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let wrong = || Err(format!("{value:?}: expected {}", self.expected()));
        match self {
            Self::Text | Self::Path => {
                if value.is_empty() {
                    wrong()
                } else {
                    Ok(())
                }
            }
            Self::Url => match reqwest::Url::parse(value) {
                Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(()),
                _ => wrong(),
            },
            Self::Digest => {
                if value.parse::<Digest>().is_ok() {
                    Ok(())
                } else {
                    wrong()
                }
            }
            Self::Filter => match tracing_subscriber::EnvFilter::try_new(value) {
                Ok(_) => Ok(()),
                Err(_) => wrong(),
            },
            Self::Choice(words) => {
                if words.contains(&value) {
                    Ok(())
                } else {
                    wrong()
                }
            }
            Self::Integer { min, max } => match value.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => wrong(),
            },
        }
    }

    /// What a value looks like, in words.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Url => "a URL such as https://fleet.example.org:6443".to_owned(),
            Self::Digest => "`sha256:` and 64 lower-case hexadecimal digits".to_owned(),
            Self::Filter => "error, warn, info, debug, trace or a filter such as stead_wire=debug".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
        }
    }

    /// The name of the type in a file.
    pub(crate) const fn file_type(self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            _ => "string",
        }
    }

    /// What stands for a value in the help.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Path => "PATH",
            Self::Url => "URL",
            Self::Digest => "DIGEST",
            Self::Filter => "LEVEL",
            Self::Choice(_) => "WORD",
            Self::Integer { .. } => "NUMBER",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        let cases = [
            (ValueType::Url, "https://a:1", None),
            (ValueType::Url, "fleet.example.org:6443", Some("a URL")),
            (ValueType::Digest, "sha256:00", Some("64")),
            (ValueType::Choice(&["a", "b"]), "c", Some("one of a, b")),
            (ValueType::Integer { min: 1, max: 5 }, "5", None),
            (ValueType::Integer { min: 1, max: 5 }, "6", Some("from 1 to 5")),
            (ValueType::Filter, "info", None),
            (ValueType::Filter, "a=b=c", Some("error, warn")),
            (ValueType::Path, "", Some("a path")),
        ];
        for (value_type, value, expected) in cases {
            match (value_type.check(value), expected) {
                (Ok(()), None) => {}
                (Err(message), Some(word)) => assert!(message.contains(word), "{message}"),
                (outcome, expected) => panic!("{value}: {outcome:?}, expected {expected:?}"),
            }
        }
    }
}
