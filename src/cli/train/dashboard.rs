use std::io::{IsTerminal, Stderr, stderr};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};
use ratatui::{Frame, Terminal, prelude::CrosstermBackend};

use crate::error::{Error, Result};
use crate::train::{EpochReport, StepOf, StepResult};

/// Training on the whole screen: curves, speed, how long it will take. `q` or Ctrl-C ends it in order.
pub(super) struct Dashboard {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    live: Live,
    drawn: Instant,
}

/// What it shows.
struct Live {
    title: String,
    device: String,
    started: Instant,
    /// Steps that were done when this process began.
    before: Option<u64>,
    /// Step and its loss, of every step.
    steps: Vec<(f64, f64)>,
    /// Step and value after each epoch.
    val_loss: Vec<(f64, f64)>,
    metric: [Vec<(f64, f64)>; 2],
    now: Option<StepOf>,
    images_per_s: f64,
    waiting: f64,
    best: Option<(u64, f64)>,
}

const BETWEEN_FRAMES: Duration = Duration::from_millis(100);
const TRAIN: Color = Color::LightBlue;
const VAL: Color = Color::LightYellow;

impl Dashboard {
    /// Takes the screen over; `None` where there is none.
    ///
    /// Errors: if the terminal refuses.
    pub fn open(title: String, device: String) -> Result<Option<Self>> {
        if !stderr().is_terminal() {
            return Ok(None);
        }
        let open = || {
            enable_raw_mode()?;
            execute!(stderr(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(stderr()))
        };
        let terminal = open().map_err(failed)?;
        Ok(Some(Self { terminal, live: Live::new(title, device), drawn: Instant::now() }))
    }

    /// Whether the user asks to stop.
    pub fn step(&mut self, result: &StepResult, of: StepOf, images_per_s: f64, waiting: f64) -> Result<bool> {
        self.live.step(result, of, images_per_s, waiting);
        if self.drawn.elapsed() >= BETWEEN_FRAMES {
            self.draw()?;
        }
        let mut stop = false;
        while event::poll(Duration::ZERO).map_err(failed)? {
            stop |= matches!(event::read().map_err(failed)?, Event::Key(key) if asks_to_stop(key));
        }
        Ok(stop)
    }

    pub fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.live.epoch(report);
        self.draw()
    }

    fn draw(&mut self) -> Result<()> {
        self.drawn = Instant::now();
        self.terminal.draw(|frame| self.live.draw(frame)).map(drop).map_err(failed)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = disable_raw_mode();
        let _ = execute!(stderr(), LeaveAlternateScreen);
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::io("draw on", "the terminal", e)
}

/// In raw mode Ctrl-C is a key like others.
fn asks_to_stop(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.code == KeyCode::Char('q') || (control && key.code == KeyCode::Char('c'))
}

impl Live {
    fn new(title: String, device: String) -> Self {
        Self {
            title,
            device,
            started: Instant::now(),
            before: None,
            steps: Vec::new(),
            val_loss: Vec::new(),
            metric: [Vec::new(), Vec::new()],
            now: None,
            images_per_s: 0.0,
            waiting: 0.0,
            best: None,
        }
    }

    fn step(&mut self, result: &StepResult, of: StepOf, images_per_s: f64, waiting: f64) {
        self.before.get_or_insert(result.step - 1);
        let last = self.steps.last().map_or(f64::from(result.loss), |s| s.1);
        self.steps.push((result.step as f64, last + 0.1 * (f64::from(result.loss) - last)));
        (self.now, self.images_per_s, self.waiting) = (Some(of), images_per_s, waiting);
    }

    fn epoch(&mut self, report: &EpochReport) {
        let step = report.step as f64;
        self.metric[0].push((step, 100.0 * report.train.metric));
        if let Some(val) = report.val {
            self.val_loss.push((step, val.loss));
            self.metric[1].push((step, 100.0 * val.metric));
        }
        if report.best {
            self.best = Some((report.epoch, report.val.map_or(report.train.metric, |v| v.metric)));
        }
    }

