//! Profile: what the machines that a selector matches should be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::name::{validate_label_key, validate_label_value, validate_name};
use crate::schema::{Cause, CauseReason};
use crate::table::{Column, ColumnFormat};
use crate::{ObjectMeta, Selector};

/// The most bytes of one file's content in a Profile: larger files travel as blobs, not in messages.
pub const FILE_CONTENT_BYTES_MAX: usize = 1 << 20;
/// The most entries of each list of a Profile: bounds what one signed object may ask of a machine.
pub const PROFILE_ENTRIES_MAX: usize = 1_000;
/// The default and the longest time a command may take, in seconds.
pub const COMMAND_TIMEOUT_SECONDS_DEFAULT: u32 = 300;
/// The longest time a command may be given, in seconds: a day.
pub const COMMAND_TIMEOUT_SECONDS_MAX: u32 = 86_400;

/// What the machines that its selector matches should be: files, directories, links, and commands with a check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the owners want.
    pub spec: ProfileSpec,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProfileStatus>,
}

/// What the owners want of the machines that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Which machines, by their labels; `{}` means every machine.
    pub selector: Selector,
    /// Files with their content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<File>,
    /// Directories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub directories: Vec<Directory>,
    /// Symbolic links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub links: Vec<Link>,
    /// Commands, run where their check fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub commands: Vec<Command>,
}

/// A file. What it replaces is saved, and put back when the wish goes away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Where: an absolute path without `.` and `..`.
    pub path: String,
    /// The content as text; absent means empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The content in base64 (RFC 4648 section 4), for what is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Permissions in octal digits, such as `"0644"` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner, by name or number; by default whoever the agent runs as, which is root on a real machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number; by default that of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A directory. One that was made is removed again, if it is empty then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Where: an absolute path without `.` and `..`.
    pub path: String,
    /// Permissions in octal digits, such as `"0755"` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner, by name or number; by default whoever the agent runs as, which is root on a real machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number; by default that of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Where: an absolute path without `.` and `..`.
    pub path: String,
    /// What it points at.
    pub target: String,
}

/// A command that is run where its check fails; then the check must pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// A name, unique in the profile.
    pub name: String,
    /// The program and its arguments that exit with 0 where all is well.
    pub check: Vec<String>,
    /// The program and its arguments that are run where the check fails.
    pub run: Vec<String>,
    /// What is run when the wish goes away; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Vec<String>>,
    /// The longest each of them may take, in seconds (default 300).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Paths and commands (`command:NAME`) of the same profile that must be in place first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// What became of a Profile over the machines that it matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileStatus {
    /// `Converged`, `Conflict`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Machines that the selector matches.
    pub machines: u64,
    /// Those that have this generation and are as it says.
    pub converged: u64,
    /// Those where something of it fails.
    pub failed: u64,
    /// The sequence that these numbers speak of.
    pub sequence: u64,
    /// The generation that these numbers speak of: `kubectl wait` waits for it.
    pub observed_generation: i64,
    /// Paths that another profile claims as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ProfileConflict>,
}

/// A path that two profiles claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileConflict {
    /// The path.
    pub path: String,
    /// The other profile.
    pub with: String,
    /// A machine on which both apply.
    pub machine: String,
}

impl Kind for Profile {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "Profile";
    const PLURAL: &'static str = "profiles";
    const SINGULAR: &'static str = "profile";
    const SHORT_NAMES: &'static [&'static str] = &["pf"];
    const CATEGORIES: &'static [&'static str] = &["all", "stead"];
    const SELECTABLE: &'static [SelectableField] = &[
        SelectableField::condition("status.conditions.Conflict", "Conflict"),
        SelectableField::at("status.failed", "/status/failed"),
    ];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Machines",
            pointer: "/status/machines",
            format: ColumnFormat::Integer,
            description: "How many machines it matches.",
            priority: 0,
        },
        Column {
            name: "Converged",
            pointer: "/status/converged",
            format: ColumnFormat::Integer,
            description: "How many are as it says.",
            priority: 0,
        },
        Column {
            name: "Failed",
            pointer: "/status/failed",
            format: ColumnFormat::Integer,
            description: "How many fail in something of it.",
            priority: 0,
        },
        Column {
            name: "Conflict",
            pointer: "/status/conditions",
            format: ColumnFormat::Condition("Conflict"),
            description: "Whether another profile claims one of its paths.",
            priority: 0,
        },
    ];

    fn validate(&self) -> Vec<Cause> {
        let spec = &self.spec;
        let mut causes = Vec::new();
        let lists = [
            ("files", spec.files.len()),
            ("directories", spec.directories.len()),
            ("links", spec.links.len()),
            ("commands", spec.commands.len()),
        ];
        for (name, count) in lists {
            if count > PROFILE_ENTRIES_MAX {
                causes
                    .push(invalid(format!("spec.{name}"), format!("{count} entries: at most {PROFILE_ENTRIES_MAX} are allowed")));
            }
        }
        check_selector(&spec.selector, &mut causes);
        for (index, file) in spec.files.iter().enumerate() {
            check_file(&format!("spec.files[{index}]"), file, &mut causes);
        }
        for (index, directory) in spec.directories.iter().enumerate() {
            let at = format!("spec.directories[{index}]");
            check_path(&format!("{at}.path"), &directory.path, &mut causes);
            check_mode(&format!("{at}.mode"), directory.mode.as_deref(), &mut causes);
        }
        for (index, link) in spec.links.iter().enumerate() {
            check_path(&format!("spec.links[{index}].path"), &link.path, &mut causes);
            if link.target.is_empty() || link.target.contains('\0') {
                causes.push(invalid(format!("spec.links[{index}].target"), "a link must point at something".to_owned()));
            }
        }
        for (index, command) in spec.commands.iter().enumerate() {
            check_command(&format!("spec.commands[{index}]"), command, &mut causes);
        }
        causes.extend(check_duplicates(spec));
        causes
    }
}

