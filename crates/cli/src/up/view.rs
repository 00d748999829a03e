//! The live view: the temperature line, the threshold across it, and what became of each reading.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, BorderType, Chart, Dataset, GraphType, Paragraph};

use super::picture::{Alert, Picture};

/// The curve is as wide as the screen from this many readings on; fewer leave room on the right.
const CURVE_MIN: usize = 60;

/// The threshold is drawn with so many dots.
const DASHES: usize = 64;

/// What the frame says besides the picture.
#[derive(Debug, Clone)]
pub(crate) struct Caption {
    pub(crate) hub: String,
    pub(crate) ports: String,
    pub(crate) note: String,
    pub(crate) running: Duration,
    pub(crate) color: bool,
}

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, picture: &Picture, caption: &Caption, now: Instant) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(8),
        Constraint::Length(6),
        Constraint::Length(1),
    ])
    .split(frame.area());
    let below = Layout::horizontal([Constraint::Percentage(58), Constraint::Percentage(42)]).split(rows[2]);
    title(frame, rows[0], caption);
    curve(frame, rows[1], picture, caption.color);
    flow(frame, below[0], picture, now, caption.color);
    alerts(frame, below[1], picture, caption.color);
    let keys =
        if caption.note.is_empty() { " ↑ ↓ move the threshold   q ends it" } else { &caption.note };
    frame.render_widget(Paragraph::new(keys).style(dim()), rows[3]);
}

fn title(frame: &mut Frame<'_>, area: Rect, caption: &Caption) {
    let seconds = caption.running.as_secs();
    let text = vec![
        Span::styled(" isotherm ", paint(caption.color, Color::Cyan).add_modifier(Modifier::BOLD)),
        Span::raw(format!(" {}  ", caption.hub)),
        Span::styled(format!("{}  {:02}:{:02}", caption.ports, seconds / 60, seconds % 60), dim()),
    ];
    frame.render_widget(Paragraph::new(Line::from(text)), area);
}

fn curve(frame: &mut Frame<'_>, area: Rect, picture: &Picture, color: bool) {
    let room = usize::from(area.width.saturating_sub(9)).max(2) * 2; // braille: two dots a column
    let from = picture.curve.len().saturating_sub(room);
    let points: Vec<(f64, f64)> =
        picture.curve.iter().skip(from).enumerate().map(|(x, celsius)| (x as f64, *celsius)).collect();
    let room = room.min(points.len().max(CURVE_MIN));
    let (low, high) = bounds(points.iter().map(|point| point.1).chain(picture.threshold));
    let threshold: Vec<(f64, f64)> = picture
        .threshold
        .map(|celsius| (0..DASHES).map(|dash| (dash as f64 / DASHES as f64 * room as f64, celsius)).collect())
        .unwrap_or_default();
    let sets = vec![
        Dataset::default().marker(Marker::Braille).style(paint(color, Color::Red)).data(&threshold),
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(paint(color, Color::Green))
            .data(&points),
    ];
    let labels = [low, (low + high) / 2.0, high].map(|celsius| format!("{celsius:5.1}"));
    let chart = Chart::new(sets)
        .block(frame_of(heading(picture)))
        .x_axis(Axis::default().bounds([0.0, room as f64]))
        .y_axis(Axis::default().bounds([low, high]).labels(labels).style(dim()));
    frame.render_widget(chart, area);
}

fn heading(picture: &Picture) -> String {
    let now = picture
        .curve
        .back()
        .map_or("waiting for the first reading".to_owned(), |celsius| format!("{celsius:.2} °C"));
    let line = picture.threshold.map_or(String::new(), |celsius| format!(" · threshold {celsius:.2} °C"));
    format!(" {now}{line} ")
}

