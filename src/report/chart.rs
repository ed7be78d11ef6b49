//! Line charts as SVG.

use std::borrow::Cow;

use maud::{Markup, PreEscaped, html};

/// A line chart as SVG. Colours are CSS variables, so that it follows light and dark; every point tells its value on hover.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows; also its text for readers who cannot see it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the bottom.
    pub lines: Vec<Line>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it measures.
    pub label: Cow<'static, str>,
    /// How its numbers are written.
    pub unit: Unit,
    /// Least and most; from the points where it is `None`.
    pub range: Option<[f64; 2]>,
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// With as many digits as tell ticks apart.
    Plain,
    /// Whole numbers only: ticks too.
    Count,
    /// Shares of one.
    Percent,
    /// Decimal logarithms: written as powers of ten.
    Power,
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend; without one it is not listed.
    pub name: String,
    /// How it looks.
    pub ink: Ink,
    /// Columns and rows; what is not finite leaves a gap.
    pub points: Vec<[f64; 2]>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// In one of the palette's colours.
    Color(usize),
    /// For comparison: thin and grey, named where one points only.
    Faint,
    /// What would be ideal: dashed.
    Ideal,
    /// Points without a line, in one of the palette's colours.
    Dots(usize),
}

/// Colours of the palette of Okabe & Ito, which colour-blind readers can tell apart: <https://jfly.uni-koeln.de/color/>.
pub const COLORS: usize = 6;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
/// Left, right, top and bottom of the plot.
const PLOT: [f64; 4] = [66.0, 420.0, 34.0, 232.0];
/// Between rows of the legend.
const ROW: f64 = 16.0;
/// Points that tell their value; of more, some.
const MOST_TIPS: usize = 120;

impl Axis {
    /// As wide as the points need.
    pub fn free(label: impl Into<Cow<'static, str>>, unit: Unit) -> Self {
        Self { label: label.into(), unit, range: None }
    }

    /// From 0 to 1, in per cent.
    pub fn share(label: impl Into<Cow<'static, str>>) -> Self {
        Self { label: label.into(), unit: Unit::Percent, range: Some([0.0, 1.0]) }
    }

    fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let [least, most] = self.range.unwrap_or_else(|| {
            values.filter(|v| v.is_finite()).fold([f64::MAX, f64::MIN], |[a, b], v| [a.min(v), b.max(v)])
        });
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let (least, most) = if least < most { (least, most) } else { (least - 0.5, most + 0.5) };
        let smallest = if matches!(self.unit, Unit::Count | Unit::Power) { 1.0 } else { 0.0 };
        let step = nice_step(most - least).max(smallest);
        match (self.range, self.unit) {
            (None, Unit::Plain | Unit::Percent) => {
                let (least, most) = ((least / step).floor() * step, (most / step).ceil() * step);
                Scale { least, most, step }
            }
            _ => Scale { least, most, step },
        }
    }
}

/// The numbers of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    least: f64,
    most: f64,
    step: f64,
}

impl Scale {
    fn share(&self, value: f64) -> f64 {
        (value - self.least) / (self.most - self.least)
    }

    /// Multiples of the step.
    fn ticks(&self) -> Vec<f64> {
        let first = (self.least / self.step - 1e-9).ceil() as i64;
        let last = (self.most / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step).collect()
    }

    fn text(&self, unit: Unit, value: f64) -> String {
        let digits = |step: f64| (-step.log10().floor()).max(0.0) as usize;
        match unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Percent => format!("{:.*} %", digits(100.0 * self.step), 100.0 * value),
            Unit::Power => power_of_ten(value),
            Unit::Plain if value == 0.0 => "0".to_owned(),
            Unit::Plain if self.most.abs().max(self.least.abs()) < 1e-2 => format!("{value:.0e}"),
            Unit::Plain => format!("{value:.*}", digits(self.step)),
        }
    }
}

/// With a raised exponent.
fn power_of_ten(exponent: f64) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |c: char| c.to_digit(10).map_or('⁻', |digit| RAISED[digit as usize]);
    match exponent.round() as i64 {
        0 => "1".to_owned(),
        exponent => format!("10{}", exponent.to_string().chars().map(raised).collect::<String>()),
    }
}