impl File {
    /// The content as bytes, or `None` where the base64 is not base64 (validation refuses such a file).
    pub fn content_bytes(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        match (&self.content, &self.content_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
            (None, None) => Some(Vec::new()),
        }
    }
}

fn invalid(path: String, message: String) -> Cause {
    Cause::new(path, CauseReason::Invalid, format!("Invalid value: {message}"))
}

fn check_selector(selector: &Selector, causes: &mut Vec<Cause>) {
    for (key, value) in &selector.match_labels {
        if let Err(error) = validate_label_key(key).and_then(|()| validate_label_value(value)) {
            causes.push(invalid(format!("spec.selector.matchLabels.{key}"), error.to_string()));
        }
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        use crate::Operator;
        let needs_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
        if needs_values == requirement.values.is_empty() {
            let message =
                if needs_values { "`In` and `NotIn` need values" } else { "`Exists` and `DoesNotExist` take no values" };
            causes.push(invalid(format!("spec.selector.matchExpressions[{index}].values"), message.to_owned()));
        }
        if let Err(error) = validate_label_key(&requirement.key) {
            causes.push(invalid(format!("spec.selector.matchExpressions[{index}].key"), error.to_string()));
        }
    }
}

fn check_file(at: &str, file: &File, causes: &mut Vec<Cause>) {
    check_path(&format!("{at}.path"), &file.path, causes);
    check_mode(&format!("{at}.mode"), file.mode.as_deref(), causes);
    if file.content.is_some() && file.content_base64.is_some() {
        causes.push(Cause::new(format!("{at}.contentBase64"), CauseReason::Forbidden, "give either content or contentBase64"));
    }
    match file.content_bytes() {
        None => causes.push(invalid(format!("{at}.contentBase64"), "expected base64 (RFC 4648 section 4)".to_owned())),
        Some(bytes) if bytes.len() > FILE_CONTENT_BYTES_MAX => {
            causes.push(invalid(
                format!("{at}.content"),
                format!("{} bytes: at most {FILE_CONTENT_BYTES_MAX} are allowed", bytes.len()),
            ));
        }
        Some(_) => {}
    }
}

fn check_path(at: &str, path: &str, causes: &mut Vec<Cause>) {
    let Some(rest) = path.strip_prefix('/') else {
        causes.push(invalid(at.to_owned(), format!("{path:?}: expected an absolute path")));
        return;
    };
    if path.contains('\0') || path.len() > 4_096 || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        causes.push(invalid(at.to_owned(), format!("{path:?}: expected an absolute path without empty parts, `.` and `..`")));
    }
}

fn check_mode(at: &str, mode: Option<&str>, causes: &mut Vec<Cause>) {
    let Some(mode) = mode else { return };
    let octal = (3..=4).contains(&mode.len()) && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if !octal {
        causes.push(invalid(at.to_owned(), format!("{mode:?}: expected three or four octal digits, such as \"0644\"")));
    }
}

fn check_command(at: &str, command: &Command, causes: &mut Vec<Cause>) {
    if let Err(error) = validate_name(&command.name) {
        causes.push(invalid(format!("{at}.name"), error.to_string()));
    }
    let programs = [("check", Some(&command.check)), ("run", Some(&command.run)), ("undo", command.undo.as_ref())];
    for (field, argv) in programs {
        let Some(argv) = argv else { continue };
        if argv.first().is_none_or(String::is_empty) || argv.iter().any(|argument| argument.contains('\0')) {
            causes.push(invalid(format!("{at}.{field}"), "expected a program and its arguments".to_owned()));
        }
    }
    if let Some(seconds) = command.timeout_seconds
        && !(1..=COMMAND_TIMEOUT_SECONDS_MAX).contains(&seconds)
    {
        causes.push(invalid(format!("{at}.timeoutSeconds"), format!("{seconds}: expected 1 to {COMMAND_TIMEOUT_SECONDS_MAX}")));
    }
}

fn check_duplicates(spec: &ProfileSpec) -> Vec<Cause> {
    let files = spec.files.iter().enumerate().map(|(index, file)| (format!("spec.files[{index}].path"), file.path.clone()));
    let directories = spec
        .directories
        .iter()
        .enumerate()
        .map(|(index, directory)| (format!("spec.directories[{index}].path"), directory.path.clone()));
    let links = spec.links.iter().enumerate().map(|(index, link)| (format!("spec.links[{index}].path"), link.path.clone()));
    let commands =
        spec.commands.iter().enumerate().map(|(index, command)| (format!("spec.commands[{index}].name"), command.name.clone()));
    let mut seen = std::collections::BTreeSet::new();
    files
        .chain(directories)
        .chain(links)
        .chain(commands)
        .filter(|(_, value)| !seen.insert(value.clone()))
        .map(|(at, value)| Cause::new(at, CauseReason::Duplicate, format!("Duplicate value: {value:?}")))
        .collect()
}