fn flow(frame: &mut Frame<'_>, area: Rect, picture: &Picture, now: Instant, color: bool) {
    let module = |name: &str| {
        let up =
            picture.connected.iter().any(|(identity, up)| *up && identity.ends_with(&format!("/{name}")));
        let (desired, reported) = picture.twins.get(name).copied().unwrap_or_default();
        let dot = if up { "●" } else { "○" };
        vec![
            Span::styled(format!(" {dot} "), paint(color, if up { Color::Green } else { Color::Yellow })),
            Span::raw(format!("{name:<9}")),
            Span::styled(format!("twin desired {desired} reported {reported}"), dim()),
        ]
    };
    let rate = |name: &str, rate: &super::picture::Rate| {
        Line::from(format!("   {name:<9}{:>9}   {:>8.1} a second", rate.total, rate.per_second(now)))
    };
    let mut lines = vec![
        Line::from(module("sensor")),
        rate("read", &picture.read),
        Line::from(module("filter")),
        rate("upstream", &picture.delivered),
    ];
    if picture.repeats + picture.unseen > 0 {
        lines.push(Line::from(format!("   repeats {}  not shown {}", picture.repeats, picture.unseen)));
        lines.remove(0);
    }
    frame.render_widget(Paragraph::new(lines).block(frame_of(" flow ".into())), area);
}

fn alerts(frame: &mut Frame<'_>, area: Rect, picture: &Picture, color: bool) {
    let line = |alert: &Alert| {
        let clock = alert.at.get(11..19).unwrap_or_default();
        Line::from(vec![
            Span::styled(format!(" ▲ {:6.2} °C ", alert.celsius), paint(color, Color::Red)),
            Span::styled(format!("{clock} {} #{}", alert.sensor, alert.sequence), dim()),
        ])
    };
    let lines: Vec<Line<'_>> = match picture.alerts.is_empty() {
        true => vec![Line::styled(" nothing has crossed the line yet", dim())],
        false => picture.alerts.iter().take(usize::from(area.height)).map(line).collect(),
    };
    frame.render_widget(Paragraph::new(lines).block(frame_of(" alerts ".into())), area);
}

/// The range shown: what was measured and the threshold, with a little air.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { (15.0, 35.0) } else { (low - 1.0, high + 1.0) }
}

fn frame_of(title: String) -> Block<'static> {
    Block::bordered().border_type(BorderType::Rounded).border_style(dim()).title(title)
}

fn paint(color: bool, of: Color) -> Style {
    if color { Style::new().fg(of) } else { Style::new() }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    fn screen(picture: &Picture, width: u16, height: u16) -> String {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let caption = Caption {
            hub: "localhub".into(),
            ports: "mqtts 8883".into(),
            note: String::new(),
            running: Duration::from_secs(61),
            color: true,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, picture, &caption, now)).unwrap();
        terminal.backend().to_string()
    }

    fn with(lines: &[Value]) -> Picture {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut picture = Picture::default();
        for line in lines {
            picture.take(line.as_object().unwrap(), now);
        }
        picture
    }

    #[test]
    fn the_screen_shows_the_temperature_the_threshold_and_the_alert() {
        let reading =
            json!({"reading": 31.25, "timestamp": "2026-01-02T03:04:05Z", "sensorId": "s", "sequence": 17});
        let picture = with(&[
            json!({"event": "message", "from": "edge/sensor", "reading": reading}),
            json!({"event": "upstream", "from": "edge/filter", "reading": reading}),
            json!({"event": "twin", "identity": "edge/filter", "reported": {"TemperatureThreshold": {"value": 30}, "$version": 4}}),
        ]);
        let screen = screen(&picture, 100, 30);
        for wanted in ["31.25 °C", "threshold 30.00 °C", "03:04:05 s #17", "reported 4", "01:01"] {
            assert!(screen.contains(wanted), "{wanted} is missing in\n{screen}");
        }
    }

    #[test]
    fn a_tiny_terminal_harms_nobody() {
        for (width, height) in [(1, 1), (20, 5), (200, 3)] {
            screen(&Picture::default(), width, height);
        }
    }
}
