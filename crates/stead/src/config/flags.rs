//! The flags of the settings, made from the table, so that help, parser and file never say different things.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint, value_parser};

use super::table::{SETTINGS, Setting};
use super::value::ValueType;

/// The heading of the settings in the help.
const HEADING: &str = "Settings (see `stead config show`)";

/// The settings that were typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    config_file: Option<PathBuf>,
    values: BTreeMap<&'static str, Vec<String>>,
}

impl SettingFlags {
    pub(crate) fn config_file(&self) -> Option<&PathBuf> {
        self.config_file.as_ref()
    }

    pub(crate) fn values(&self, name: &str) -> Option<&[String]> {
        self.values.get(name).map(Vec::as_slice)
    }
}

fn arg(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.doc, setting.env);
    if !setting.default.is_empty() {
        help.push_str(&format!(" [default: {}]", setting.default));
    }
    let action = if setting.several { ArgAction::Append } else { ArgAction::Set };
    let mut arg = Arg::new(setting.name)
        .long(setting.flag)
        .value_name(setting.value_type.placeholder())
        .help(help)
        .help_heading(HEADING)
        .global(true)
        .action(action);
    if let Some(short) = setting.short {
        arg = arg.short(short);
    }
    if setting.name == "ca_file" {
        arg = arg.visible_alias("ca");
    }
    match setting.value_type {
        ValueType::Choice(words) => arg.value_parser(PossibleValuesParser::new(words)).hide_possible_values(false),
        ValueType::Path => arg.value_hint(ValueHint::AnyPath),
        ValueType::Url => arg.value_hint(ValueHint::Url),
        _ => arg,
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config_file")
            .long("config")
            .value_name("FILE")
            .help(
                "The configuration file, TOML or JSON [env: STEAD_CONFIG] [default: ~/.config/stead/config.toml or config.json]",
            )
            .help_heading(HEADING)
            .global(true)
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf));
        SETTINGS.iter().fold(command.arg(config), |command, setting| command.arg(arg(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config_file = matches.get_one::<PathBuf>("config_file").cloned();
        for setting in &SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.values.insert(setting.name, values.cloned().collect());
            }
        }
        Ok(())
    }
}
