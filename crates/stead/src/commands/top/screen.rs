//! The machines on the whole terminal, live.

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt as _;
use jiff::Timestamp;
use ratatui::layout::{Constraint, Layout, Margin};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};
use stead_control::pulse::{MachinePulse, MachineState};
use stead_model::{Selector, age};
use tokio::time::{MissedTickBehavior, interval};

use super::view::{self, COLUMNS, View};
use super::{Pulse, ask, read};
use crate::cli::TopColumn as Column;
use crate::client::Client;
use crate::failure::Failure;

/// The shortest time between two looks, in milliseconds: the coordinator has other work as well.
const EVERY_MILLISECONDS_MIN: u64 = 250;
/// How often ages are drawn anew, in milliseconds.
const REDRAW_MILLISECONDS: u64 = 1_000;
/// Lines that one page moves.
const PAGE_LINES: u16 = 20;

const HELP: &str = "\
 ↑ ↓ PgUp PgDn Home End   choose a machine
 ← →                      sort by the column beside
 n s b l m d t c u a      sort by name, state, behind, load, memory,
                          disk, temperature, clock, updates, agent;
                          the same again: the other way round
 r                        the other way round
 /                        show only what has a text in it; Esc: all
 space                    stand still, and go on
 q Ctrl-C                 leave

 behind: objects meant for the machine that it has not acknowledged
 load: of each processor     clock: ahead of the coordinator's
 (other): not the binary that the coordinator runs";

/// What the screen is doing.
struct Screen {
    view: View,
    chosen: TableState,
    /// What was last heard, and when.
    version: String,
    heard: Option<Timestamp>,
    /// Why nothing is heard now.
    trouble: Option<String>,
    still: bool,
    help: bool,
    /// The text that is being typed after `/`.
    typing: Option<String>,
}

/// What a key asked for.
#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Leave,
    Stay,
}

/// Shows the machines until somebody has seen enough.
pub(super) async fn show(client: &Client, selector: &Selector, every: Duration, view: View) -> Result<(), Failure> {
    let mut screen = Screen::new(view);
    // What is wrong at the start is told as an error, and not on a screen.
    screen.take(read(ask(client, selector).await?)?, Timestamp::now());
    let mut terminal = ratatui::init();
    let drawn = run(&mut terminal, client, selector, every, &mut screen).await;
    ratatui::restore();
    drawn.map_err(|error| Failure::internal(format!("the terminal cannot be used: {error}")))
}

