//! The arguments of the commands that read objects.

use clap::Args;

use crate::commands::wait::Awaited;
use crate::duration::Span;

/// Which namespace and which labels.
#[derive(Clone, Debug, Args)]
pub(crate) struct Scope {
    /// The namespace, for kinds that live in one
    #[arg(short = 'n', long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels, such as role=web,site!=lab
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<stead_model::Selector>,
    /// Only objects with these fields, such as status.conditions.Ready!=True; what a kind has is listed where another is asked for
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    pub(crate) field_selector: String,
}

/// `stead get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The kind, such as machines, profile or chg; KIND/NAME works too
    pub(crate) kind: String,
    /// Names; all where there is none
    pub(crate) names: Vec<String>,
    /// With -o json or yaml: also who manages which field, for server-side apply
    #[arg(long)]
    pub(crate) show_managed_fields: bool,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// `stead describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The kind; KIND/NAME works too
    pub(crate) kind: String,
    /// Names; all where there is none
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// `stead watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The kind; KIND/NAME works too
    pub(crate) kind: String,
    /// One name; all where there is none
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// `stead wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The kind; KIND/NAME works too
    pub(crate) kind: String,
    /// Names; all that match where there is none
    pub(crate) names: Vec<String>,
    /// What for: condition=TYPE, condition=TYPE=False, delete, or a field and its value such as status.phase=Approved
    #[arg(long = "for", value_name = "WHAT")]
    pub(crate) awaited: Awaited,
    /// How long at most, such as 30s, 5m or 1h
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    pub(crate) timeout: Span,
    #[command(flatten)]
    pub(crate) scope: Scope,
}