    /// Seconds until the last epoch ends, as things go.
    fn left(&self) -> Option<f64> {
        let (of, before) = (self.now?, self.before?);
        let done = (of.epoch - 1) * of.steps + of.index;
        let each = self.started.elapsed().as_secs_f64() / done.saturating_sub(before).max(1) as f64;
        Some(each * (of.epochs * of.steps).saturating_sub(done) as f64)
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, curves, gauge, foot] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(8), Constraint::Length(1), Constraint::Length(1)])
                .areas(frame.area());
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(curves);
        let title = Line::from(vec![self.title.as_str().bold(), "  ".into(), self.device.as_str().dark_gray()]);
        frame.render_widget(Paragraph::new(title), head);
        draw_chart(frame, left, " loss ", &self.steps, &self.val_loss);
        let [train, val] = &self.metric;
        draw_chart(frame, right, " accuracy % ", train, val);
        let (done, text) = match self.now {
            Some(of) => (
                ((of.epoch - 1) * of.steps + of.index) as f64 / (of.epochs * of.steps).max(1) as f64,
                format!("epoch {}/{}  step {}/{}", of.epoch, of.epochs, of.index, of.steps),
            ),
            None => (0.0, "starting".to_owned()),
        };
        let bar = Gauge::default().ratio(done.clamp(0.0, 1.0)).label(text).gauge_style(Style::new().fg(TRAIN));
        frame.render_widget(bar, gauge);
        frame.render_widget(Paragraph::new(self.facts()), foot);
    }

    fn facts(&self) -> Line<'_> {
        let mut parts = vec![
            format!("{:.0} images/s", self.images_per_s),
            format!("{:.0} % waiting for data", 100.0 * self.waiting),
        ];
        parts.extend(self.left().map(|s| format!("{}:{:02} left", s as u64 / 60, s as u64 % 60)));
        parts.extend(self.best.map(|(epoch, metric)| format!("best {:.2} % (epoch {epoch})", 100.0 * metric)));
        Line::from(vec![Span::raw(parts.join("   ")), "   q: stop and save".dark_gray()])
    }
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, title: &str, train: &[(f64, f64)], val: &[(f64, f64)]) {
    let lines = [("training", TRAIN, train), ("validation", VAL, val)];
    let points = || lines.iter().flat_map(|l| l.2);
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        let [a, b] = values.fold([f64::MAX, f64::MIN], |[a, b], v| [a.min(v), b.max(v)]);
        if a < b { [a, b] } else { [a.min(1e9) - 0.5, a.min(1e9) + 0.5] }
    };
    let (x, y) = (bounds(&mut points().map(|p| p.0)), bounds(&mut points().map(|p| p.1)));
    let empty = points().next().is_none();
    let number = |v: f64, digits: usize| if empty { String::new() } else { format!("{v:.digits$}") };
    let sets = lines.into_iter().filter(|l| !l.2.is_empty()).map(|(name, color, data)| {
        let set = Dataset::default().name(name).marker(Marker::Braille).graph_type(GraphType::Line);
        set.style(Style::new().fg(color)).data(data)
    });
    let chart = Chart::new(sets.collect())
        .block(Block::bordered().title(title).border_style(Style::new().dark_gray()))
        .x_axis(Axis::default().bounds(x).labels([number(x[0], 0), number(x[1], 0)]))
        .y_axis(Axis::default().bounds(y).labels([number(y[0], 2), number(y[1], 2)]));
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::train::Summary;

    fn drawn(live: &Live) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
        terminal.draw(|frame| live.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_frame_in_the_second_epoch() {
        let mut live = Live::new("vgg-small".into(), "cpu".into());
        assert!(drawn(&live).contains("starting"));
        let of = |epoch, index| StepOf { epoch, epochs: 4, index, steps: 10, waited: Duration::ZERO };
        for step in 1..=15_u64 {
            let result = StepResult { step, loss: 2.0 / step as f32, metric_sum: 1.0, samples: 4 };
            live.step(&result, of((step - 1) / 10 + 1, (step - 1) % 10 + 1), 1234.0, 0.07);
        }
        let summary = |loss, metric| Summary { loss, metric };
        live.epoch(&EpochReport {
            epoch: 1,
            step: 10,
            seconds: 1.0,
            learning_rate: 0.1,
            train: summary(1.0, 0.5),
            val: Some(summary(1.25, 0.625)),
            images_per_s: 1234.0,
            waiting: 0.07,
            best: true,
        });
        let frame = drawn(&live);
        let parts = [
            "vgg-small",
            "cpu",
            " loss ",
            " accuracy % ",
            "epoch 2/4  step 5/10",
            "1234 images/s",
            "7 % waiting for data",
            "left",
            "best 62.50 % (epoch 1)",
            "q: stop and save",
            "62.50",
            "50.00",
        ];
        for part in parts {
            assert!(frame.contains(part), "{part:?} is missing in\n{frame}");
        }
        let braille = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
        assert!(frame.chars().filter(|&c| braille(c)).count() > 15, "no curve in\n{frame}");
    }

    #[test]
    fn q_and_control_c_stop() {
        let key = |c, modifiers| asks_to_stop(KeyEvent::new(KeyCode::Char(c), modifiers));
        assert!(key('q', KeyModifiers::NONE) && key('c', KeyModifiers::CONTROL));
        assert!(!key('c', KeyModifiers::NONE) && !key('x', KeyModifiers::CONTROL));
    }
}