/// 1, 2 or 5 times a power of ten, so that a range has about five ticks.
///
/// Source: Heckbert, Nice numbers for graph labels, Graphics Gems, 1990.
fn nice_step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| rough / power <= step * 1.001);
    step.unwrap_or(10.0) * power
}

/// A value for people: few digits, but enough.
pub fn readable(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Percent => format!("{:.2} %", 100.0 * value),
        Unit::Power => format!("{:.1e}", 10_f64.powf(value)),
        Unit::Plain if value != 0.0 && value.abs() < 1e-3 => format!("{value:.2e}"),
        Unit::Plain => format!("{value:.4}"),
    }
}

impl Chart {
    /// The `<svg>` element; its colours come from [`STYLE`].
    pub fn svg(&self) -> Markup {
        let values = |axis: usize| self.lines.iter().flat_map(move |l| l.points.iter().map(move |p| p[axis]));
        let (x, y) = (self.x.scale(values(0)), self.y.scale(values(1)));
        let (legend, rows) = self.legend();
        let [left, right, top, bottom] = PLOT;
        let top = top + ROW * (rows - 1) as f64;
        let middle = (top + bottom) / 2.0;
        let at = |[px, py]: [f64; 2]| [left + x.share(px) * (right - left), bottom - y.share(py) * (bottom - top)];
        html! {
            svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) xmlns="http://www.w3.org/2000/svg" {
                (legend)
                @for tick in y.ticks() {
                    @let [_, row] = at([x.least, tick]);
                    path.grid d=(format!("M{left} {row:.1}H{right}")) {}
                    text.number x=(left - 7.0) y=(format!("{:.1}", row + 3.5)) text-anchor="end" { (y.text(self.y.unit, tick)) }
                }
                path.axis d=(format!("M{left} {bottom}H{right}")) {}
                @for tick in x.ticks() {
                    @let [column, _] = at([tick, y.least]);
                    path.axis d=(format!("M{column:.1} {bottom}v4")) {}
                    text.number x=(format!("{column:.1}")) y=(bottom + 16.0) text-anchor="middle" { (x.text(self.x.unit, tick)) }
                }
                text.label x="12" y=(middle) transform=(format!("rotate(-90 12 {middle})")) text-anchor="middle" { (self.y.label) }
                text.label x=(right) y=(HEIGHT - 4.0) text-anchor="end" { (self.x.label) }
                @for line in &self.lines { (self.line(line, &at)) }
            }
        }
    }

    fn line(&self, line: &Line, at: &impl Fn([f64; 2]) -> [f64; 2]) -> Markup {
        let finite = |p: &[f64; 2]| p.iter().all(|v| v.is_finite());
        let mut path = String::new();
        let mut pen = 'M';
        for point in &line.points {
            if !finite(point) {
                pen = 'M';
                continue;
            }
            let [column, row] = at(*point);
            path.push_str(&format!("{pen}{column:.1} {row:.1}"));
            pen = 'L';
        }
        let skip = line.points.len().div_ceil(MOST_TIPS).max(1);
        let shown = line.points.iter().filter(|p| finite(p)).step_by(skip);
        let alone = line.points.iter().filter(|p| finite(p)).count() == 1;
        let dots = matches!(line.ink, Ink::Dots(_)) || alone;
        html! {
            g class=(line.ink.class()) {
                @if !dots { path.line d=(path) {} }
                @if line.ink != Ink::Ideal {
                    @for point in shown {
                        @let [column, row] = at(*point);
                        circle class=(if dots { "dot" } else { "tip" }) cx=(format!("{column:.1}")) cy=(format!("{row:.1}")) r=(if dots { 4 } else { 6 }) {
                            title { (self.tip(line, *point)) }
                        }
                    }
                }
            }
        }
    }

    fn tip(&self, line: &Line, [x, y]: [f64; 2]) -> String {
        let name = if line.name.is_empty() { &*self.y.label } else { &line.name };
        format!("{name}: {} at {} {}", readable(self.y.unit, y), self.x.label, readable(self.x.unit, x))
    }

    /// The names of the lines, and how many rows they take: one at least.
    fn legend(&self) -> (Markup, usize) {
        let named = self.lines.iter().filter(|l| !l.name.is_empty() && l.ink != Ink::Faint);
        let mut placed = Vec::new();
        let (mut column, mut row) = (0.0, 0);
        for line in named {
            let width = 34.0 + 6.3 * line.name.chars().count() as f64;
            if column > 0.0 && column + width > WIDTH {
                (column, row) = (0.0, row + 1);
            }
            placed.push((line, column, ROW * row as f64));
            column += width;
        }
        let markup = html! {
            @for (line, column, row) in placed {
                g class=(line.ink.class()) {
                    @if matches!(line.ink, Ink::Dots(_)) {
                        circle.dot cx=(column + 9.0) cy=(row + 10.0) r="4" {}
                    } @else {
                        path.line d=(format!("M{column} {}h18", row + 10.0)) {}
                    }
                }
                text.label x=(column + 23.0) y=(row + 14.0) { (line.name) }
            }
        };
        (markup, row + 1)
    }
}

