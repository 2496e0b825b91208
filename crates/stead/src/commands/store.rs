//! `stead store migrate` and `stead store digest`.

use std::collections::BTreeMap;

use serde_json::json;
use stead_store::{RecordDigest, copy, digest};

use super::Context;
use crate::Outcome;
use crate::aligned::aligned;
use crate::cli::{StoreCommand, StoreMigrateArgs};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Format};
use crate::record::{Place, without_password};

/// Rows after which the progress is told again.
const TOLD_EVERY_ROWS: u64 = 100_000;

pub(super) async fn run(context: &Context, command: StoreCommand) -> Outcome {
    match command {
        StoreCommand::Migrate(args) => migrate(context, &args).await,
        StoreCommand::Digest => {
            let engine = Place::of(&context.settings)?.offline().await?;
            let digest = digest(engine.as_ref()).await.map_err(|error| Failure::of(FailureKind::Config, error))?;
            engine.close().await;
            print(context, &digest)
        }
    }
}

async fn migrate(context: &Context, args: &StoreMigrateArgs) -> Outcome {
    let password_file = context.settings.store_password_file();
    let place = |named: &str| Place::parse(named, true, password_file.as_deref());
    let (from, to) = (place(&args.from)?, place(&args.to)?);
    if let Place::Sqlite(path) = &from
        && !path.exists()
    {
        return Err(Failure::user(format!("{} is not there", path.display())));
    }
    let (from, to) = (from.offline().await?, to.offline().await?);
    let mut told = BTreeMap::new();
    let mut progress = |table: &'static str, rows: u64| {
        let told = told.entry(table).or_insert(None);
        if told.is_none_or(|told: u64| rows >= told.saturating_add(TOLD_EVERY_ROWS)) {
            context.say(&if rows == 0 { format!("{table} ...") } else { format!("{table} ... {rows} rows") });
            *told = Some(rows);
        }
    };
    let outcome = copy(from.as_ref(), to.as_ref(), &mut progress).await;
    from.close().await;
    to.close().await;
    let digest = outcome.map_err(|error| Failure::of(FailureKind::Config, error))?;
    for (end, named) in [("from", &args.from), ("to", &args.to)] {
        context.say(&format!("{end:4} {digest}  {}", without_password(named)));
    }
    context.say("Both are the same. The source is as it was: put it away, so that no coordinator starts on it.");
    print(context, &digest)
}

fn print(context: &Context, digest: &RecordDigest) -> Outcome {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let tables: Vec<_> = digest
                .tables
                .iter()
                .map(|table| json!({"table": table.table, "rows": table.rows, "sha256": hex(&table.sha256)}))
                .collect();
            let value = json!({"digest": digest.to_string(), "revision": digest.revision.0, "tables": tables});
            if format == Format::Json { output::json(&value)? } else { output::yaml(&value)? }
        }
        Format::Name => format!("{digest}\n"),
        Format::Table | Format::Wide => {
            let mut rows: Vec<Vec<String>> = digest
                .tables
                .iter()
                .map(|table| vec![table.table.to_owned(), table.rows.to_string(), hex(&table.sha256)])
                .collect();
            rows.push(vec!["all".to_owned(), String::new(), hex(&digest.sha256)]);
            aligned(&["table", "rows", "sha256"], rows)
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}
