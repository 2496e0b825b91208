//! The configuration file, TOML or JSON: read strictly, and written without losing what a person put there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::table::{SETTINGS, Setting, by_name};
use super::value::ValueType;
use crate::private_file::{self, WriteFileError};

/// The largest configuration file in bytes: a screen of settings is some thousand.
const CONFIG_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The settings that a file holds.
pub(super) type FileValues = BTreeMap<&'static str, Vec<String>>;

/// Why the configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration file {} is larger than {CONFIG_FILE_BYTES_MAX} bytes", path.display())]
    Large { path: PathBuf },
    #[error("{}:{line}: {message}", path.display())]
    Wrong { path: PathBuf, line: usize, message: String },
    #[error("cannot write the configuration file")]
    Write(#[from] WriteFileError),
}

/// Reads the file; one that nobody named may be absent.
pub(super) fn read(path: &Path, must_exist: bool) -> Result<FileValues, ConfigFileError> {
    Ok(read_text(path, must_exist)?.map(|text| parse(path, &text)).transpose()?.unwrap_or_default())
}

fn read_text(path: &Path, must_exist: bool) -> Result<Option<String>, ConfigFileError> {
    let read = |source| ConfigFileError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > CONFIG_FILE_BYTES_MAX => Err(ConfigFileError::Large { path: path.to_owned() }),
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(read),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(read(error)),
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn parse(path: &Path, text: &str) -> Result<FileValues, ConfigFileError> {
    let wrong = |line, message| ConfigFileError::Wrong { path: path.to_owned(), line, message };
    if is_json(path) {
        let mut reader = serde_json::Deserializer::from_str(text);
        let values = reader.deserialize_map(FileVisitor).and_then(|values| reader.end().map(|()| values));
        return values.map_err(|error| {
            let message = error.to_string();
            let end = message.rfind(" at line ").unwrap_or(message.len());
            wrong(error.line(), message.get(..end).unwrap_or(&message).to_owned())
        });
    }
    let located = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        wrong(line, error.message().to_owned())
    };
    toml::Deserializer::parse(text).and_then(|reader| reader.deserialize_map(FileVisitor)).map_err(located)
}

/// Reads the whole file by the table of settings.
struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = FileValues;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("settings with their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileValues, A::Error> {
        let mut values = FileValues::new();
        while let Some(setting) = map.next_key_seed(NameSeed(&values))? {
            let found = map.next_value_seed(ValueSeed(setting))?;
            values.insert(setting.name, found);
        }
        Ok(values)
    }
}

/// Reads the name of a setting. The error comes from here, so that it carries the name's own line.
struct NameSeed<'a>(&'a FileValues);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = &'static Setting;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let name: String = serde::Deserialize::deserialize(deserializer)?;
        let setting = by_name(&name).ok_or_else(|| {
            let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            D::Error::custom(format_args!("there is no setting `{name}`; there are {}", known.join(", ")))
        })?;
        if self.0.contains_key(setting.name) {
            return Err(D::Error::custom(format_args!("`{name}` is set twice")));
        }
        Ok(setting)
    }
}

