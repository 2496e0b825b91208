//! The picture of the fleet: one line a machine, as it changes.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures::StreamExt as _;
use jiff::Timestamp;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;
use stead_model::{ConditionStatus, Machine, MachineStatus, age};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{Duration, interval};

use super::household::Household;
use crate::commands::Context;
use crate::failure::Failure;

/// How often ages are drawn anew, in milliseconds.
const REDRAW_MILLISECONDS: u64 = 1_000;

/// Shows the fleet until somebody has seen enough. Without a terminal it prints a line a change.
pub(crate) async fn show(context: &Context, household: &Household) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("the picture cannot be drawn: {error}"));
    let mut watch = household.follow(&["watch", "machines", "-o", "json"])?;
    let output = watch.stdout.take().ok_or_else(|| Failure::internal("the watch has no output"))?;
    let mut lines = BufReader::new(output).lines();
    let mut fleet = BTreeMap::new();
    if !std::io::stdout().is_terminal() {
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            if let Some(machine) = take(&mut fleet, &line) {
                context.print(&format!("{}\n", sentence(&machine)))?;
            }
        }
        return Ok(());
    }
    let mut terminal = ratatui::init();
    let drawn = draw(&mut terminal, &mut lines, &mut fleet).await;
    ratatui::restore();
    drawn.map_err(failed)
}

async fn draw<R: tokio::io::AsyncBufRead + Unpin>(
    terminal: &mut DefaultTerminal,
    lines: &mut tokio::io::Lines<R>,
    fleet: &mut BTreeMap<String, Machine>,
) -> std::io::Result<()> {
    let mut keys = EventStream::new();
    let mut ticks = interval(Duration::from_millis(REDRAW_MILLISECONDS));
    loop {
        terminal.draw(|frame| paint(frame, fleet, Timestamp::now()))?;
        tokio::select! {
            _ = ticks.tick() => {}
            line = lines.next_line() => match line? {
                Some(line) => drop(take(fleet, &line)),
                None => return Ok(()),
            },
            key = keys.next() => match key.transpose()? {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Takes one event of the watch in.
fn take(fleet: &mut BTreeMap<String, Machine>, line: &str) -> Option<Machine> {
    let event: Value = serde_json::from_str(line).ok()?;
    let object = event.get("object").unwrap_or(&event);
    let machine: Machine = serde_json::from_value(object.clone()).ok()?;
    let name = machine.metadata.name.clone();
    if event.get("type").and_then(Value::as_str) == Some("DELETED") {
        fleet.remove(&name);
    } else {
        fleet.insert(name, machine.clone());
    }
    Some(machine)
}

fn condition(status: &MachineStatus, kind: &str) -> Option<(ConditionStatus, String)> {
    let condition = status.conditions.iter().find(|condition| condition.kind == kind)?;
    Some((condition.status, condition.reason.clone()))
}

fn sentence(machine: &Machine) -> String {
    let status = machine.status.clone().unwrap_or_default();
    let word = |kind: &str| condition(&status, kind).map_or_else(|| "unknown".to_owned(), |(_, reason)| reason);
    format!("{}: {}, {}, {} units", machine.metadata.name, word("Ready"), word("Converged"), status.units.len())
}

fn paint(frame: &mut Frame<'_>, fleet: &BTreeMap<String, Machine>, now: Timestamp) {
    let [picture, foot] = Layout::vertical([Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let rows = fleet.values().map(|machine| row(machine, now));
    let widths = [
        Constraint::Min(12),
        Constraint::Length(10),
        Constraint::Length(14),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Min(20),
    ];
    let head = Row::new(["MACHINE", "READY", "STATE", "UNITS", "SEEN", "LOAD", "LABELS"]).bold();
    let title = format!(" {} machines ", fleet.len());
    frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered().title(title)), picture);
    frame.render_widget(Line::from(" q or Ctrl-C ends the fleet").dim(), foot);
}

fn row(machine: &Machine, now: Timestamp) -> Row<'static> {
    let status = machine.status.clone().unwrap_or_default();
    let shown = |kind: &str| match condition(&status, kind) {
        Some((ConditionStatus::True, reason)) => Cell::from(reason).style(Style::new().fg(Color::Green)),
        Some((ConditionStatus::False, reason)) => Cell::from(reason).style(Style::new().fg(Color::Yellow)),
        Some((ConditionStatus::Unknown, reason)) => Cell::from(reason).style(Style::new().fg(Color::Red)),
        None => Cell::from("new").dim(),
    };
    let seen = status.last_seen.map_or_else(|| "-".to_owned(), |seen| age(seen, now).to_string());
    let load = status
        .vitals
        .as_ref()
        .map_or_else(|| "-".to_owned(), |vitals| format!("{}.{:02}", vitals.load_percent / 100, vitals.load_percent % 100));
    let labels: Vec<String> = machine.metadata.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Row::new([
        Cell::from(machine.metadata.name.clone()).bold(),
        shown("Ready"),
        shown("Converged"),
        Cell::from(status.units.len().to_string()),
        Cell::from(seen),
        Cell::from(load),
        Cell::from(labels.join(",")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_picture_shows_each_machine() {
        let mut fleet = BTreeMap::new();
        let event = r#"{"type":"ADDED","object":{"apiVersion":"stead.dev/v1","kind":"Machine","metadata":{"name":"m1","labels":{"role":"web"}},
            "spec":{"key":"00"},"status":{"lastSeen":"2026-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","reason":"Heard",
            "message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}}"#;
        assert_eq!(sentence(&take(&mut fleet, event).unwrap()), "m1: Heard, unknown, 0 units");
        let mut terminal = Terminal::new(TestBackend::new(100, 6)).unwrap();
        terminal.draw(|frame| paint(frame, &fleet, "2026-01-01T00:00:07Z".parse().unwrap())).unwrap();
        let text = format!("{}", terminal.backend());
        for word in ["1 machines", "m1", "Heard", "7s", "role=web"] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
    }
}
