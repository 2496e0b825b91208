//! `stead watch`: follows objects as they change.

use jiff::Timestamp;
use serde_json::Value;
use stead_model::KindInfo;

use super::Context;
use crate::Outcome;
use crate::cli::WatchArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::Follower;
use crate::kind_word::wanted;
use crate::output::{Format, cell, name_of, qualified_name, yaml};

pub(super) async fn run(context: &Context, args: WatchArgs) -> Outcome {
    let names: Vec<String> = args.name.iter().cloned().collect();
    let wanted = wanted(&args.kind, &names)?;
    let client = Client::connect(&context.settings).await?;
    let mut follower = Follower::start(&client, wanted.info, wanted.names, &args.scope).await?;
    let format = context.settings.output();
    let first: Vec<Value> = follower.objects().cloned().collect();
    let mut lines = Lines::new(wanted.info, format, &first);
    context.print(&lines.heading())?;
    for object in &first {
        context.print(&lines.line("", object)?)?;
    }
    loop {
        let event = follower.next().await?;
        context.print(&lines.line(&event.kind, &event.object)?)?;
    }
}

/// Lines whose columns keep their width, so that what comes later stands under what came first.
struct Lines {
    info: &'static KindInfo,
    format: Format,
    widths: Vec<usize>,
}

impl Lines {
    fn new(info: &'static KindInfo, format: Format, first: &[Value]) -> Self {
        let mut lines = Self { info, format, widths: Vec::new() };
        let heading = lines.heading_cells();
        lines.widen(&heading);
        for object in first {
            let cells = lines.cells("", object);
            lines.widen(&cells);
        }
        lines
    }

    fn widen(&mut self, cells: &[String]) {
        self.widths.resize(cells.len(), 0);
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }

    fn columns(&self) -> impl Iterator<Item = &'static stead_model::Column> {
        let wide = self.format == Format::Wide;
        self.info.columns.iter().filter(move |column| wide || column.priority == 0)
    }

    fn heading_cells(&self) -> Vec<String> {
        let columns = self.columns().map(|column| column.name.to_uppercase());
        ["EVENT".to_owned(), "NAME".to_owned()].into_iter().chain(columns).collect()
    }

    fn cells(&self, event: &str, object: &Value) -> Vec<String> {
        let now = Timestamp::now();
        let columns = self.columns().map(|column| cell(&column.cell(object, now)));
        [event.to_lowercase(), name_of(object).to_owned()].into_iter().chain(columns).collect()
    }

    fn heading(&self) -> String {
        if self.format.is_for_programs() { String::new() } else { self.padded(&self.heading_cells()) }
    }

    fn padded(&self, cells: &[String]) -> String {
        let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}   "));
        format!("{}\n", padded.collect::<String>().trim_end())
    }

    fn line(&mut self, event: &str, object: &Value) -> Result<String, Failure> {
        Ok(match self.format {
            // One JSON object a line, as programs read streams.
            Format::Json => serde_json::json!({"type": event, "object": object}).to_string() + "\n",
            Format::Yaml => format!("---\n{}", yaml(object)?),
            Format::Name => qualified_name(self.info, object) + "\n",
            Format::Table | Format::Wide => {
                let cells = self.cells(event, object);
                self.widen(&cells);
                self.padded(&cells)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::registry;

    #[test]
    fn lines_stand_under_each_other() {
        let info = registry().by_word("change").unwrap();
        let change = |name: &str| serde_json::json!({"metadata": {"name": name}, "spec": {"entries": [], "message": "m"}});
        let mut lines = Lines::new(info, Format::Table, &[change("longer")]);
        let text = lines.heading() + &lines.line("", &change("longer")).unwrap() + &lines.line("ADDED", &change("b")).unwrap();
        assert_eq!(
            text,
            "EVENT   NAME     REVISION   OBJECTS   MESSAGE\n        longer              0         m\nadded   b                   0         m\n"
        );
    }
}