/// Reads the value of a setting, with its type.
struct ValueSeed(&'static Setting);

impl ValueSeed {
    fn checked<E: serde::de::Error>(&self, text: String) -> Result<Vec<String>, E> {
        match self.0.value_type.check(&text) {
            Ok(()) => Ok(vec![text]),
            Err(message) => Err(E::custom(format_args!("`{}` is {message}", self.0.name))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = if self.0.several { ", or a list of them," } else { "" };
        write!(
            formatter,
            "for `{}` the type {}{several} which is {}",
            self.0.name,
            self.0.value_type.file_type(),
            self.0.value_type.expected()
        )
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        if matches!(self.0.value_type, ValueType::Integer { .. }) {
            return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self));
        }
        self.checked(text.to_owned())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Vec<String>, E> {
        if matches!(self.0.value_type, ValueType::Integer { .. }) {
            return self.checked(number.to_string());
        }
        Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Vec<String>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        if !self.0.several {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut values = Vec::new();
        while let Some(item) = items.next_element_seed(ValueSeed(self.0))? {
            values.extend(item);
        }
        Ok(values)
    }
}

/// Sets settings in the file; lines of a TOML file that are about others stay as they are, comments too.
pub(crate) fn write_values(path: &Path, values: &[(&'static str, Vec<String>)]) -> Result<(), ConfigFileError> {
    let text = read_text(path, false)?.unwrap_or_default();
    if !text.is_empty() {
        parse(path, &text)?;
    }
    let written = if is_json(path) { set_json(path, &text, values)? } else { set_toml(&text, values) };
    // A mistake of ours must not leave a file that the next command refuses.
    parse(path, &written)?;
    Ok(private_file::write(path, written.as_bytes())?)
}

fn set_toml(text: &str, values: &[(&'static str, Vec<String>)]) -> String {
    let name_of = |line: &str| line.split_once('=').map(|(name, _)| name.trim().trim_matches('"').to_owned());
    let replaced = |line: &&str| name_of(line).is_some_and(|name| values.iter().any(|(wanted, _)| *wanted == name));
    let kept = text.lines().filter(|line| !replaced(line)).map(|line| format!("{line}\n"));
    let written = |values: &Vec<String>| match values.as_slice() {
        [one] => toml::Value::String(one.clone()),
        several => toml::Value::Array(several.iter().cloned().map(toml::Value::String).collect()),
    };
    let set = values.iter().map(|(name, values)| format!("{name} = {}\n", written(values)));
    kept.chain(set).collect()
}

fn set_json(path: &Path, text: &str, values: &[(&'static str, Vec<String>)]) -> Result<String, ConfigFileError> {
    let wrong = |error: serde_json::Error| ConfigFileError::Wrong {
        path: path.to_owned(),
        line: error.line(),
        message: error.to_string(),
    };
    let text = if text.is_empty() { "{}" } else { text };
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(wrong)?;
    for (name, values) in values {
        let value = match values.as_slice() {
            [one] => one.as_str().into(),
            several => several.into(),
        };
        members.insert((*name).to_owned(), value);
    }
    Ok(serde_json::to_string_pretty(&members).map_err(wrong)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let cases = [
            ("a.toml", "output = \"json\"\nserverr = \"x\"\n", 2, "there is no setting `serverr`; there are server,"),
            ("a.toml", "\n\noutput = 5\n", 3, "for `output` the type string"),
            ("a.toml", "request_timeout_seconds = \"5\"\n", 1, "for `request_timeout_seconds` the type integer"),
            ("a.toml", "request_timeout_seconds = 0\n", 1, "a whole number from 1 to 3600"),
            ("a.toml", "output = \"json\"\noutput = \"yaml\"\n", 2, "duplicate key"),
            ("a.toml", "[server]\n", 1, "for `server` the type string"),
            ("a.toml", "server = \n", 1, ""),
            ("a.json", "{\n  \"output\": \"jso\"\n}", 2, "one of table, wide, json, yaml, name"),
            ("a.json", "{\n  \"outputt\": \"json\"\n}", 2, "there is no setting `outputt`"),
            ("a.json", "{\n  \"output\": \"json\",\n  \"output\": \"json\"\n}", 3, "`output` is set twice"),
            ("a.json", "{} {}", 1, "trailing"),
        ];
        for (path, text, expected_line, expected) in cases {
            match parse(Path::new(path), text) {
                Err(ConfigFileError::Wrong { line, message, .. }) => {
                    assert!(message.contains(expected), "{text:?}: {message}");
                    assert_eq!(line, expected_line, "{text:?}: {message}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn keys_may_be_several() {
        for (path, text) in [("a.toml", "key = [\"a\", \"b\"]"), ("a.json", "{\"key\": [\"a\", \"b\"]}")] {
            assert_eq!(parse(Path::new(path), text).unwrap()["key"], ["a", "b"]);
        }
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let text = "# mine\nserver = \"https://old:1\" # was right\noutput = \"wide\"\n";
        let written = set_toml(text, &[("server", vec!["https://new:2".to_owned()])]);
        assert_eq!(written, "# mine\noutput = \"wide\"\nserver = \"https://new:2\"\n");
        let written =
            set_json(Path::new("a.json"), "{\"output\": \"wide\"}", &[("server", vec!["https://new:2".to_owned()])]).unwrap();
        assert_eq!(parse(Path::new("a.json"), &written).unwrap().len(), 2);
    }
}