impl Ink {
    fn class(self) -> String {
        match self {
            Self::Color(i) | Self::Dots(i) => format!("c{}", i % COLORS),
            Self::Faint => "faint".into(),
            Self::Ideal => "ideal".into(),
        }
    }
}

/// What charts look like, for pages that hold them.
pub const STYLE: &str = include_str!("chart.css");

/// Charts below each other as a file of their own.
pub fn file(charts: &[Markup], [width, height]: [f64; 2]) -> String {
    let page = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {}", height * charts.len() as f64)) width=(width) {
            style { (PreEscaped(STYLE)) "svg{background:var(--paper);font:11px system-ui,sans-serif}" }
            @for (i, chart) in charts.iter().enumerate() {
                svg x="0" y=(height * i as f64) width=(width) height=(height) { (chart) }
            }
        }
    };
    page.into_string()
}

/// Size of a line chart's drawing, `[width, height]`.
pub const SIZE: [f64; 2] = [WIDTH, HEIGHT];

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(axis: &Axis, values: &[f64]) -> Scale {
        axis.scale(values.iter().copied())
    }

    #[test]
    fn ticks_are_nice_numbers() {
        let free = Axis::free("loss", Unit::Plain);
        let s = scale(&free, &[0.03, 2.31]);
        assert_eq!((s.least, s.most, s.step), (0.0, 2.5, 0.5));
        assert_eq!(s.ticks(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(s.text(Unit::Plain, 0.5), "0.5");
        let s = scale(&Axis::share("accuracy"), &[]);
        assert_eq!(
            s.ticks().iter().map(|&t| s.text(Unit::Percent, t)).collect::<Vec<_>>().join(" "),
            "0 % 20 % 40 % 60 % 80 % 100 %"
        );
        assert_eq!([-12.0, -3.0, 0.0, 2.0].map(|t| s.text(Unit::Power, t)), ["10⁻¹²", "10⁻³", "1", "10²"]);
    }

    #[test]
    fn epochs_have_whole_ticks_only() {
        let s = scale(&Axis::free("epoch", Unit::Count), &[1.0, 3.0]);
        assert_eq!(s.ticks(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn one_value_and_none_have_a_scale_too() {
        let free = Axis::free("loss", Unit::Plain);
        for values in [&[][..], &[f64::NAN], &[0.25], &[0.0]] {
            let s = scale(&free, values);
            assert!(s.least < s.most && !s.ticks().is_empty(), "{values:?}: {s:?}");
        }
    }

    #[test]
    fn a_long_legend_takes_rows_of_its_own() {
        let line = |name: String| Line { name, ink: Ink::Color(0), points: vec![[0.0, 0.0], [1.0, 1.0]] };
        let rows = |names: usize| {
            let lines = (0..names).map(|i| line(format!("a class with a long name {i}"))).collect();
            Chart { title: "t".into(), x: Axis::share("x"), y: Axis::share("y"), lines }.legend().1
        };
        assert_eq!([1, 2, 3, 6].map(rows), [1, 1, 2, 3]);
    }

    #[test]
    fn what_is_not_finite_leaves_a_gap() {
        let line = Line {
            name: "val".into(),
            ink: Ink::Color(1),
            points: vec![[1.0, 0.5], [2.0, f64::NAN], [3.0, 0.25], [4.0, 0.125]],
        };
        let axis = |label: &'static str| Axis::free(label, Unit::Plain);
        let chart = Chart { title: "t".into(), x: axis("epoch"), y: axis("loss"), lines: vec![line] };
        let text = chart.svg().into_string();
        let path = text.split("class=\"line\" d=\"").nth(2).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(!text.contains("NaN"));
    }
}