async fn run(
    terminal: &mut DefaultTerminal,
    client: &Client,
    selector: &Selector,
    every: Duration,
    screen: &mut Screen,
) -> std::io::Result<()> {
    let mut keys = EventStream::new();
    let mut looks = interval(every.max(Duration::from_millis(EVERY_MILLISECONDS_MIN)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut redraws = interval(Duration::from_millis(REDRAW_MILLISECONDS));
    let mut asking = None;
    loop {
        terminal.draw(|frame| screen.paint(frame, Timestamp::now()))?;
        tokio::select! {
            _ = looks.tick(), if asking.is_none() && !screen.still => asking = Some(Box::pin(ask(client, selector))),
            answer = async { match asking.as_mut() { Some(asking) => asking.await, None => std::future::pending().await } } => {
                asking = None;
                match answer.and_then(read) {
                    Ok(pulse) => screen.take(pulse, Timestamp::now()),
                    Err(failure) => screen.trouble = Some(failure.sentence()),
                }
            }
            _ = redraws.tick() => {}
            key = keys.next() => match key.transpose()? {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press && screen.press(key) == Asked::Leave => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

impl Screen {
    fn new(view: View) -> Self {
        let chosen = TableState::default().with_selected(0);
        Self { view, chosen, version: String::new(), heard: None, trouble: None, still: false, help: false, typing: None }
    }

    fn take(&mut self, pulse: Pulse, now: Timestamp) {
        // The same machine stays chosen, wherever it has moved.
        let name = self.chosen_machine().map(|machine| machine.name.clone());
        self.version = pulse.version;
        self.view.take(pulse.machines);
        (self.heard, self.trouble) = (Some(now), None);
        let place = name.and_then(|name| self.view.shown().iter().position(|machine| machine.name == name));
        self.choose(place.or(self.chosen.selected()).unwrap_or_default());
    }

    fn chosen_machine(&self) -> Option<&MachinePulse> {
        self.view.shown().get(self.chosen.selected()?)
    }

    fn choose(&mut self, place: usize) {
        self.chosen.select(Some(place.min(self.view.shown().len().saturating_sub(1))));
    }

    fn press(&mut self, key: KeyEvent) -> Asked {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Asked::Leave;
        }
        if self.typing.is_some() {
            self.type_on(key.code);
            return Asked::Stay;
        }
        if std::mem::take(&mut self.help) {
            return Asked::Stay;
        }
        let place = self.chosen.selected().unwrap_or_default();
        match key.code {
            KeyCode::Char('q') => return Asked::Leave,
            KeyCode::Esc if self.view.filter().is_empty() => return Asked::Leave,
            KeyCode::Esc => self.view.set_filter(String::new()),
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('/') => self.typing = Some(self.view.filter().to_owned()),
            KeyCode::Char(' ' | 'p') => self.still = !self.still,
            KeyCode::Char('r') => self.view.sort_by(self.view.sort),
            KeyCode::Left | KeyCode::Char('<') => self.view.sort_beside(false),
            KeyCode::Right | KeyCode::Char('>') => self.view.sort_beside(true),
            KeyCode::Up | KeyCode::Char('k') => self.choose(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(place.saturating_add(1)),
            KeyCode::PageUp => self.choose(place.saturating_sub(usize::from(PAGE_LINES))),
            KeyCode::PageDown => self.choose(place.saturating_add(usize::from(PAGE_LINES))),
            KeyCode::Home => self.choose(0),
            KeyCode::End => self.choose(usize::MAX),
            KeyCode::Char(letter) => {
                if let Some(column) = column_of(letter.to_ascii_lowercase()) {
                    self.view.sort_by(column);
                }
            }
            _ => {}
        }
        Asked::Stay
    }

    fn type_on(&mut self, code: KeyCode) {
        let Some(mut text) = self.typing.take() else { return };
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => text.clear(),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) => text.push(letter),
            _ => {}
        }
        self.view.set_filter(text.clone());
        self.typing = (code != KeyCode::Esc).then_some(text);
    }

    fn paint(&mut self, frame: &mut Frame<'_>, now: Timestamp) {
        let [head, table, detail, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(2), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(self.head(), head);
        let rows = self.view.shown().iter().map(|machine| row(machine, now));
        let widths = [
            Constraint::Min(12),
            Constraint::Length(12),
            Constraint::Length(5),
            Constraint::Length(5),
            Constraint::Length(7),
            Constraint::Length(6),
            Constraint::Length(5),
            Constraint::Length(5),
            Constraint::Length(6),
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(16),
        ];
        let chosen = Style::new().add_modifier(ratatui::style::Modifier::REVERSED);
        let table_widget = Table::new(rows, widths).header(self.heading()).row_highlight_style(chosen).block(Block::bordered());
        frame.render_stateful_widget(table_widget, table, &mut self.chosen);
        frame.render_widget(self.detail(), detail);
        frame.render_widget(self.foot(now), foot);
        if self.help {
            let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX).saturating_add(2);
            let area = frame.area().inner(Margin::new(2, 1));
            let area = ratatui::layout::Rect { height: lines.min(area.height), width: area.width.min(72), ..area };
            frame.render_widget(Clear, area);
            frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys ")), area);
        }
    }

    /// The fleet in one line: how many machines are how.
    fn head(&self) -> Line<'static> {
        let mut spans = vec![Span::from(format!(" {} machines", self.view.count())).bold()];
        for (state, number) in self.view.states() {
            spans.push(Span::from("  "));
            spans.push(Span::styled(format!("{number} {}", state.word()), colour(state)));
        }
        let (behind, others) = self.view.arrears();
        for (number, words) in [(behind, "behind"), (others, "with another agent")] {
            if number > 0 {
                spans.push(Span::from(format!("  {number} {words}")).yellow());
            }
        }
        if self.still {
            spans.push(Span::from("  standing still").reversed());
        }
        Line::from(spans)
    }

    /// The heads of the columns; that of the one which is sorted by has a mark.
    fn heading(&self) -> Row<'static> {
        let sorted = COLUMNS.iter().position(|column| *column == self.view.sort).unwrap_or_default();
        // The state has two columns.
        let sorted = if sorted > 1 { sorted + 1 } else { sorted };
        let mark = if self.view.reverse { "▲" } else { "▼" };
        let cells = view::HEADING.iter().enumerate().map(|(place, word)| {
            let word = word.to_uppercase();
            Cell::from(if place == sorted { format!("{word}{mark}") } else { word })
        });
        Row::new(cells).bold()
    }

    /// What is wrong with the machine that is chosen.
    fn detail(&self) -> Paragraph<'static> {
        let Some(machine) = self.chosen_machine() else {
            let words = if self.view.count() == 0 { " no machine has joined yet" } else { " no machine has that text in it" };
            return Paragraph::new(words).dim();
        };
        let behind = match machine.behind {
            0 => String::new(),
            number => format!(
                "; {number} objects behind, at revision {} of {}",
                machine.revision.min(machine.wanted_revision),
                machine.wanted_revision
            ),
        };
        let up = machine.uptime_seconds.map_or_else(String::new, |seconds| format!("; up for {}", up_for(seconds)));
        let first = format!(" {}: {}{behind}{up}", machine.name, machine.state.word());
        Paragraph::new(Text::from(vec![Line::from(first), Line::from(format!(" {}", machine.message)).dim()]))
    }

    fn foot(&self, now: Timestamp) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            let since = self.heard.map_or_else(String::new, |heard| format!(" what is shown is from {} ago:", age(heard, now)));
            return Line::from(format!("{since} {trouble}")).red().bold();
        }
        match &self.typing {
            Some(text) => Line::from(format!(" /{text}█   Enter keeps it, Esc shows all")),
            None if !self.view.filter().is_empty() => {
                Line::from(format!(" only \"{}\"; Esc shows all", self.view.filter())).yellow()
            }
            None => Line::from(format!(" q leave   h keys   / filter   ← → sort   coordinator {}", self.version)).dim(),
        }
    }
}

