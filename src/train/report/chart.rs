//! Curves and points as SVG.

use std::fmt::Write;

use super::text::{escaped, number};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// A curve of more points is thinned: nobody sees them, and the page stays small.
const MOST_POINTS: usize = 800;
const TICKS: usize = 5;

/// One thing drawn.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    pub name: &'a str,
    /// A class of the page's style.
    pub class: &'static str,
    pub points: Vec<(f64, f64)>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Line,
    Dots,
}

/// The names of what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    pub title: &'a str,
    pub x: &'a str,
    /// Whether both axes have one scale, and a line along which they are equal.
    pub square: bool,
}

/// A chart; empty where there is nothing to see.
pub fn chart(axes: Axes<'_>, series: &[Series<'_>]) -> String {
    let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let points: Vec<(f64, f64)> =
        series.iter().flat_map(|series| series.points.iter().filter(finite).copied()).collect();
    if points.is_empty() {
        return String::new();
    }
    let mut scale = Scale::around(&points);
    if axes.square {
        scale = scale.squared();
    }
    let mut svg = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{}\">",
        escaped(axes.title),
        escaped(axes.title)
    );
    scale.draw(&mut svg, axes.x);
    if axes.square {
        let (low, high) = (scale.x.0, scale.x.1);
        let (x1, y1, x2, y2) = (scale.left(low), scale.top(low), scale.left(high), scale.top(high));
        let _ = write!(
            svg,
            "<line class=\"equal\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }
    for series in series {
        series.draw(&mut svg, &scale);
    }
    svg.push_str("</svg><p class=\"legend\">");
    for series in series.iter().filter(|series| !series.name.is_empty()) {
        let _ = write!(svg, "<span class=\"{}\">{}</span>", series.class, escaped(series.name));
    }
    svg.push_str("</p></figure>");
    svg
}

impl Series<'_> {
    fn draw(&self, svg: &mut String, scale: &Scale) {
        let points = thinned(&self.points);
        let places = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let places = places.map(|&(x, y)| (scale.left(x), scale.top(y)));
        match self.kind {
            Kind::Line => {
                let path: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let (class, path) = (self.class, path.join(" "));
                let _ = write!(svg, "<polyline class=\"{class}\" points=\"{path}\"/>");
            }
            Kind::Dots => {
                for (x, y) in places {
                    let class = self.class;
                    let _ = write!(
                        svg,
                        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                    );
                }
            }
        }
    }
}

/// Means of equally long runs of points, where there are too many.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let run = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |run: &[(f64, f64)]| {
        let count = run.len() as f64;
        let (x, y) = run.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (x / count, y / count)
    };
    points.chunks(run).map(mean).collect()
}

/// From values to places.
#[derive(Clone, Copy, Debug)]
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn around(points: &[(f64, f64)]) -> Scale {
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            for value in values {
                (low, high) = (low.min(value), high.max(value));
            }
            // One value alone has room around it.
            if low == high { (low - 0.5, high + 0.5) } else { (low, high) }
        };
        Scale {
            x: range(&mut points.iter().map(|point| point.0)),
            y: range(&mut points.iter().map(|point| point.1)),
        }
    }

    fn squared(self) -> Scale {
        let both = (self.x.0.min(self.y.0), self.x.1.max(self.y.1));
        Scale { x: both, y: both }
    }

    fn left(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn top(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String, name: &str) {
        let tick = |(low, high): (f64, f64), index: usize| {
            low + (high - low) * index as f64 / (TICKS - 1) as f64
        };
        for index in 0..TICKS {
            let (x, y) = (tick(self.x, index), tick(self.y, index));
            let (left, top) = (self.left(x), self.top(y));
            let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{top:.1}\" x2=\"{right}\" y2=\"{top:.1}\"/>\
                 <text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
                 <text class=\"below\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                top + 4.0,
                number(y),
                bottom + 16.0,
                number(x)
            );
        }
        let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 4.0);
        let name = escaped(name);
        let _ = write!(svg, "<text class=\"below\" x=\"{middle}\" y=\"{bottom}\">{name}</text>");
    }
}