fn column_of(letter: char) -> Option<Column> {
    Some(match letter {
        'n' => Column::Name,
        's' => Column::State,
        'b' => Column::Behind,
        'l' => Column::Load,
        'm' => Column::Memory,
        'd' => Column::Disk,
        't' => Column::Temperature,
        'c' => Column::Clock,
        'u' => Column::Updates,
        'a' => Column::Agent,
        _ => return None,
    })
}

const fn colour(state: MachineState) -> Color {
    match state {
        MachineState::DuplicateKey | MachineState::Refusing | MachineState::Conflict | MachineState::Failing => Color::Red,
        MachineState::Silent => Color::Magenta,
        MachineState::New | MachineState::Converging => Color::Yellow,
        MachineState::Converged => Color::Green,
    }
}

fn row(machine: &MachinePulse, now: Timestamp) -> Row<'static> {
    let cells = view::cells(machine, now).into_iter().enumerate().map(|(place, text)| match place {
        0 => Cell::from(text).bold(),
        1 => Cell::from(text).style(Style::new().fg(colour(machine.state))),
        4 if machine.behind > 0 => Cell::from(text).yellow(),
        11 if machine.agent_as_wanted == Some(false) => Cell::from(text).yellow(),
        _ => Cell::from(text),
    });
    Row::new(cells)
}

fn up_for(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let since = Timestamp::UNIX_EPOCH;
    Timestamp::from_second(seconds).map_or_else(|_| "ever".to_owned(), |now| age(since, now).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn screen() -> Screen {
        let mut screen = Screen::new(View::new(Column::State, false, String::new()));
        let pulse = json!({"version": "1.2.3", "machines": [
            {"name": "m1", "state": "Converged", "behind": 0, "wantedRevision": 3, "revision": 3, "agentVersion": "1.2.3", "agentAsWanted": true},
            {"name": "m2", "state": "Failing", "message": "file:/etc/motd: no room", "behind": 2, "wantedRevision": 9, "revision": 4,
             "uptimeSeconds": 300, "agentVersion": "1.0.0", "agentAsWanted": false},
        ]});
        screen.take(serde_json::from_value(pulse).unwrap(), Timestamp::UNIX_EPOCH);
        screen
    }

    fn painted(screen: &mut Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 24)).unwrap();
        terminal.draw(|frame| screen.paint(frame, Timestamp::UNIX_EPOCH)).unwrap();
        format!("{}", terminal.backend())
    }

    fn press(screen: &mut Screen, text: &str) {
        for letter in text.chars() {
            let code = if letter == '\n' { KeyCode::Enter } else { KeyCode::Char(letter) };
            assert_eq!(screen.press(KeyEvent::new(code, KeyModifiers::NONE)), Asked::Stay);
        }
    }

    #[test]
    fn the_screen_tells_what_is_wrong_first() {
        let mut screen = screen();
        let text = painted(&mut screen);
        for words in [
            "2 machines  1 Failing  1 Converged  1 behind  1 with another agent",
            "STATE▼",
            "m2: Failing; 2 objects behind, at revision 4 of 9; up for 5m",
            "file:/etc/motd: no room",
            "1.0.0 (other)",
            "coordinator 1.2.3",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        screen.trouble = Some("the coordinator cannot be reached".to_owned());
        assert!(painted(&mut screen).contains("what is shown is from 0s ago: the coordinator cannot be reached"));
    }

    #[test]
    fn keys_sort_choose_and_filter() {
        let mut screen = screen();
        press(&mut screen, "n");
        assert_eq!(screen.chosen_machine().unwrap().name, "m1");
        press(&mut screen, "jjj");
        assert_eq!(screen.chosen_machine().unwrap().name, "m2");
        press(&mut screen, "r");
        assert!(painted(&mut screen).contains("NAME▲"));
        press(&mut screen, "/conv");
        assert_eq!(screen.view.shown().len(), 1);
        press(&mut screen, "\n");
        assert!(painted(&mut screen).contains("only \"conv\"; Esc shows all"));
        let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!((screen.press(escape), screen.view.shown().len()), (Asked::Stay, 2));
        press(&mut screen, "h");
        assert!(painted(&mut screen).contains("sort by the column beside"));
        press(&mut screen, "x");
        assert!(!painted(&mut screen).contains("sort by the column beside"));
        assert_eq!(screen.press(escape), Asked::Leave);
        assert_eq!(screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::Leave);
    }
}
